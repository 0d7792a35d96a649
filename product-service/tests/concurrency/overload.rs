//! Ten times as much as fits, in the open model: buyers come whether or not earlier ones are answered.
//!
//! What fits is made small, so that ten times of it can be made beside everything else on a small machine: every round
//! trip to the database takes 60 ms more, and three requests share a transaction. So little fits that a busy
//! machine is not what decides.

use std::time::{Duration, Instant};

use devstack::load::{Arrivals, FlashSale, Tally};
use devstack::proxy::{Fault, Proxy};
use devstack::{Service, TestStack, catalogue, wait_for};
use reqwest::StatusCode;

use crate::client::fresh_order_id;
use crate::client::{decrease_body, decrease_key, decrease_path};

const STOCK: i64 = 1_000_000;
const ROUND_TRIP_MS: u64 = 60;
/// Until the queues are as full as they get.
const RAMP: Duration = Duration::from_secs(1);
const OVERLOAD: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(20);
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn at_ten_times_what_fits_transactions_stay_full_what_they_decide_is_heard_and_afterwards_all_is_well()
{
    let stack = TestStack::shared().await.unwrap();
    let database = url::Url::parse(&stack.database_url).unwrap();
    let address = format!("127.0.0.1:{}", database.port().unwrap());
    let proxy = Proxy::start(address.parse().unwrap()).unwrap();
    let service = small(&stack, &proxy).await.unwrap();
    let product = catalogue::create_product(&service.url(), "edition", 1_000, STOCK, true)
        .await
        .unwrap();
    proxy.set(Fault::Latency(ROUND_TRIP_MS..=ROUND_TRIP_MS));

    // The first one opens connections.
    wait_for("a sale", PATIENCE, || one_sale(&service, product))
        .await
        .unwrap();
    let idle = one_sale(&service, product).await.unwrap();
    let best = sale(&service, product, 10, Duration::from_secs(5), None).await;
    let best_per_s = best.sales_per_second();
    let before = answered(&service).await;
    let flood = sale(&service, product, 300, OVERLOAD, Some(best_per_s * 10.0));
    let (flood, told_when) = tokio::join!(flood, told_to_come_back(&service, product));
    let after = answered(&service).await;

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
    // By the service's own clock: on a busy machine the load tool comes late itself. And by its transactions: how long each
    // takes is the machine's affair.
    let [all, in_time] = [0, 1].map(|at| after[at] - before[at]);
    let [transactions, decided] = [2, 3].map(|at| after[at] - before[at]);
    println!(
        "best {best_per_s:.0}/s, idle {idle:?}; of {} arrivals: {:?}, {sold_per_s:.0}/s, {:.2} to a transaction; recovered \
         after {recovered:?}",
        flood.arrivals(),
        flood.answers,
        decided / transactions,
    );
    assert!(
        decided / transactions > 0.9 * 3.0,
        "transactions stay full: {decided} in {transactions}"
    );
    assert_eq!(
        (flood.dropped, flood.faults.len()),
        (0, 0),
        "everybody was answered"
    );
    assert!(
        flood
            .answers
            .keys()
            .all(|answer| answer == "200" || answer.starts_with("503 RETRY_LATER"))
    );
    assert!(in_time >= all, "nobody waits longer: {in_time} of {all}");
    assert_eq!(told_when, "1", "Retry-After");

    // Nothing was decided that nobody heard of any more, and the books balance.
    proxy.set(Fault::Pass);
    let books = stack
        .wait_until_balanced(&[product], PATIENCE)
        .await
        .unwrap()
        .remove(0);
    let sold = u64::try_from(STOCK - books.stock).unwrap();
    let heard = best.sales() + flood.sales();
    assert!(sold - heard < heard / 20, "{sold} sold, {heard} heard of it");
}

/// A service whose queues three requests to a transaction keep busy.
async fn small(stack: &TestStack, proxy: &Proxy) -> anyhow::Result<Service> {
    let options = stack
        .service("product-service", env!("CARGO_BIN_EXE_product-service"))
        .database_url(&proxy.url(&stack.database_url)?)
        .env("HOTSTOCK__LEDGER__FLUSH_MAX", "3")
        // Several times what is decided within the deadline: it is for the queue to see that.
        .env("HOTSTOCK__SERVER__LIMITS__IN_FLIGHT_MAX", "200")
        .env("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "3000")
        // Clients that have not had their turn yet say nothing.
        .env("HOTSTOCK__SERVER__LIMITS__HEAD_TIMEOUT_MS", "60000")
        // A busy machine is no fault of Redis.
        .env("HOTSTOCK__REDIS__TIMEOUT_MS", "2000")
        .env("HOTSTOCK__BREAKER__SLOW_MS", "2000");
    Service::start(options).await
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

/// Decreases that the service has answered, and those within the deadline and what a busy machine adds; transactions, and
/// requests decided in them.
async fn answered(service: &Service) -> [f64; 4] {
    let url = format!("{}/metrics", service.admin_url());
    let scrape = reqwest::get(url).await.unwrap().text().await.unwrap();
    [
        (
            "hotstock_http_request_seconds_count",
            "/v1/products/{id}/stock/decrease-by-order",
        ),
        (
            "hotstock_http_request_seconds_bucket",
            r#"decrease-by-order",method="PATCH",le="5""#,
        ),
        ("hotstock_decide_batch_size_count", ""),
        ("hotstock_decide_batch_size_sum", ""),
    ]
    .map(|(name, labels)| {
        let series = |line: &&str| line.starts_with(name) && line.contains(labels);
        let line = scrape.lines().find(series);
        let line = line.unwrap_or_else(|| panic!("no {name} {labels} in {scrape}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    })
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
