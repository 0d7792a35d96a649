//! A small shop that is honest, or lies in one of the ways the tool has to find out.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use devstack::TestStack;
use devstack::load::{FlashSale, Stores, Verdict, flash_sale};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shop {
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
    if request.method() == Method::POST {
        // The product there is already.
        let mut response = Response::new(Full::new(Bytes::from_static(br#"{"id":1}"#)));
        *response.status_mut() = StatusCode::CREATED;
        return Ok(response);
    }
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
pub(crate) async fn run(shop: Shop, buyers: u64, quantities: std::ops::RangeInclusive<i64>) -> Verdict {
    let sale = FlashSale {
        quantities,
        concurrency: 16,
        ..FlashSale::new(Vec::new(), vec![2, 1], buyers)
    };
    run_sale(shop, sale).await
}

pub(crate) async fn run_sale(shop: Shop, mut sale: FlashSale) -> Verdict {
    let (url, stores) = open(shop).await;
    sale.urls = vec![url];
    flash_sale(&sale, &stores).await.unwrap()
}

/// Opens it for as long as the test lasts: where it is, and where its books are.
pub(crate) async fn open(shop: Shop) -> (String, Stores) {
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
    let stores = Stores {
        database_url: stack.database_url,
        redis_url: Some(stack.redis_url),
        orders_url: None,
    };
    (url, stores)
}

/// A server that says yes to everything at once and keeps no books, on threads of its own.
pub(crate) fn yes_server() -> String {
    const YES: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"success\":true}";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // A request is short: it comes in one piece.
                while stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {
                    if stream.write_all(YES).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}
