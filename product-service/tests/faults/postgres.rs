//! Postgres killed, frozen, rid of its sessions, full, or out of reach: nobody is told anything but a yes that holds or
//! `RETRY_LATER`, and whoever can reach it sells on.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use devstack::http::HttpClient;
use devstack::proxy::Fault;
use devstack::{Signal, wait_for};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use reqwest::Method;

use crate::client::Told;
use crate::evidence::{Evidence, Lateness};
use crate::points::{Order, connect, find_session, session};
use crate::shop::{Opening, Shop, gate_key, session_name};
use crate::trial::{Plan, trial};

/// Each connection that does not answer is left behind after 2 s.
const LEFT_BEHIND: Duration = Duration::from_secs(20);

pub(crate) fn decisions_failed(seen: &Evidence) -> bool {
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

/// What is no decision is answered in time too.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_while_the_database_stands_still() {
    let shop = Shop::on_own_postgres().await;
    let product = shop.product(10).await;
    let mut client = HttpClient::new(&shop.services[0].url(), Duration::from_secs(20)).unwrap();
    shop.stack.postgres.signal(Signal::STOP).unwrap();
    for (method, path, body) in [
        (Method::GET, format!("/v1/products/{product}"), ""),
        (Method::GET, "/v1/products".to_owned(), ""),
        (Method::GET, format!("/v1/products/{product}/stock/movements"), ""),
        (Method::PATCH, format!("/v1/products/{product}"), r#"{"price":1}"#),
    ] {
        let asked = Instant::now();
        let answer = client.request(method, &path, &[], body).await.unwrap();
        assert_eq!(answer.status, 503, "{path}");
        assert!(
            asked.elapsed() < Duration::from_millis(1500),
            "{path}: {:?}",
            asked.elapsed()
        );
    }
    shop.stack.postgres.signal(Signal::CONT).unwrap();
    wait_for("the catalogue", Duration::from_secs(5), || async {
        let mut client = HttpClient::new(&shop.services[0].url(), Duration::from_secs(20)).unwrap();
        let path = format!("/v1/products/{product}");
        match client.request(Method::GET, &path, &[], "").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_ended_over_and_over() {
    const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let shop = Shop::on_own_postgres().await;
    let plan = Plan::new("Postgres: all sessions ended, ten times", 0, decisions_failed).of_postgres();
    let end = async |_| {
        let mut session = session(&shop.stack).await;
        for _ in 0..10 {
            session.batch_execute(END_ALL).await.unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    trial(&shop, plan, end, async || {}).await;
}

/// Replies end anywhere: while connecting, after BEGIN, between two statements, before the answer to COMMIT.
#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_in_the_middle_of_transactions() {
    let shop = Shop::open(Opening {
        own_postgres: true,
        postgres_proxied: true,
        ..Opening::default()
    })
    .await;
    let plan = Plan::new("Postgres: connections cut in mid-transaction", 0, |seen| {
        decisions_failed(seen) && seen.hits > 0
    })
    .of_postgres();
    let set = |fault: Fault| {
        let proxies = shop.postgres_proxies.iter();
        proxies.for_each(|proxy| proxy.set(fault.clone()));
    };
    let cut = async |_| {
        for bytes in [10, 20, 60, 120, 250, 500, 1000, 2000] {
            set(Fault::CutAfter(bytes));
            tokio::time::sleep(Duration::from_millis(60)).await;
            set(Fault::Pass);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    trial(&shop, plan, cut, async || set(Fault::Pass)).await;
}

/// For one instance the database takes everything and says nothing: its connections are all stuck. The other one sells.
#[tokio::test(flavor = "multi_thread")]
async fn silent_for_one_instance() {
    let shop = Shop::open(Opening {
        own_postgres: true,
        postgres_proxied: true,
        ..Opening::default()
    })
    .await;
    let aside = shop.product(1000).await;
    let plan = Plan::new("Postgres: silent for one instance", 0, |seen| {
        seen.hits > 0 && seen.instances[0].contains_key("decide_failures")
    })
    .of_postgres();
    let silence = async |_| {
        shop.postgres_proxies[0].set(Fault::Silence);
        only_the_second_sells(&shop, aside).await;
    };
    trial(&shop, plan, silence, async || {
        shop.postgres_proxies[0].set(Fault::Pass)
    })
    .await;
    assert!(Order::of(aside).ask(&shop, 0).await.is_done());
}

/// Somebody has taken every connection the database has, and one instance has none left.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_left_for_one_instance() {
    let shop = Shop::open(Opening {
        own_postgres: true,
        postgres_settings: &["max_connections=40"],
        ..Opening::default()
    })
    .await;
    let aside = shop.product(1000).await;
    let plan = Plan::new("Postgres: no connection left for one instance", 0, |seen| {
        seen.instances[0].contains_key("decide_failures")
    })
    .of_postgres();
    let taken: Mutex<Vec<AsyncPgConnection>> = Mutex::default();
    let take_all = async |_| {
        let mut session = session(&shop.stack).await;
        let of_the_first = format!("application_name = '{}'", session_name(0));
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {of_the_first}");
        // It comes back for a connection all the time, and so sometimes gets one of those it has just lost.
        while find_session(&mut session, &of_the_first).await.is_some() {
            session.batch_execute(&end).await.unwrap();
            while let Ok(connection) = connect(&shop.stack).await {
                taken.lock().unwrap().push(connection);
            }
        }
        only_the_second_sells(&shop, aside).await;
        assert_eq!(find_session(&mut session, &of_the_first).await, None);
    };
    trial(&shop, plan, take_all, async || taken.lock().unwrap().clear()).await;
    assert!(Order::of(aside).ask(&shop, 0).await.is_done());
}

/// The processes behind idle connections stand still, one by one on their own: what reads with them next gets no answer, not
/// even that it takes too long. Whoever reconciles leaves them behind.
#[tokio::test(flavor = "multi_thread")]
async fn processes_of_the_database_that_stand_still() {
    let shop = Shop::on_own_postgres().await;
    let product = shop.product(100).await;
    assert!(Order::of(product).ask(&shop, 0).await.is_done());
    let mut session = session(&shop.stack).await;
    let mut stopped: Vec<i32> = Vec::new();
    // All that become idle while everything comes round once. None of them holds a lock.
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        let another = format!("state = 'idle' AND NOT pid = ANY(ARRAY{stopped:?}::int[])");
        match find_session(&mut session, &another).await {
            Some(pid) => {
                signal("STOP", pid);
                stopped.push(pid);
            }
            None => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    shop.redis::<()>(&["SET", &gate_key(product, ""), "7"]).await;
    wait_for("reconciling in spite of them", LEFT_BEHIND, || async {
        let counter: Option<String> = shop.redis(&["GET", &gate_key(product, "")]).await;
        match counter {
            Some(counter) if counter != "7" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    // And whoever decides.
    wait_for("a sale", LEFT_BEHIND, || async {
        let told = Order::of(product).ask(&shop, 0).await;
        told.is_done().then_some(()).ok_or(format!("{told:?}"))
    })
    .await
    .unwrap();
    let balanced = shop.stack.wait_until_balanced(&[product], LEFT_BEHIND).await;
    balanced.unwrap();
    stopped.iter().for_each(|pid| signal("CONT", *pid));
}

/// Postgres' processes are no children of ours.
fn signal(signal: &str, pid: i32) {
    let kill = std::process::Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// Of the product aside: the first instance says within a second that it cannot, the second one sells.
async fn only_the_second_sells(shop: &Shop, aside: i64) {
    let lateness = Lateness::start();
    for _ in 0..4 {
        let asked = Instant::now();
        assert_eq!(Order::of(aside).ask(shop, 0).await, Told::Later);
        let took = asked.elapsed().saturating_sub(lateness.excuse());
        assert!(took < Duration::from_millis(1250), "RETRY_LATER after {took:?}");
        let told = Order::of(aside).ask(shop, 1).await;
        assert!(told.is_done(), "{told:?}");
    }
}
