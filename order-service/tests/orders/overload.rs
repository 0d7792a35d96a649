//! Ten times as many orders as fit, in the open model: buyers come whether or not earlier ones are answered.
//!
//! What fits is made small, as for product-service's decreases: three orders share a transaction, and those that place, or
//! those that write what became of orders, are slow. So little fits that a busy machine is not what decides.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use devstack::load::{Arrivals, FlashSale, Tally, Via};
use devstack::proxy::{Fault, Proxy};
use devstack::{TestStack, shared_rabbitmq, wait_for};
use serde_json::json;

use crate::fixture::{Reply, TestResult, World};

const STOCK: i64 = 1_000_000;
const ROUND_TRIP_MS: u64 = 60;
const SLOW_UPDATES: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.25); RETURN NULL; END';
    CREATE TRIGGER slow AFTER UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow()";
const OVERLOAD: Duration = Duration::from_secs(5);
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

const SETTINGS: [(&str, &str); 4] = [
    ("HOTSTOCK__ORDERS__FLUSH_MAX", "3"),
    // Several times what is placed within the deadline: it is for the queue to see that.
    ("HOTSTOCK__SERVER__LIMITS__IN_FLIGHT_MAX", "200"),
    ("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "3000"),
    // Clients that have not had their turn yet say nothing.
    ("HOTSTOCK__SERVER__LIMITS__HEAD_TIMEOUT_MS", "60000"),
];

/// Where little fits.
#[derive(Clone, Copy)]
enum Narrow {
    /// Every round trip to the database takes so much longer: placing takes the most of them.
    Placing,
    /// What becomes of orders is written slowly, and new ones are not.
    Concluding,
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_orders_that_can_be_decided_of_v1_are_refused_at_once_and_not_placed_and_decided_late()
-> TestResult {
    flooded(Via::V1, "/v1/orders", Narrow::Concluding).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_orders_that_fit_of_v2_are_accepted_no_slower_and_the_rest_is_told_at_once()
-> TestResult {
    flooded(Via::V2, "/v2/orders", Narrow::Placing).await
}

async fn flooded(via: Via, path: &str, narrow: Narrow) -> TestResult {
    let (stack, broker) = tokio::try_join!(TestStack::shared(), shared_rabbitmq())?;
    let orders_url = stack.postgres.create_unique_database("orders").await?;
    let database = url::Url::parse(&orders_url)?.port().unwrap_or_default();
    let slow = Proxy::start(SocketAddr::from(([127, 0, 0, 1], database)))?;
    let world = World::on_databases(stack, slow.url(&orders_url)?, Some(broker.clone()), &SETTINGS).await?;
    let product = world.stocked(STOCK).await?;
    match narrow {
        Narrow::Placing => slow.set(Fault::Latency(ROUND_TRIP_MS..=ROUND_TRIP_MS)),
        Narrow::Concluding => world.execute(SLOW_UPDATES).await?,
    }

    // The first one opens connections.
    one_order(&world, product, path)
        .await
        .map_err(anyhow::Error::msg)?;
    let idle = one_order(&world, product, path)
        .await
        .map_err(anyhow::Error::msg)?;
    let start = Counted::by(&world, path, narrow).await?;
    let best = sale(&world, via, product, 12, Duration::from_secs(3), None).await?;
    let before = Counted::by(&world, path, narrow).await?;
    let best_per_s = before.since(&start).flushed / best.wall_time.as_secs_f64();
    let flood = sale(&world, via, product, 300, OVERLOAD, Some(best_per_s * 10.0));
    let (flood, told_when) = tokio::join!(flood, told_to_come_back(&world, product, path));
    let (flood, told_when) = (flood?, told_when?);
    let during = Counted::by(&world, path, narrow).await?.since(&before);

    let recovering = Instant::now();
    wait_for("latency as when idle", RECOVERED_WITHIN, async || {
        let now = one_order(&world, product, path).await?;
        (now < idle * 2 + Duration::from_millis(50))
            .then_some(())
            .ok_or(format!("{now:?}, {idle:?} before"))
    })
    .await?;
    let recovered = recovering.elapsed();
    println!(
        "{path}: best {best_per_s:.1}/s, idle {idle:?}; of {} arrivals: {:?}, {:.1}/s, {during:?}; recovered after \
         {recovered:?}",
        flood.arrivals(),
        flood.answers,
        during.flushed / flood.wall_time.as_secs_f64(),
    );

    assert!(
        during.flushed > 0.9 * 3.0 * during.transactions,
        "transactions stay full: {during:?}"
    );
    assert_eq!(
        (flood.dropped, flood.faults.len()),
        (0, 0),
        "everybody was answered"
    );
    assert!(
        during.in_time >= during.answered,
        "nobody waits longer: {during:?}"
    );
    assert_eq!(told_when, "1", "Retry-After");
    let done = match via {
        Via::V1 => "201 CONFIRMED",
        _ => "202 PENDING",
    };
    let told = |tally: &Tally, answer: &str| tally.answers.get(answer).copied().unwrap_or_default();
    let (served, refused) = (told(&flood, done), told(&flood, "503 RETRY_LATER"));
    assert_eq!(served + refused, flood.arrivals(), "{:?}", flood.answers);
    assert!(
        during.refused_at_the_door >= 0.95 * during.unavailable,
        "before a store is touched: {during:?}"
    );

    // Nothing was placed that nobody heard of any more, and all that was placed got its unit.
    slow.set(Fault::Pass);
    world.settled(product).await?;
    let placed = world
        .number("SELECT count(*) FROM orders WHERE idempotency_key IS NOT NULL")
        .await?;
    let heard = i64::try_from(told(&best, done) + served)?;
    assert!(
        placed - heard <= heard / 20,
        "{placed} placed, {heard} heard of it"
    );
    let all = world.number("SELECT count(*) FROM orders").await?;
    assert_eq!(world.count("CONFIRMED").await?, all);
    assert_eq!(world.stock(product).await?, STOCK - all);
    Ok(())
}

/// Buyers of one unit each; at this rate, or as fast as answers come.
async fn sale(
    world: &World,
    via: Via,
    product: i64,
    concurrency: usize,
    lasts: Duration,
    per_second: Option<f64>,
) -> anyhow::Result<Tally> {
    let sale = FlashSale {
        via,
        concurrency,
        lasts: Some(lasts),
        arrivals: per_second.map(Arrivals::at_rate),
        ..FlashSale::new(vec![world.order.url()], vec![product], 1_000_000)
    };
    sale.run().await
}

/// How long one order takes to be answered.
async fn one_order(world: &World, product: i64, path: &str) -> Result<Duration, String> {
    let asked = Instant::now();
    match ask(world, product, path).await {
        Ok(reply) if matches!(reply.status, 201 | 202) => Ok(asked.elapsed()),
        otherwise => Err(format!("{otherwise:?}")),
    }
}

/// What somebody who is refused is told: when to come back.
async fn told_to_come_back(world: &World, product: i64, path: &str) -> anyhow::Result<String> {
    wait_for("a refusal", OVERLOAD, async || {
        let reply = ask(world, product, path)
            .await
            .map_err(|error| error.to_string())?;
        let when = reply.headers.get("retry-after").ok_or(format!("{reply:?}"))?;
        Ok(when.to_str().unwrap_or_default().to_owned())
    })
    .await
}

async fn ask(world: &World, product: i64, path: &str) -> anyhow::Result<Reply> {
    world
        .post(path, &json!({ "productId": product, "quantity": 1 }))
        .await
}

/// By the service's own clock and count: on a busy machine the load tool comes late itself.
#[derive(Debug)]
struct Counted {
    /// Requests to place an order that were answered.
    answered: f64,
    /// Of them, within the deadline, the second for writing down what became of it, and what a busy machine adds.
    in_time: f64,
    /// Of them, with 503.
    unavailable: f64,
    /// Of them, because there was no place or the queue had no room.
    refused_at_the_door: f64,
    /// Transactions where little fits, and orders in them.
    transactions: f64,
    flushed: f64,
}

impl Counted {
    async fn by(world: &World, path: &str, narrow: Narrow) -> anyhow::Result<Self> {
        let url = format!("{}/metrics", world.order.admin_url());
        let scrape = reqwest::get(url).await?.text().await?;
        let narrow = match narrow {
            Narrow::Placing => r#"queue="place""#,
            Narrow::Concluding => r#"queue="conclude""#,
        };
        let route = format!(r#"route="{path}",method="POST""#);
        let sum = |series: &str, label: &str| -> f64 {
            let lines = scrape
                .lines()
                .filter(|line| line.starts_with(series) && line.contains(label));
            lines
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
                .sum()
        };
        let seconds = "hotstock_http_request_seconds";
        Ok(Self {
            answered: sum(&format!("{seconds}_count"), &route),
            in_time: sum(&format!("{seconds}_bucket"), &format!(r#"{route},le="5""#)),
            unavailable: sum(
                "hotstock_http_requests_total",
                &format!(r#"{route},status="503""#),
            ),
            refused_at_the_door: sum("hotstock_queue_refused_total", "queue=")
                + sum("hotstock_http_shed_total", r#"reason="in_flight""#),
            transactions: sum("hotstock_orders_flush_size_count", narrow),
            flushed: sum("hotstock_orders_flush_size_sum", narrow),
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            answered: self.answered - before.answered,
            in_time: self.in_time - before.in_time,
            unavailable: self.unavailable - before.unavailable,
            refused_at_the_door: self.refused_at_the_door - before.refused_at_the_door,
            transactions: self.transactions - before.transactions,
            flushed: self.flushed - before.flushed,
        }
    }
}
