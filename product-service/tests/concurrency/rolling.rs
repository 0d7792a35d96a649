//! A rolling restart: three instances behind a balancer that never asks twice, restarted one after the other while buyers
//! buy. Not one request fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use devstack::soak::roll;
use devstack::{Balancer, wait_for};
use futures_util::future::join_all;

use crate::client::{Client, Told, decrease_key, fresh_order_id};
use crate::shop::Shop;

const CLIENTS: usize = 24;
/// Sales before the first restart, between two of them, and after the last.
const SALES: usize = 50;

#[derive(Default)]
struct Run {
    sales: AtomicUsize,
    is_over: AtomicBool,
}

impl Run {
    async fn sell_more(&self) {
        let before = self.sales.load(Ordering::Relaxed);
        wait_for("sales", Duration::from_secs(20), || async {
            let sales = self.sales.load(Ordering::Relaxed) - before;
            if sales >= SALES {
                Ok(())
            } else {
                Err(format!("{sales} sales"))
            }
        })
        .await
        .unwrap();
    }

    /// Buys one unit after the other over one connection to the balancer, until the run is over.
    async fn buy(&self, front: &Balancer, product: i64) -> Vec<(i64, Told)> {
        let mut client = Client::new(&front.url());
        let mut book = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let order = fresh_order_id();
            let told = client.decrease(product, order, 1).await;
            self.sales
                .fetch_add(usize::from(told.is_done()), Ordering::Relaxed);
            book.push((order, told));
        }
        book
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_not_one_request() {
    let shop = Shop::open_with(3, &[("HOTSTOCK__SERVER__SHUTDOWN_DELAY_MS", "1000")]).await;
    let products = [
        shop.product(900_000, true).await,
        shop.product(900_000, false).await,
    ];
    shop.wait_until_hot_everywhere(products[0]).await;
    let front = Balancer::start(&shop.urls()).unwrap();
    front.all_ready().await;
    let run = Run::default();
    let buyers = (0..CLIENTS).map(|client| run.buy(&front, products[client % 2]));
    let rolling = async {
        let since = Instant::now();
        let mut restarts = Vec::new();
        run.sell_more().await;
        for service in &shop.services {
            restarts.push(roll(service.name(), service, &front, since).await.unwrap());
            run.sell_more().await;
        }
        run.is_over.store(true, Ordering::Relaxed);
        restarts
    };
    let (books, restarts) = tokio::join!(join_all(buyers), rolling);

    let told: Vec<(i64, Told)> = books.into_iter().flatten().collect();
    let failed: Vec<_> = told.iter().filter(|(_, told)| !told.is_done()).collect();
    assert!(failed.is_empty(), "of {}: {failed:?}", told.len());
    assert_eq!(front.failures(), Default::default());
    assert_eq!(restarts.len(), 3);
    for (restart, service) in restarts.iter().zip(&shop.services) {
        assert_ne!(restart.pid_before, restart.pid_after);
        assert_eq!(restart.pid_after, service.pid());
        assert!(restart.stopping_s >= 1.0, "it served on first: {restart:?}");
    }
    let sold = shop.stack.sold_request_ids(&products).await.unwrap();
    let missing = told
        .iter()
        .find(|(order, _)| !sold.contains(&decrease_key(*order)));
    assert_eq!(missing, None);
    assert_eq!(sold.len(), told.len());
    for product in products {
        shop.wait_until_balanced(product, Duration::from_secs(2)).await;
    }
    shop.assert_nothing_was_repaired().await;
}
