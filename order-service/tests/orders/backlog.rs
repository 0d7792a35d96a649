//! The gauges of what is not done: there from the start, right, and cheap however many orders there are.

use devstack::wait_for;

use crate::fixture::{PATIENCE, TestResult, World};

impl World {
    /// A series of order-service, as a scrape finds it.
    async fn scraped(&self, series: &str) -> Result<f64, String> {
        let reply = reqwest::get(format!("{}/metrics", self.order.admin_url())).await;
        let text = reply.map_err(|error| error.to_string())?.text().await;
        let text = text.map_err(|error| error.to_string())?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.ok_or_else(|| format!("no {series} in\n{text}"))?;
        value.parse().map_err(|_| format!("{series} {value}"))
    }

    async fn until_scraped(&self, series: &str, is_right: impl Fn(f64) -> bool) -> TestResult {
        wait_for(series, PATIENCE, async || {
            let value = self.scraped(series).await?;
            is_right(value).then_some(()).ok_or(format!("{series} {value}"))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_is_counted_and_how_old_it_is() -> TestResult {
    let world = World::with(&[("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "12000")]).await?;
    let counts = [
        "hotstock_orders_pending",
        "hotstock_outbox_messages{status=\"pending\"}",
        "hotstock_outbox_messages{status=\"failed\"}",
        "hotstock_outbox_messages{status=\"dead\"}",
    ];
    let ages = [
        "hotstock_orders_pending_oldest_seconds",
        "hotstock_outbox_oldest_seconds{status=\"pending\"}",
        "hotstock_outbox_oldest_seconds{status=\"failed\"}",
        "hotstock_outbox_oldest_seconds{status=\"dead\"}",
    ];
    for series in counts.iter().chain(&ages) {
        assert_eq!(world.scraped(series).await, Ok(0.0), "from the start");
    }
    let product = world.stocked(10).await?;
    // There is no broker: the messages stay.
    world.sale(product, 3).await?;
    for (series, is_right) in [
        (counts[0], 3.0),
        (counts[1], 3.0),
        (counts[2], 0.0),
        (counts[3], 0.0),
    ] {
        world.until_scraped(series, |value| value == is_right).await?;
    }
    for series in [ages[0], ages[1]] {
        world
            .until_scraped(series, |value| value > 0.1 && value < 60.0)
            .await?;
    }
    let pending = async || {
        let page = world.get("/v1/orders?status=PENDING").await?;
        anyhow::Ok(page.body["totalElements"].clone())
    };
    assert_eq!(pending().await?, 3);
    // Past their deadline they are asked for over HTTP.
    world.until_scraped(counts[0], |value| value == 0.0).await?;
    assert_eq!(pending().await?, 0);
    assert_eq!(world.scraped(ages[0]).await, Ok(0.0));
    assert_eq!(world.scraped(counts[1]).await, Ok(3.0));
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_given_up_is_counted_as_dead() -> TestResult {
    let (world, product, _order) = World::with_an_order_given_up().await?;
    world
        .until_scraped("hotstock_outbox_messages{status=\"dead\"}", |value| value == 1.0)
        .await?;
    world
        .until_scraped("hotstock_outbox_oldest_seconds{status=\"dead\"}", |value| {
            value > 0.0
        })
        .await?;
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_reads_no_table_from_end_to_end() -> TestResult {
    let world = World::start().await?;
    world
        .number(
            "WITH placed AS (INSERT INTO orders (product_id, quantity, status, flow) \
             SELECT 1, 1, 'CONFIRMED', 'ASYNC' FROM generate_series(1, 30000) RETURNING id), \
             sent AS (INSERT INTO outbox (order_id, attempt, event_type, payload, status, sent_at) \
             SELECT id, 0, 'STOCK_DECREASE', '{}', 'SENT', now() FROM placed RETURNING id) \
             SELECT count(*) FROM sent",
        )
        .await?;
    let product = world.stocked(10).await?;
    // What is planned for nearly empty tables may read them whole; a connection plans anew now and then.
    let scans = async || {
        let scans =
            "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relname IN ('orders', 'outbox')";
        world.number(scans).await
    };
    world.sale(product, 1).await?;
    world
        .until_scraped("hotstock_outbox_messages{status=\"pending\"}", |value| {
            value == 1.0
        })
        .await?;
    let before = scans().await?;
    world.sale(product, 1).await?;
    world
        .until_scraped("hotstock_outbox_messages{status=\"pending\"}", |value| {
            value == 2.0
        })
        .await?;
    assert_eq!(scans().await?, before);
    Ok(())
}
