//! A thousand people watch their orders: they keep nobody from ordering, and each hears how it ends.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use devstack::Signal;
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{PATIENCE, TestResult, World};

const VIEWERS: usize = 1_000;
/// What a chunked body ends with.
const END: &str = "\r\n0\r\n\r\n";
const PENDING: &str = r#""status":"PENDING""#;
const CONFIRMED: &str = r#""status":"CONFIRMED""#;
const MEMORY_PER_VIEWER_BYTES: i64 = 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_viewers_of_orders_hear_how_they_end_keep_nobody_from_ordering_and_one_more_is_told_so()
-> TestResult {
    let settings = [
        // Who watches is not in flight.
        ("HOTSTOCK__SERVER__LIMITS__IN_FLIGHT_MAX", "100"),
        // It is the message that confirms them.
        ("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "600000"),
    ];
    let world = World::with_broker(&settings).await?;
    let product = world.stocked(10_000).await?;
    world.product.signal(Signal::STOP)?;
    let mut viewers = Vec::new();
    let before = memory_bytes(&world).await?;
    while viewers.len() < VIEWERS {
        let ids = world.sale(product, 50).await?;
        let watching = ids.into_iter().map(|id| Viewer::of(&world, id));
        let mut some = try_join_all(watching).await?;
        try_join_all(some.iter_mut().map(|viewer| viewer.hear(PENDING))).await?;
        viewers.extend(some);
    }

    for _ in 0..5 {
        let asked = Instant::now();
        let id = world.place_later(product, 1).await?.id();
        assert_eq!(world.order(id).await?.text("status"), "PENDING");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    let id = world.place_later(product, 1).await?.id();
    let mut refused = Viewer::of(&world, id).await?;
    refused.hear("TOO_MANY_REQUESTS").await?;
    assert!(refused.heard.starts_with("HTTP/1.1 429 "), "{}", refused.heard);
    assert!(
        refused.heard.to_ascii_lowercase().contains("retry-after: "),
        "{}",
        refused.heard
    );

    // Nobody reads while it is told.
    world.product.signal(Signal::CONT)?;
    world.settled(product).await?;
    let taken = memory_bytes(&world).await? - before;
    let most = i64::try_from(VIEWERS)? * MEMORY_PER_VIEWER_BYTES;
    assert!(taken < most, "{taken} bytes for {VIEWERS} viewers");
    for viewer in &mut viewers {
        viewer.hear(END).await?;
        assert_eq!(viewer.heard.matches(CONFIRMED).count(), 1, "{}", viewer.heard);
    }
    println!("{taken} bytes for {VIEWERS} viewers");
    drop(viewers);

    // Who watches when the service is stopped hears the end of it, and watches on at another instance.
    world.product.signal(Signal::STOP)?;
    let id = world.place_later(product, 1).await?.id();
    let mut viewer = Viewer::of(&world, id).await?;
    viewer.hear(PENDING).await?;
    world.order.signal(Signal::TERM)?;
    viewer.hear(END).await?;
    assert!(!viewer.heard.contains(CONFIRMED), "{}", viewer.heard);
    let other = world.another().await?;
    let mut viewer = Viewer::at(other.port(), id).await?;
    viewer.hear(PENDING).await?;
    world.product.signal(Signal::CONT)?;
    viewer.hear(END).await?;
    assert!(viewer.heard.contains(CONFIRMED), "{}", viewer.heard);
    world.settled(product).await
}

/// Somebody who watches an order, and reads only when told to.
struct Viewer {
    stream: TcpStream,
    heard: String,
}

impl Viewer {
    async fn of(world: &World, order: i64) -> anyhow::Result<Self> {
        Self::at(world.order.port(), order).await
    }

    async fn at(port: u16, order: i64) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let head = format!("GET /v1/orders/{order}/events HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        Ok(Self {
            stream,
            heard: String::new(),
        })
    }

    /// Reads until this was said.
    async fn hear(&mut self, until: &str) -> TestResult {
        let hearing = async {
            let mut piece = [0; 4096];
            while !self.heard.contains(until) {
                let size = self.stream.read(&mut piece).await?;
                ensure!(size > 0, "closed after {}", self.heard);
                self.heard.push_str(std::str::from_utf8(&piece[..size])?);
            }
            Ok(())
        };
        let heard = tokio::time::timeout(PATIENCE, hearing).await;
        heard.with_context(|| format!("no {until:?} in time, but {:?}", self.heard))?
    }
}

/// What order-service has of the machine's memory.
async fn memory_bytes(world: &World) -> anyhow::Result<i64> {
    let metrics = reqwest::get(format!("{}/metrics", world.order.admin_url())).await?;
    let text = metrics.text().await?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    Ok(line.context("no memory")?.parse()?)
}
