//! HTTP without a socket: the body of a decrease read, and the answers written, refusals through the edge as clients see
//! them.

use std::hint::black_box;

use actix_web::body::to_bytes;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, middleware};
use contracts::stock::DecreaseByOrder;
use criterion::{Criterion, Throughput};
use platform::http::edge;
use tokio::runtime::Builder;

use crate::answers::{BODY, SOLD, SOLD_OUT, routes};
use crate::group;

pub(crate) fn parse(criterion: &mut Criterion) {
    let mut group = group(criterion, "JSON");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse a decrease", |bencher| {
        bencher.iter(|| serde_json::from_slice::<DecreaseByOrder>(black_box(BODY)).expect("a decrease"));
    });
    group.finish();
}

pub(crate) fn render(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let service = runtime.block_on(init_service(
        App::new().wrap(middleware::from_fn(edge)).configure(routes),
    ));
    let mut group = group(criterion, "answer");
    group.throughput(Throughput::Elements(1));
    for (name, path, status) in [("sold", SOLD, 200), ("sold out", SOLD_OUT, 400)] {
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let answer = call_service(&service, TestRequest::get().uri(path).to_request()).await;
                assert_eq!(answer.status().as_u16(), status);
                to_bytes(answer.into_body()).await.expect("a body")
            });
        });
    }
    group.finish();
}
