//! Ten times as many orders as fit, in the open model: buyers come whether or not earlier ones are answered.
//!
//! What fits is made small, as for product-service's decreases: three orders share a transaction, and those that place, or
//! those that write what became of orders, are slow. So little fits that a busy machine is not what decides.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use devstack::load::{Arrivals, FlashSale, Tally, Via};
use devstack::proxy::{Fault, Proxy};
use devstack::{TestStack, shared_rabbitmq, wait_for};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use crate::fixture::{Reply, TestResult, World};

const STOCK: i64 = 1_000_000;
const ROUND_TRIP_MS: u64 = 60;
const SLOW_UPDATES: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.25); RETURN NULL; END';
    CREATE TRIGGER slow AFTER UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow()";
/// With as many clients as keep it busy.
const BEST: Duration = Duration::from_secs(3);
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
    Shop::open(Via::V1, Narrow::Concluding).await?.flooded().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_orders_that_fit_of_v2_are_accepted_no_slower_and_the_rest_is_told_at_once()
-> TestResult {
    Shop::open(Via::V2, Narrow::Placing).await?.flooded().await
}

/// Both services, and a product of which there is more than anybody orders.
struct Shop {
    world: World,
    /// In front of the order database.
    slow: Proxy,
    product: i64,
    via: Via,
    narrow: Narrow,
}

impl Shop {
    async fn open(via: Via, narrow: Narrow) -> anyhow::Result<Self> {
        let (stack, broker) = tokio::try_join!(TestStack::shared(), shared_rabbitmq())?;
        let orders_url = stack.postgres.create_unique_database("orders").await?;
        let database = url::Url::parse(&orders_url)?.port().unwrap_or_default();
        let slow = Proxy::start(SocketAddr::from(([127, 0, 0, 1], database)))?;
        let orders_url = slow.url(&orders_url)?;
        let world = World::on_databases(stack, orders_url, Some(broker.clone()), &SETTINGS).await?;
        let product = world.stocked(STOCK).await?;
        match narrow {
            Narrow::Placing => slow.set(Fault::Latency(ROUND_TRIP_MS..=ROUND_TRIP_MS)),
            Narrow::Concluding => world.execute(SLOW_UPDATES).await?,
        }
        Ok(Self {
            world,
            slow,
            product,
            via,
            narrow,
        })
    }

    async fn flooded(self) -> TestResult {
        // The first one opens connections.
        self.one_order().await.map_err(anyhow::Error::msg)?;
        let idle = self.one_order().await.map_err(anyhow::Error::msg)?;
        let start = self.counted().await?;
        let best = self.sale(12, BEST, None).await?;
        let before = self.counted().await?;
        let best_per_s = before.since(&start).flushed / best.wall_time.as_secs_f64();
        let flood = self.sale(300, OVERLOAD, Some(best_per_s * 10.0));
        let (flood, told_when) = tokio::join!(flood, self.told_to_come_back());
        let flood = flood?;
        let during = self.counted().await?.since(&before);

        let recovering = Instant::now();
        wait_for("latency as when idle", RECOVERED_WITHIN, async || {
            let now = self.one_order().await?;
            (now < idle * 2 + Duration::from_millis(50))
                .then_some(())
                .ok_or(format!("{now:?}, {idle:?} before"))
        })
        .await?;
        println!(
            "{:?}: best {best_per_s:.1}/s, idle {idle:?}; of {} arrivals: {:?}, {:.1}/s, {during:?}; recovered after {:?}",
            self.via,
            flood.arrivals(),
            flood.answers,
            during.flushed / flood.wall_time.as_secs_f64(),
            recovering.elapsed(),
        );
        during.judge();
        assert_eq!(
            (flood.dropped, flood.faults.len()),
            (0, 0),
            "everybody was answered"
        );
        assert_eq!(told_when?, "1", "Retry-After");
        let (served, refused) = (self.served(&flood), told(&flood, "503 RETRY_LATER"));
        assert_eq!(served + refused, flood.arrivals(), "{:?}", flood.answers);
        assert!(refused > served, "it is too much: {:?}", flood.answers);
        self.books_balance(self.served(&best) + served).await
    }

    /// Nothing was placed that nobody heard of any more, and all that was placed got its unit. The load tool's orders have
    /// keys, ours have none.
    async fn books_balance(&self, heard: u64) -> TestResult {
        let (world, heard) = (&self.world, i64::try_from(heard)?);
        self.slow.set(Fault::Pass);
        world.settled(self.product).await?;
        let placed = world
            .number("SELECT count(*) FROM orders WHERE idempotency_key IS NOT NULL")
            .await?;
        assert!(
            placed - heard <= heard / 20,
            "{placed} placed, {heard} heard of it"
        );
        let all = world.number("SELECT count(*) FROM orders").await?;
        assert_eq!(world.count("CONFIRMED").await?, all);
        assert_eq!(world.stock(self.product).await?, STOCK - all);
        Ok(())
    }

    /// Buyers of one unit each; at this rate, or as fast as answers come.
    async fn sale(&self, concurrency: usize, lasts: Duration, per_s: Option<f64>) -> anyhow::Result<Tally> {
        let sale = FlashSale {
            via: self.via,
            concurrency,
            lasts: Some(lasts),
            arrivals: per_s.map(Arrivals::at_rate),
            ..FlashSale::new(vec![self.world.order.url()], vec![self.product], 1_000_000)
        };
        sale.run().await
    }

    /// Buyers who were told that they have an order.
    fn served(&self, tally: &Tally) -> u64 {
        match self.via {
            Via::V1 => told(tally, "201 CONFIRMED"),
            _ => told(tally, "202 PENDING"),
        }
    }

    /// How long one order takes to be answered.
    async fn one_order(&self) -> Result<Duration, String> {
        let asked = Instant::now();
        match self.ask().await {
            Ok(reply) if matches!(reply.status, 201 | 202) => Ok(asked.elapsed()),
            otherwise => Err(format!("{otherwise:?}")),
        }
    }

    /// What somebody who is refused is told: when to come back. Of several who ask at once the first to be refused.
    async fn told_to_come_back(&self) -> anyhow::Result<String> {
        wait_for("a refusal", OVERLOAD * 2, async || {
            let mut asking: FuturesUnordered<_> = (0..5).map(|_| self.ask()).collect();
            let mut heard = String::new();
            while let Some(reply) = asking.next().await {
                let reply = reply.map_err(|error| error.to_string())?;
                match reply.headers.get("retry-after") {
                    Some(when) => return Ok(when.to_str().unwrap_or_default().to_owned()),
                    None => heard = format!("{reply:?}"),
                }
            }
            Err(heard)
        })
        .await
    }

    async fn ask(&self) -> anyhow::Result<Reply> {
        let body = json!({ "productId": self.product, "quantity": 1 });
        self.world.post(self.path(), &body).await
    }

    fn path(&self) -> &'static str {
        match self.via {
            Via::V1 => "/v1/orders",
            _ => "/v2/orders",
        }
    }

    async fn counted(&self) -> anyhow::Result<Counted> {
        let url = format!("{}/metrics", self.world.order.admin_url());
        let scrape = reqwest::get(url).await?.text().await?;
        let queue = match self.narrow {
            Narrow::Placing => r#"queue="place""#,
            Narrow::Concluding => r#"queue="conclude""#,
        };
        Ok(Counted::read(&scrape, self.path(), queue))
    }
}

/// So many were told this, whatever else.
fn told(tally: &Tally, answer: &str) -> u64 {
    let answers = tally.answers.iter();
    answers
        .filter(|(told, _)| told.starts_with(answer))
        .map(|(_, buyers)| buyers)
        .sum()
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
    /// Requests are those of this path, transactions those of this queue.
    fn read(scrape: &str, path: &str, queue: &str) -> Self {
        let sum = |series: &str, label: &str| -> f64 {
            let of_it = |line: &&str| line.starts_with(series) && line.contains(label);
            let values = scrape
                .lines()
                .filter(of_it)
                .filter_map(|line| line.rsplit_once(' '));
            values.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
        };
        let route = format!(r#"route="{path}",method="POST""#);
        Self {
            answered: sum("hotstock_http_request_seconds_count", &route),
            in_time: sum(
                "hotstock_http_request_seconds_bucket",
                &format!(r#"{route},le="5""#),
            ),
            unavailable: sum(
                "hotstock_http_requests_total",
                &format!(r#"{route},status="503""#),
            ),
            refused_at_the_door: sum("hotstock_queue_refused_total", "queue=")
                + sum("hotstock_http_shed_total", r#"reason="in_flight""#),
            transactions: sum("hotstock_orders_flush_size_count", queue),
            flushed: sum("hotstock_orders_flush_size_sum", queue),
        }
    }

    fn judge(&self) {
        assert!(
            self.flushed > 0.9 * 3.0 * self.transactions,
            "transactions stay full: {self:?}"
        );
        assert!(
            self.answered > 0.0 && self.in_time >= self.answered,
            "nobody waits longer: {self:?}"
        );
        assert!(
            self.unavailable > 0.0 && self.refused_at_the_door >= 0.95 * self.unavailable,
            "before a store is touched: {self:?}"
        );
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
