//! An instance that stands still for longer than its holds, leases and sessions last, and wakes up in the middle of the
//! sale: what it still believes then is not believed by anybody else.

use std::time::{Duration, Instant};

use devstack::proxy::Fault;
use devstack::{Signal, wait_for};

use crate::client::Told;
use crate::points::{HeldUp, Order, Point, find_session, units_sold, wait_for_session};
use crate::shop::{HOLD_TTL, Opening, Shop};
use crate::trial::{Plan, trial};

/// How long a session may be idle in a transaction, and some time to notice.
const SESSION_ENDED: Duration = Duration::from_secs(4);
/// A lease, and somebody who finds that it has run out.
const LOADED_BY_ANOTHER: Duration = Duration::from_secs(5);

/// It has locked its rows, and does not go on. The database ends its session, and the other instance sells what was locked.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_transaction() {
    let shop = Shop::on_own_postgres().await;
    let aside = shop.product(10).await;
    let mut order = Order::of(aside);
    let plan = Plan::new("Instance: frozen in its transaction", 0, |seen| {
        seen.instances[0].contains_key("decide_failures")
    })
    .of_postgres()
    .freezes(0);
    let mut asked = None;
    let freeze = async |_| {
        let (mut session, idle) = loop {
            let mut held_up = HeldUp::order(&shop.stack, order, Point::Locking).await;
            let asking = order.send(&shop, 0);
            let pid = held_up.wait_until_there().await;
            shop.services[0].signal(Signal::STOP).unwrap();
            let mut session = held_up.let_go().await;
            let stopped = format!("pid = {pid} AND state <> 'active'");
            wait_for_session(&mut session, &stopped).await;
            let idle = format!("pid = {pid} AND state = 'idle in transaction'");
            if find_session(&mut session, &idle).await.is_some() {
                asked = Some(asking);
                break (session, idle);
            }
            // On a busy machine it may have waited for its row as long as it may before it was stopped: another order.
            shop.services[0].signal(Signal::CONT).unwrap();
            assert_eq!(asking.await.unwrap(), Told::Later);
            order = Order::of(aside);
        };
        assert_eq!(order.ask(&shop, 1).await, Told::Later, "its row is locked");
        let frozen = Instant::now();
        while find_session(&mut session, &idle).await.is_some() {
            assert!(frozen.elapsed() < SESSION_ENDED, "still in its transaction");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Nobody else has to come for the row to be free.
        let told = order.ask(&shop, 1).await;
        assert!(matches!(told, Told::Done { is_replay: false, .. }), "{told:?}");
        order.wait_until_let_go(&shop, HOLD_TTL).await;
    };
    trial(&shop, plan, freeze, async || {
        shop.services[0].signal(Signal::CONT).unwrap()
    })
    .await;
    // Its own client was told something true, late: that it is sold, or that nobody knows.
    let told = asked.unwrap().await.unwrap();
    assert!(told == Told::Later || told.is_done(), "{told:?}");
    assert_eq!(units_sold(&shop, aside).await, 1);
}

/// It holds the lease of a product, and does not load it. Another one does, when the lease has run out; what the first one
/// reads and writes later is refused.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_load() {
    let shop = Shop::open(Opening {
        postgres_proxied: true,
        ..Opening::default()
    })
    .await;
    let aside = shop.product(10).await;
    let order = Order::of(aside);
    let plan = Plan::new("Instance: frozen in the middle of a load, 3 s", 3000, |seen| {
        let late = |step: &str| seen.instances[0].contains_key(&format!("gate_loads {step}"));
        late("lease_lost") || late("already_loaded")
    })
    .of_postgres()
    .freezes(0);
    let freeze = async |_| {
        // What it asks the database is not answered: so it gets a lease, and no further.
        shop.postgres_proxies[0].set(Fault::Silence);
        wait_for("a lease of the first instance", LOADED_BY_ANOTHER, || async {
            shop.forget(aside).await;
            let asked = Order::of(aside).send(&shop, 0);
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(asked);
            // The other one would have loaded it by now.
            match shop.lease_of(aside).await {
                Some(_) if !shop.is_loaded(aside).await => Ok(()),
                lease => Err(format!("lease {lease:?}")),
            }
        })
        .await
        .unwrap();
        shop.services[0].signal(Signal::STOP).unwrap();
        assert!(!shop.is_loaded(aside).await);
        wait_for("a load by the other one", LOADED_BY_ANOTHER, || async {
            let is_loaded = shop.is_loaded(aside).await;
            is_loaded.then_some(()).ok_or("not loaded".to_owned())
        })
        .await
        .unwrap();
        assert!(order.ask(&shop, 1).await.is_done());
    };
    trial(&shop, plan, freeze, async || {
        shop.postgres_proxies[0].set(Fault::Pass);
        shop.services[0].signal(Signal::CONT).unwrap();
    })
    .await;
    let again = order.ask(&shop, 0).await;
    assert!(matches!(again, Told::Done { is_replay: true, .. }), "{again:?}");
    units_sold(&shop, aside).await;
}
