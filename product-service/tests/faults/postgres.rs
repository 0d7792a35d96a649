//! Postgres locked, killed, frozen, or rid of its sessions: nobody is told anything but a yes that holds or `RETRY_LATER`.

use std::time::{Duration, Instant};

use devstack::Signal;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

use crate::client::{Client, Told, fresh_order_id};
use crate::evidence::Evidence;
use crate::shop::Shop;
use crate::trial::{Plan, trial};

fn decisions_failed(seen: &Evidence) -> bool {
    seen.sum("decide_failures") > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again() {
    let shop = Shop::on_own_postgres().await;
    let plan = Plan::new("Postgres: killed and restarted", 1000, decisions_failed).of_postgres();
    let kill = async |_| shop.stack.postgres.kill().unwrap();
    trial(&shop, plan, kill, async || {
        shop.stack.postgres.restart().await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_and_awake_again() {
    let shop = Shop::on_own_postgres().await;
    let plan = Plan::new("Postgres: stopped for 5 s", 5000, decisions_failed).of_postgres();
    let freeze = async |_| shop.stack.postgres.signal(Signal::STOP).unwrap();
    trial(&shop, plan, freeze, async || {
        shop.stack.postgres.signal(Signal::CONT).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_ended_over_and_over() {
    const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let shop = Shop::on_own_postgres().await;
    let plan = Plan::new("Postgres: all sessions ended, ten times", 0, decisions_failed).of_postgres();
    let end = async |_| {
        let mut session = AsyncPgConnection::establish(&shop.stack.database_url)
            .await
            .unwrap();
        for _ in 0..10 {
            session.batch_execute(END_ALL).await.unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    trial(&shop, plan, end, async || {}).await;
}

/// The row of one product is locked by somebody else, who does not let go.
#[tokio::test(flavor = "multi_thread")]
async fn one_row_locked() {
    let shop = Shop::on_own_postgres().await;
    let locked = shop.product(1000).await;
    let mut session = AsyncPgConnection::establish(&shop.stack.database_url)
        .await
        .unwrap();
    // All other products sell as if nothing were the matter: not one 503 is allowed.
    let plan = Plan::new("Postgres: the row of another product locked", 0, decisions_failed);
    let lock = async |_| {
        let lock = format!("BEGIN; SELECT 1 FROM products WHERE id = {locked} FOR UPDATE");
        session.batch_execute(&lock).await.unwrap();
        let mut times = Vec::new();
        for turn in 0..8 {
            let mut client = Client::new(&shop.services[turn % 2].url());
            let asked = Instant::now();
            let told = client.decrease(locked, fresh_order_id(), 1).await;
            times.push(asked.elapsed());
            assert_eq!(told, Told::Later);
        }
        session.batch_execute("ROLLBACK").await.unwrap();
        times.sort_unstable();
        println!("row locked: RETRY_LATER after {times:?}");
        // 250 ms is the limit on locks, and 400 ms what an answer takes with it on an idle machine. On a busy one that is
        // the best, and the rest is bounded by the request's deadline.
        assert!(times[0] < Duration::from_millis(400), "{times:?}");
        assert!(times[times.len() - 1] < Duration::from_secs(1), "{times:?}");
    };
    trial(&shop, plan, lock, async || {}).await;
    let mut client = Client::new(&shop.services[0].url());
    assert!(client.decrease(locked, fresh_order_id(), 1).await.is_done());
    let books = shop
        .stack
        .wait_until_balanced(&[locked], Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(books[0].units_sold, 1);
}
