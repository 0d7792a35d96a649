//! An instance killed in the middle of a sale, anywhere or at a named point: whoever was not answered asks the other one,
//! and gets what he would have got, once. What was held for nobody is let go.

use std::time::Duration;

use devstack::proxy::Fault;
use devstack::wait_for;

use crate::client::Told;
use crate::evidence::{Evidence, Snapshot};
use crate::points::{HeldUp, Order, Point, units_sold};
use crate::shop::{HOLD_TTL, Opening, Shop};
use crate::trial::{Plan, trial};

/// Beyond the life of a hold.
const RECONCILED: Duration = Duration::from_secs(3);

/// Whichever the other one finds first: the hold, or the movement that ends it.
fn put_right_by_the_other(seen: &Evidence) -> bool {
    ["released", "settled", "missed"]
        .iter()
        .any(|find| seen.sum(&format!("reconcile_finds {find}")) > 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_killed_and_started_again() {
    let shop = Shop::direct().await;
    let plan = Plan::new(
        "Instance: killed with holds of its own",
        0,
        put_right_by_the_other,
    )
    .of_a_process();
    let kill = async |product| {
        // With holds of its own at that moment, which nobody will settle. The gate does not say whose a hold is, and the
        // other one always has some: these were its own if they are found.
        wait_for("holds left behind", Duration::from_secs(30), || async {
            let before = Snapshot::of(&shop).await;
            shop.services[0].kill().unwrap();
            let found = wait_for("finds", HOLD_TTL + RECONCILED, || async {
                let seen = before.since(&shop).await;
                let is_found = put_right_by_the_other(&seen);
                is_found.then_some(()).ok_or_else(|| "it left none".to_owned())
            });
            match found.await {
                Ok(()) => Ok(()),
                Err(none) => {
                    shop.services[0].restart().await.unwrap();
                    Err(format!("{none:#}"))
                }
            }
        })
        .await
        .unwrap();
        // While the other one goes on selling, so that there are always some: those that are overdue have to go.
        wait_for("no overdue holds", HOLD_TTL + RECONCILED, || async {
            match overdue(&shop, product).await {
                0 => Ok(()),
                overdue => Err(format!("{overdue} overdue")),
            }
        })
        .await
        .unwrap();
    };
    trial(&shop, plan, kill, async || {
        shop.services[0].restart().await.unwrap()
    })
    .await;
}

/// Holds past their deadline, as the other instance sees them.
async fn overdue(shop: &Shop, product: i64) -> i64 {
    let url = format!("{}/admin/stock/audit", shop.services[1].admin_url());
    let audits: Vec<product_service::stock::audit::StockAudit> =
        reqwest::get(url).await.unwrap().json().await.unwrap();
    let audit = audits.into_iter().find(|audit| audit.product_id == product);
    audit.unwrap().gate.unwrap().overdue_holds
}

/// Held in Redis, and the database has not heard of it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_hold() {
    let shop = Shop::open(Opening {
        postgres_proxied: true,
        ..Opening::default()
    })
    .await;
    let aside = shop.product(10).await;
    let [order, forgotten] = [Order::of(aside), Order::of(aside)];
    let plan = Plan::new("Instance: killed after the hold", 0, |seen| {
        seen.sum("reconcile_finds released") > 0
    })
    .of_a_process();
    let kill = async |_| {
        shop.postgres_proxies[0].set(Fault::Silence);
        let asked = [order, forgotten].map(|order| order.send(&shop, 0));
        for order in [order, forgotten] {
            order.wait_until_held(&shop).await;
            assert!(!order.is_committed(&shop).await);
        }
        shop.services[0].kill().unwrap();
        for told in asked {
            assert!(matches!(told.await.unwrap(), Told::Nothing(_)));
        }
        sold_by_the_other(&shop, order, false).await;
        // Nobody asks for this one again.
        assert!(forgotten.is_held(&shop).await);
        forgotten.wait_until_let_go(&shop, HOLD_TTL + RECONCILED).await;
    };
    trial(&shop, plan, kill, async || {
        shop.postgres_proxies[0].set(Fault::Pass);
        shop.services[0].restart().await.unwrap();
    })
    .await;
    assert_eq!(units_sold(&shop, aside).await, 1);
}

/// In the middle of the transaction, with its rows locked.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_transaction() {
    let shop = Shop::direct().await;
    let aside = shop.product(10).await;
    let order = Order::of(aside);
    let plan = Plan::new("Instance: killed in the transaction", 0, |_| true).of_a_process();
    let kill = async |_| {
        let mut held_up = HeldUp::order(&shop.stack, order, Point::Locking).await;
        let asked = order.send(&shop, 0);
        held_up.wait_until_there().await;
        assert!(order.is_held(&shop).await && !order.is_committed(&shop).await);
        shop.services[0].kill().unwrap();
        assert!(matches!(asked.await.unwrap(), Told::Nothing(_)));
        held_up.let_go().await;
        sold_by_the_other(&shop, order, false).await;
    };
    trial(&shop, plan, kill, async || {
        shop.services[0].restart().await.unwrap()
    })
    .await;
    assert_eq!(units_sold(&shop, aside).await, 1);
}

/// Committed, and Redis has not heard of it: the hold stays, and ends without anybody asking again.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_commit_before_settling() {
    let shop = Shop::proxied().await;
    let aside = shop.product(10).await;
    let order = Order::of(aside);
    let plan = Plan::new("Instance: killed after the commit, before settling", 0, |seen| {
        put_right_by_the_other(seen) && seen.hits > 0
    })
    .of_a_process();
    let kill = async |_| {
        let mut held_up = HeldUp::order(&shop.stack, order, Point::Committing).await;
        let _asked = order.send(&shop, 0);
        held_up.wait_until_there().await;
        shop.proxies[0].set(Fault::Silence);
        held_up.let_go().await;
        order.wait_until_committed(&shop).await;
        shop.services[0].kill().unwrap();
        assert!(order.is_held(&shop).await, "settled before it was killed");
        order.wait_until_let_go(&shop, HOLD_TTL + RECONCILED).await;
        sold_by_the_other(&shop, order, true).await;
    };
    trial(&shop, plan, kill, async || {
        shop.proxies[0].set(Fault::Pass);
        shop.services[0].restart().await.unwrap();
    })
    .await;
    assert_eq!(units_sold(&shop, aside).await, 1);
}

/// Committed, but the instance itself does not know: its COMMIT was not answered, and so nobody was.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_answer() {
    let shop = Shop::open(Opening {
        postgres_proxied: true,
        ..Opening::default()
    })
    .await;
    let aside = shop.product(10).await;
    let order = Order::of(aside);
    let plan = Plan::new("Instance: killed before the answer", 0, |seen| seen.hits > 0).of_a_process();
    let kill = async |_| {
        let mut held_up = HeldUp::order(&shop.stack, order, Point::Committing).await;
        let asked = order.send(&shop, 0);
        held_up.wait_until_there().await;
        shop.postgres_proxies[0].set(Fault::DropReplies);
        held_up.let_go().await;
        order.wait_until_committed(&shop).await;
        assert!(!asked.is_finished(), "answered before it was killed");
        shop.services[0].kill().unwrap();
        assert!(matches!(asked.await.unwrap(), Told::Nothing(_)));
        sold_by_the_other(&shop, order, true).await;
    };
    trial(&shop, plan, kill, async || {
        shop.postgres_proxies[0].set(Fault::Pass);
        shop.services[0].restart().await.unwrap();
    })
    .await;
    assert_eq!(units_sold(&shop, aside).await, 1);
}

/// The buyer asks the other instance, twice: a yes, and the same yes again.
async fn sold_by_the_other(shop: &Shop, order: Order, was_sold: bool) {
    let Told::Done { remaining, is_replay } = order.ask(shop, 1).await else {
        panic!("not sold by the other instance");
    };
    assert_eq!(is_replay, was_sold);
    let again = Told::Done {
        remaining,
        is_replay: true,
    };
    assert_eq!(order.ask(shop, 1).await, again);
}
