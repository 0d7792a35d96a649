//! Ten times as much as fits, in the open model: buyers come whether or not earlier ones are answered.
//!
//! What fits is made small, so that ten times of it can be made beside everything else on a small machine: every round
//! trip to the database takes 40 ms, and ten requests share a transaction.

use std::time::{Duration, Instant};

use devstack::load::{Arrivals, FlashSale, Tally};
use devstack::proxy::{Fault, Proxy};
use devstack::{Service, TestStack, catalogue, wait_for};
use reqwest::StatusCode;

use crate::client::fresh_order_id;
use crate::client::{decrease_body, decrease_key, decrease_path};

const STOCK: i64 = 1_000_000;
const ROUND_TRIP_MS: u64 = 40;
/// As shipped: how long a request may wait for its decision.
const DEADLINE: Duration = Duration::from_secs(1);
/// Until the queues are as full as they get.
const RAMP: Duration = Duration::from_secs(1);
const OVERLOAD: Duration = Duration::from_secs(6);
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn at_ten_times_what_fits_as_much_is_sold_the_rest_is_told_at_once_and_afterwards_all_is_well() {
    let stack = TestStack::shared().await.unwrap();
    let database = url::Url::parse(&stack.database_url).unwrap();
    let address = format!("127.0.0.1:{}", database.port().unwrap());
    let proxy = Proxy::start(address.parse().unwrap()).unwrap();
    let options = stack
        .service("product-service", env!("CARGO_BIN_EXE_product-service"))
        .database_url(&proxy.url(&stack.database_url).unwrap())
        .env("HOTSTOCK__LEDGER__FLUSH_MAX", "10")
        // A busy machine is no fault of Redis.
        .env("HOTSTOCK__REDIS__TIMEOUT_MS", "2000")
        .env("HOTSTOCK__BREAKER__SLOW_MS", "2000");
    let service = Service::start(options).await.unwrap();
    let product = catalogue::create_product(&service.url(), "edition", 1_000, STOCK, true)
        .await
        .unwrap();
    proxy.set(Fault::Latency(ROUND_TRIP_MS..=ROUND_TRIP_MS));

    let idle = one_sale(&service, product).await.unwrap();
    let best = sale(&service, product, 60, Duration::from_secs(3), None).await;
    let best_per_s = best.sales_per_second();
    let flood = sale(&service, product, 1_000, OVERLOAD, Some(best_per_s * 10.0));
    let (flood, told_when) = tokio::join!(flood, told_to_come_back(&service, product));

    let recovering = Instant::now();
    wait_for("latency as when idle", RECOVERED_WITHIN, || async {
        let now = one_sale(&service, product).await?;
        (now < idle * 2 + Duration::from_millis(50))
            .then_some(())
            .ok_or(format!("{now:?}, {idle:?} before"))
    })
    .await
    .unwrap();
    let recovered = recovering.elapsed();

    let sold_per_s = flood.sales_per_second_within(RAMP, OVERLOAD);
    let sale_p99 = Duration::from_micros(flood.sale_latency_us.value_at_quantile(0.99));
    let p50 = Duration::from_micros(flood.latency_us.value_at_quantile(0.5));
    println!(
        "best {best_per_s:.0}/s, idle {idle:?}; of {} arrivals: {:?}, {sold_per_s:.0}/s, p99 of sales {sale_p99:?}, \
         p50 of all {p50:?}; recovered after {recovered:?}",
        flood.arrivals(),
        flood.answers,
    );
    assert!(sold_per_s >= 0.9 * best_per_s, "{sold_per_s}/s of {best_per_s}/s");
    assert_eq!(
        (flood.dropped, flood.faults.len()),
        (0, 0),
        "everybody was answered"
    );
    assert!(
        flood
            .answers
            .keys()
            .all(|answer| ["200", "503 RETRY_LATER"].contains(&answer.as_str()))
    );
    assert!(sale_p99 < DEADLINE, "{sale_p99:?}");
    assert!(p50 < DEADLINE / 4, "{p50:?}: most are refused, and at once");
    assert_eq!(told_when, "1", "Retry-After");

    // Nothing was decided that nobody heard of any more, and the books balance.
    proxy.set(Fault::Pass);
    let books = stack
        .wait_until_balanced(&[product], RECOVERED_WITHIN * 2)
        .await
        .unwrap()
        .remove(0);
    let decided = u64::try_from(STOCK - books.stock).unwrap();
    let heard = best.sales() + flood.sales();
    assert!(
        decided - heard < heard / 50,
        "{decided} sold, {heard} heard of it"
    );
}

/// Buyers of one unit each; at this rate, or as fast as answers come.
async fn sale(
    service: &Service,
    product: i64,
    concurrency: usize,
    lasts: Duration,
    per_second: Option<f64>,
) -> Tally {
    let sale = FlashSale {
        concurrency,
        lasts: Some(lasts),
        arrivals: per_second.map(Arrivals::at_rate),
        ..FlashSale::new(vec![service.url()], vec![product], 1_000_000)
    };
    sale.run().await.unwrap()
}

/// How long one sale takes.
async fn one_sale(service: &Service, product: i64) -> Result<Duration, String> {
    let asked = Instant::now();
    let answer = ask(service, product).await;
    match answer.status() {
        StatusCode::OK => Ok(asked.elapsed()),
        status => Err(format!("{status}: {}", answer.text().await.unwrap())),
    }
}

/// What somebody who is refused is told: when to come back.
async fn told_to_come_back(service: &Service, product: i64) -> String {
    wait_for("a refusal", OVERLOAD, || async {
        let answer = ask(service, product).await;
        let status = answer.status();
        let when = answer.headers().get("retry-after").ok_or(format!("{status}"))?;
        Ok(when.to_str().unwrap().to_owned())
    })
    .await
    .unwrap()
}

async fn ask(service: &Service, product: i64) -> reqwest::Response {
    let order = fresh_order_id();
    reqwest::Client::new()
        .patch(format!("{}{}", service.url(), decrease_path(product)))
        .header("Idempotency-Key", decrease_key(order))
        .header("Content-Type", "application/json")
        .body(decrease_body(order, 1))
        .send()
        .await
        .unwrap()
}
