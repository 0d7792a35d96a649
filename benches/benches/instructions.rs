//! Instructions that the pure parts of a sale take, counted by Valgrind: on a busy machine they are the same as on an idle
//! one, so that limits can be held. Run by `.ci/instructions`.

#![expect(clippy::expect_used, reason = "a bench that cannot set itself up has failed")]
#![expect(missing_docs, reason = "gungraun makes modules of the benches")]

#[path = "parts/answers.rs"]
mod answers;

use std::collections::HashMap;
use std::hint::black_box;

use actix_web::body::to_bytes;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, middleware};
use chrono::Utc;
use contracts::stock::DecreaseByOrder;
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use platform::http::edge;
use product_service::domain::books::{Books, ProductRow};
use product_service::domain::request::{BuyerId, Decrease, ProductId, Quantity, RequestId, StockRequest};
use product_service::domain::rules::SaleRules;
use product_service::domain::words::Verdict;
use tokio::runtime::Builder;

const PRODUCT: ProductId = 42;

/// A tenth above what was counted (benches/README.md), so that another compiler may do without a new limit.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

#[library_benchmark]
#[bench::a_decrease(args = (answers::BODY), config = at_most(2_050))]
fn parse(body: &[u8]) -> DecreaseByOrder {
    serde_json::from_slice(black_box(body)).expect("a decrease")
}

/// Asks once, and has asked before: what is made only once is there.
fn asker(path: &'static str) -> Box<dyn Fn()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let app = App::new()
        .wrap(middleware::from_fn(edge))
        .configure(answers::routes);
    let service = runtime.block_on(init_service(app));
    let ask = move || {
        runtime.block_on(async {
            let answer = call_service(&service, TestRequest::get().uri(path).to_request()).await;
            black_box(to_bytes(answer.into_body()).await.expect("a body"));
        });
    };
    ask();
    Box::new(ask)
}

#[library_benchmark]
#[bench::sold(args = (answers::SOLD), setup = asker, config = at_most(13_700))]
#[bench::sold_out(args = (answers::SOLD_OUT), setup = asker, config = at_most(16_500))]
fn answer(ask: Box<dyn Fn()>) -> Box<dyn Fn()> {
    ask();
    ask
}

fn sale(count: i64) -> (Books, Vec<StockRequest>) {
    let row = ProductRow {
        stock: 1_000_000,
        stock_version: 1,
        rules: SaleRules::default(),
        locked_at: Utc::now(),
        hot: true,
    };
    let decrease = |order: i64| {
        StockRequest::Decrease(Decrease {
            product: PRODUCT,
            request_id: RequestId::new(&format!("DEC-{order}")).expect("an id"),
            order_id: order,
            buyer: BuyerId::new(&format!("buyer-{order}")).ok(),
            quantity: Quantity::new(1).expect("within the range"),
        })
    };
    let books = Books::of(HashMap::from([(PRODUCT, row)]));
    (books, (1..=count).map(decrease).collect())
}

#[library_benchmark]
#[bench::of_256(args = (256), setup = sale, config = at_most(760_000))]
fn decisions((mut books, requests): (Books, Vec<StockRequest>)) -> (Books, Vec<StockRequest>) {
    for request in &requests {
        assert_eq!(black_box(books.decide(request)).verdict, Verdict::Done);
    }
    (books, requests)
}

library_benchmark_group!(name = pure, benchmarks = [parse, answer, decisions]);
main!(library_benchmark_groups = pure);
