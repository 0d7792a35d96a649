//! The open model: buyers come when they come, and what they measure counts from then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use devstack::load::{Arrivals, FlashSale, Progress, Tally};
use devstack::proxy::{Fault, Proxy};
use devstack::wait_for;

use crate::shop::{Shop, run_sale, yes_server};

const CLIENTS: usize = 4;
const STALL: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_schedule_is_kept_and_ends_in_time() {
    let sale = FlashSale {
        arrivals: Some(Arrivals::at_rate(100.0)),
        seed: 1,
        ..FlashSale::new(Vec::new(), vec![1, 2], 30)
    };
    let last = Arrivals::at_rate(100.0).schedule(1).nth(29).unwrap();
    let verdict = run_sale(Shop::Honest, sale.clone()).await;
    assert!(verdict.is_true(), "{verdict}");
    assert_eq!(verdict.tally.latency_us.len(), 30);
    assert!(verdict.tally.wall_time >= last, "{last:?}\n{verdict}");

    let half = Arrivals::at_rate(100.0).schedule(1).nth(14).unwrap();
    let cut_off = FlashSale {
        lasts: Some(half),
        ..sale
    };
    let verdict = run_sale(Shop::Honest, cut_off).await;
    assert!(verdict.is_true(), "{verdict}");
    assert_eq!(verdict.tally.latency_us.len(), 15);
    let per_second = |from_s, to_s| {
        let (from, to) = (Duration::from_secs(from_s), Duration::from_secs(to_s));
        verdict.tally.sales_per_second_within(from, to)
    };
    assert!((per_second(0, 10) - 1.5).abs() < 0.01, "{verdict}");
    assert!(per_second(20, 30).abs() < 0.01, "nothing later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shows_in_the_open_model_and_hides_in_the_closed_one() {
    let closed = run_into_a_stall(sale(8_000)).await;
    assert!(
        closed.latency_us.max() >= micros(STALL),
        "it was there: {closed:?}"
    );
    let p99 = closed.latency_us.value_at_quantile(0.99);
    assert!(
        p99 < micros(STALL) / 2,
        "one answer of each client in 2,000: p99 {p99} us"
    );

    let open = run_into_a_stall(FlashSale {
        arrivals: Some(Arrivals::at_rate(1_000.0)),
        ..sale(2_000)
    })
    .await;
    let p90 = open.latency_us.value_at_quantile(0.9);
    assert!(
        p90 > micros(STALL) / 4,
        "400 of 2,000 came meanwhile: p90 {p90} us"
    );
    assert_eq!((open.latency_us.len(), open.dropped), (2_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn arrivals_that_find_no_room_are_turned_away_and_counted() {
    let tally = run_into_a_stall(FlashSale {
        arrivals: Some(Arrivals::at_rate(1_000.0)),
        waiting_max: 10,
        ..sale(2_000)
    })
    .await;
    assert!(tally.dropped > 100, "{}", tally.dropped);
    assert_eq!(
        tally.latency_us.len() + tally.dropped,
        2_000,
        "everybody is counted"
    );
    assert_eq!(tally.arrivals(), 2_000);
    let ratio = u32::try_from(tally.dropped).map(f64::from).unwrap() / 2_000.0;
    assert!((tally.error_ratio() - ratio).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_the_bottleneck_says_so() {
    let busy = FlashSale {
        concurrency: 32,
        ..sale(30_000)
    };
    let tally = busy.run().await.unwrap();
    let warning = tally.warning().unwrap_or_else(|| panic!("{:?}", tally.effort));
    assert!(warning.contains("the load tool was"), "{warning}");

    let idle = FlashSale {
        arrivals: Some(Arrivals::at_rate(20.0)),
        ..sale(20)
    };
    let tally = idle.run().await.unwrap();
    let busy = tally.effort.busy_ratio(tally.wall_time);
    assert!(busy < 0.5, "{:?}", tally.effort);
}

/// One product, sold by the server that keeps no books.
fn sale(buyers: u64) -> FlashSale {
    FlashSale {
        concurrency: CLIENTS,
        ..FlashSale::new(vec![yes_server()], vec![1], buyers)
    }
}

/// Once it is under way, every connection is held up for [`STALL`] once.
async fn run_into_a_stall(mut sale: FlashSale) -> Tally {
    let address = sale.urls[0].strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = Proxy::start(address).unwrap();
    sale.urls = vec![format!("http://127.0.0.1:{}", proxy.port())];
    let (tally, ()) = tokio::join!(sale.run(), stall(&proxy, Arc::clone(&sale.progress)));
    tally.unwrap()
}

async fn stall(proxy: &Proxy, progress: Arc<Progress>) {
    let is_under_way = || async {
        let buyers = progress.buyers.load(std::sync::atomic::Ordering::Relaxed);
        (buyers >= 100)
            .then_some(())
            .ok_or_else(|| format!("{buyers} buyers"))
    };
    wait_for("the sale to be under way", PATIENCE, is_under_way)
        .await
        .unwrap();
    let stall_ms = u64::try_from(STALL.as_millis()).unwrap();
    let begun = Instant::now();
    proxy.set(Fault::Latency(stall_ms..=stall_ms));
    let all_hit = || async {
        let hit = proxy.hits().connections;
        (hit >= CLIENTS as u64)
            .then_some(())
            .ok_or_else(|| format!("{hit} connections"))
    };
    wait_for("every connection to be held up", PATIENCE, all_hit)
        .await
        .unwrap();
    assert!(begun.elapsed() < STALL, "they are held up at the same time");
    proxy.set(Fault::Pass);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}
