//! A thousand people watch a sale: they keep nobody from buying.

use std::time::{Duration, Instant};

use devstack::{Service, TestStack, catalogue};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, fresh_order_id};

const VIEWERS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_viewers_keep_nobody_from_buying_and_one_more_is_told_so() {
    let stack = TestStack::shared().await.unwrap();
    let options = stack
        .service("product-service", env!("CARGO_BIN_EXE_product-service"))
        .env("HOTSTOCK__REDIS__TIMEOUT_MS", "2000")
        .env("HOTSTOCK__BREAKER__SLOW_MS", "2000")
        // Who watches is not in flight.
        .env("HOTSTOCK__SERVER__LIMITS__IN_FLIGHT_MAX", "100");
    let service = Service::start(options).await.unwrap();
    let product = catalogue::create_product(&service.url(), "edition", 1_000, 100, true)
        .await
        .unwrap();
    let mut viewers = Vec::new();
    while viewers.len() < VIEWERS {
        let some = (0..50).map(|_| watch(&service, product, "event: snapshot"));
        viewers.extend(try_join_all(some).await.unwrap());
    }

    let mut client = Client::new(&service.url());
    for _ in 0..5 {
        let asked = Instant::now();
        let told = client.decrease(product, fresh_order_id(), 1).await;
        assert!(told.is_done(), "{told:?}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    let told = watch(&service, product, "TOO_MANY_REQUESTS").await.unwrap().1;
    assert!(told.starts_with("HTTP/1.1 429 "), "{told}");
    assert!(told.to_ascii_lowercase().contains("retry-after: "), "{told}");
    drop(viewers);
    stack.wait_until_balanced(&[product], PATIENCE).await.unwrap();
}

/// Watches until this was said; the connection, and everything that was said.
async fn watch(service: &Service, product: i64, until: &str) -> Result<(TcpStream, String), String> {
    let watching = async {
        let mut stream = TcpStream::connect(("127.0.0.1", service.port())).await?;
        let head = format!("GET /sale/{product}/events HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains(until) && stream.read_buf(&mut said).await? > 0 {}
        std::io::Result::Ok((stream, String::from_utf8_lossy(&said).into_owned()))
    };
    let watched = tokio::time::timeout(PATIENCE, watching).await;
    let (stream, said) = watched
        .map_err(|_| "nothing in time")?
        .map_err(|error| error.to_string())?;
    if said.contains(until) {
        Ok((stream, said))
    } else {
        Err(format!("closed after {said}"))
    }
}
