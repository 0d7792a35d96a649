//! Clients that reset the connection right after sending: what they asked for happens or not, and no unit is lost.

use std::collections::HashSet;
use std::time::Duration;

use devstack::load::FlashSale;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{decrease_body, decrease_key, decrease_path, fresh_order_id};
use crate::shop::Shop;

const RESETS: usize = 2_000;
const AT_ONCE: usize = 50;
const STOCK: i64 = 2_500;
const BUYERS: u64 = 3_000;

/// Sends a whole request and resets the connection (RST, not FIN), `after` a moment.
async fn hang_up(port: u16, product: i64, order_id: i64, after: Duration) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_zero_linger().unwrap();
    let body = decrease_body(order_id, 1);
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {}\r\nContent-Length: {}\r\n\r\n",
        decrease_path(product),
        decrease_key(order_id),
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    stream.write_all(&request).await.unwrap();
    if !after.is_zero() {
        tokio::time::sleep(after).await;
    }
    drop(stream);
}

/// RSTs that this machine's kernel has sent so far, where it says so.
fn resets_sent() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/snmp").ok()?;
    let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
    let mut columns = tcp.next()?.split_whitespace().zip(tcp.next()?.split_whitespace());
    let (_, count) = columns.find(|(name, _)| *name == "OutRsts")?;
    count.parse().ok()
}

async fn hang_up_under_load(is_hot: bool) {
    let shop = Shop::open(2).await;
    let product = shop.product(STOCK, is_hot).await;
    if is_hot {
        shop.wait_until_hot_everywhere(product).await;
    }
    let resets_before = resets_sent();
    let ports: Vec<u16> = shop.services.iter().map(|service| service.port()).collect();
    let hangers = (0..AT_ONCE).map(|hanger| {
        let ports = &ports;
        async move {
            let mut orders = Vec::new();
            for round in 0..RESETS / AT_ONCE {
                let order = fresh_order_id();
                // Most at once; some when the request is on its way through gate and ledger.
                let after = Duration::from_millis([0, 0, 0, 1, 3][(hanger + round) % 5]);
                hang_up(ports[round % ports.len()], product, order, after).await;
                orders.push(order);
            }
            orders
        }
    });
    let crowd = FlashSale {
        concurrency: 64,
        ..FlashSale::new(shop.urls(), vec![product], BUYERS)
    };
    let (orders, crowd) = tokio::join!(join_all(hangers), crowd.run());
    let books = shop.wait_until_balanced(product, Duration::from_secs(2)).await;

    let reset: HashSet<String> = orders.into_iter().flatten().map(decrease_key).collect();
    assert_eq!(reset.len(), RESETS);
    if let Some((before, after)) = resets_before.zip(resets_sent()) {
        assert!(after - before >= RESETS as u64, "{} resets", after - before);
    }
    let crowd = crowd.unwrap();
    assert!(crowd.faults.is_empty(), "{:?}", crowd.faults);
    let sold = shop.stack.sold_request_ids(&[product]).await.unwrap();
    let sold_to_reset = sold.intersection(&reset).count();
    println!("{sold_to_reset} of {RESETS} requests whose client hung up were sold to");
    assert!(sold_to_reset > 0, "the fault did not hit");
    assert_eq!(books.units_sold, STOCK, "more was wanted than there was");
    assert_eq!(
        u64::try_from(sold_to_reset).unwrap() + crowd.sales(),
        u64::try_from(STOCK).unwrap()
    );
    assert_eq!(books.stock, 0);
    assert_eq!(books.gate.is_some(), is_hot);
    shop.assert_nothing_was_repaired().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_resets_of_a_hot_product_leak_no_unit() {
    hang_up_under_load(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_resets_of_a_product_without_gate_leak_no_unit() {
    hang_up_under_load(false).await;
}
