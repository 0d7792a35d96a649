//! The load tool against a small shop that is honest, or lies in one of the ways the tool has to find out.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devstack::TestStack;
use devstack::load::{FlashSale, Stores, Verdict, flash_sale};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shop {
    Honest,
    /// Says yes to everybody.
    Oversells,
    /// Says no after having sold.
    HidesSales,
    /// Hangs up on every first attempt, after having decided.
    HangsUpOnce,
    /// Hangs up on every attempt.
    HangsUpAlways,
    /// Fails after having decided.
    FailsAfterSelling,
    /// Says sold out to everybody.
    SellsNothing,
}

struct State {
    shop: Shop,
    database: tokio_postgres::Client,
    decided: Mutex<HashMap<String, bool>>,
}

const TABLES: &str = "
    CREATE TABLE products (id bigint, stock bigint, stock_version bigint, stock_strategy text, purchase_limit bigint);
    CREATE TABLE stock_ledger (product_id bigint, stock_version bigint, direction text, quantity bigint,
        balance_after bigint, reason text, buyer_id text);
    INSERT INTO products VALUES (1, 20, 1, 'DB_ONLY'), (2, 20, 1, 'DB_ONLY');
    INSERT INTO stock_ledger VALUES (1, 1, 'IN', 20, 20, 'INITIAL'), (2, 1, 'IN', 20, 20, 'INITIAL');";

const DECREASE: &str = "
    WITH sold AS (UPDATE products SET stock = stock - $2, stock_version = stock_version + 1
                  WHERE id = $1 AND stock >= $2 RETURNING id, stock_version, stock)
    INSERT INTO stock_ledger SELECT id, stock_version, 'OUT', $2, stock, 'ORDER_DECREMENT' FROM sold";

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, String> {
    let product_id: i64 = request.uri().path().split('/').nth(3).unwrap().parse().unwrap();
    let key = request.headers()["Idempotency-Key"].to_str().unwrap().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(key, format!("DEC-{}", body["orderId"]));
    let quantity = body["quantity"].as_i64().unwrap();

    let earlier = state.decided.lock().unwrap().get(&key).copied();
    let is_sold = match earlier {
        Some(is_sold) => is_sold,
        None if state.shop == Shop::SellsNothing => false,
        None => {
            state
                .database
                .execute(DECREASE, &[&product_id, &quantity])
                .await
                .unwrap()
                == 1
        }
    };
    state.decided.lock().unwrap().insert(key, is_sold);

    let hangs_up =
        state.shop == Shop::HangsUpAlways || (state.shop == Shop::HangsUpOnce && earlier.is_none());
    if hangs_up {
        return Err(String::from("hung up"));
    }
    let (status, text) = match state.shop {
        Shop::FailsAfterSelling => (500, r#"{"error":"INTERNAL_ERROR"}"#),
        Shop::HidesSales => (400, r#"{"error":"INSUFFICIENT_STOCK"}"#),
        _ if is_sold || state.shop == Shop::Oversells => (200, r#"{"success":true}"#),
        _ => (400, r#"{"error":"INSUFFICIENT_STOCK"}"#),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

/// Opens a shop with 20 units of each of two products; `buyers` want `quantities`.
async fn run(shop: Shop, buyers: u64, quantities: std::ops::RangeInclusive<i64>) -> Verdict {
    let sale = FlashSale {
        quantities,
        concurrency: 16,
        ..FlashSale::new(Vec::new(), vec![2, 1], buyers)
    };
    run_sale(shop, sale).await
}

async fn run_sale(shop: Shop, mut sale: FlashSale) -> Verdict {
    let stack = TestStack::shared().await.unwrap();
    let (database, connection) = tokio_postgres::connect(&stack.database_url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    database.batch_execute(TABLES).await.unwrap();
    let state = Arc::new(State {
        shop,
        database,
        decided: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let state = Arc::clone(&state);
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    sale.urls = vec![url];
    let stores = Stores {
        database_url: stack.database_url,
        redis_url: Some(stack.redis_url),
        orders_url: None,
    };
    flash_sale(&sale, &stores).await.unwrap()
}

fn sold(verdict: &Verdict) -> Vec<i64> {
    verdict
        .products
        .iter()
        .map(|product| product.sold_to_clients)
        .collect()
}

#[tokio::test]
async fn an_honest_shop_is_found_right() {
    let verdict = run(Shop::Honest, 100, 1..=1).await;
    assert!(verdict.is_true(), "{verdict}");
    assert_eq!(sold(&verdict), [20, 20]);
    assert_eq!(verdict.tally.answers["200"], 40);
    assert_eq!(verdict.tally.answers["400 INSUFFICIENT_STOCK"], 60);
    assert_eq!(verdict.tally.latency_us.len(), 100);
    assert!(
        verdict
            .products
            .iter()
            .all(|product| product.left_though_refused == 0)
    );

    let few = run(Shop::Honest, 10, 1..=3).await;
    assert!(few.is_true(), "{few}");
    assert_eq!(sold(&few), [9, 9], "five buyers each, of 1, 2, 3, 1, 2");
}

#[tokio::test]
async fn every_lie_is_found_out() {
    let oversells = run(Shop::Oversells, 100, 1..=1).await;
    assert!(!oversells.is_true(), "{oversells}");
    assert_eq!(
        oversells
            .products
            .iter()
            .map(|product| product.oversold())
            .sum::<i64>(),
        60
    );
    let hides = run(Shop::HidesSales, 10, 1..=1).await;
    assert!(!hides.is_true(), "{hides}");
    let sells_nothing = run(Shop::SellsNothing, 10, 1..=1).await;
    assert!(
        sells_nothing.is_true(),
        "nothing sold twice or lost: {sells_nothing}"
    );
    assert_eq!(
        sells_nothing.products[0].left_though_refused, 20,
        "but refused without need"
    );
}

#[tokio::test]
async fn an_unknown_outcome_is_neither_a_sale_nor_a_lie() {
    let once = run(Shop::HangsUpOnce, 30, 1..=1).await;
    assert!(once.is_true(), "{once}");
    assert_eq!(sold(&once), [15, 15], "asked again with the same key");
    assert_eq!(once.tally.faults.values().sum::<u64>(), 30);

    let always = run(Shop::HangsUpAlways, 10, 1..=1).await;
    assert!(always.is_true(), "{always}");
    assert_eq!((sold(&always), always.products[0].unknown), (vec![0, 0], 5));
    let fails = run(Shop::FailsAfterSelling, 10, 1..=1).await;
    assert!(fails.is_true(), "{fails}");
    assert_eq!(fails.products[0].unknown, 5);
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate() {
    let sale = FlashSale {
        rate_per_second: Some(100.0),
        ..FlashSale::new(Vec::new(), vec![1, 2], 30)
    };
    let verdict = run_sale(Shop::Honest, sale).await;
    assert!(verdict.is_true(), "{verdict}");
    assert!(verdict.tally.wall_time >= Duration::from_millis(290), "{verdict}");
}

#[tokio::test]
async fn a_sale_ends_in_time_and_knows_its_course() {
    let sale = FlashSale {
        rate_per_second: Some(20.0),
        lasts: Some(Duration::from_millis(480)),
        ..FlashSale::new(Vec::new(), vec![1, 2], 1_000)
    };
    let verdict = run_sale(Shop::Honest, sale).await;
    assert!(verdict.is_true(), "{verdict}");
    assert_eq!(verdict.tally.latency_us.len(), 10, "one each 50 ms");
    let per_second = |from_ms, to_ms| {
        let (from, to) = (Duration::from_millis(from_ms), Duration::from_millis(to_ms));
        verdict.tally.sales_per_second_within(from, to)
    };
    assert!((per_second(0, 10_000) - 1.0).abs() < 0.01, "{verdict}");
    assert!((per_second(20_000, 30_000)).abs() < 0.01, "nothing later");
}

#[tokio::test]
async fn a_sale_that_cannot_be_run_is_an_error() {
    let sale = FlashSale::new(vec!["http://127.0.0.1:1".into()], vec![1], 1);
    let error = format!("{:#}", sale.run().await.unwrap_err());
    assert!(
        error.contains("cannot connect client 1 to http://127.0.0.1:1"),
        "{error}"
    );
    let no_rate = FlashSale {
        rate_per_second: Some(f64::NAN),
        ..sale.clone()
    };
    assert!(no_rate.run().await.unwrap_err().to_string().contains("rate"));
    let no_quantity = FlashSale {
        quantities: 0..=1,
        ..sale
    };
    assert!(
        no_quantity
            .run()
            .await
            .unwrap_err()
            .to_string()
            .contains("units per buyer")
    );
}
