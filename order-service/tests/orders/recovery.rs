//! Recovery: whatever a crash leaves is finished.

use std::time::Duration;

use devstack::Signal;
use devstack::proxy::Fault;

use crate::fixture::{PATIENCE, TestResult, World};

/// As long as a request may take, and not much longer.
const SHORT: [(&str, &str); 2] = [
    ("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "1500"),
    ("HOTSTOCK__SAGA__LEASE_MS", "1500"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_instance_was_killed_before_it_could_ask_is_finished() -> TestResult {
    let world = World::with(&SHORT).await?;
    let product = world.stocked(5).await?;
    world.way.set(Fault::Silence);
    let placing = world.place(product, 2);
    let killing = async {
        devstack::wait_for("the order to be written", PATIENCE, async || {
            match world.number("SELECT count(*) FROM orders").await {
                Ok(1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .expect("written");
        world.order.kill().expect("killed");
    };
    let (lost, ()) = tokio::join!(placing, killing);
    assert!(lost.is_err(), "{lost:?}");
    world.way.set(Fault::Pass);
    world.order.restart().await?;
    world.settled(product).await?;
    assert_eq!(
        world
            .number("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
            .await?,
        1
    );
    assert_eq!(world.stock(product).await?, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_instance_was_killed_after_the_stock_was_taken_is_finished_by_another() -> TestResult {
    let world = World::with(&SHORT).await?;
    let product = world.stocked(5).await?;
    let other = world.another().await?;
    world.way.set(Fault::DropReplies);
    let placing = world.place(product, 2);
    let killing = async {
        devstack::wait_for("the stock to be taken", PATIENCE, async || {
            match world.stock(product).await {
                Ok(3) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .expect("taken");
        world.order.kill().expect("killed");
    };
    let (lost, ()) = tokio::join!(placing, killing);
    assert!(lost.is_err(), "{lost:?}");
    world.way.set(Fault::Pass);
    world.settled(product).await?;
    assert_eq!(
        world
            .number("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
            .await?,
        1
    );
    assert_eq!(world.stock(product).await?, 3, "taken once");
    assert_eq!(other.terminate().await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_frozen_past_its_lease_cannot_overturn_what_another_has_concluded() -> TestResult {
    let world = World::with(&SHORT).await?;
    let product = world.stocked(5).await?;
    world.way.set(Fault::DropReplies);
    let placing = world.place(product, 2);
    let freezing = async {
        devstack::wait_for("the stock to be taken", PATIENCE, async || {
            match world.stock(product).await {
                Ok(3) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .expect("taken");
        world.order.signal(Signal::STOP).expect("frozen");
        world.way.set(Fault::Pass);
        let other = world.another().await.expect("another instance");
        devstack::wait_for("the other instance to confirm", PATIENCE, async || {
            match world
                .number("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
                .await
            {
                Ok(1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .expect("confirmed");
        world.order.signal(Signal::CONT).expect("continued");
        other
    };
    let (reply, other) = tokio::join!(placing, freezing);
    let reply = reply?;
    assert!([201, 503].contains(&reply.status), "{reply:?}");
    world.settled(product).await?;
    assert_eq!(
        world
            .number("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
            .await?,
        1
    );
    assert_eq!(other.terminate().await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_ends_nothing() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(500).await?;
    for wait_ms in 0..40 {
        let placing = world.place(product, 1);
        // Dropping the future resets the connection.
        tokio::time::timeout(Duration::from_millis(wait_ms % 20), placing)
            .await
            .ok();
    }
    world.settled(product).await?;
    assert_eq!(
        world
            .number("SELECT count(*) FROM orders WHERE status <> 'CONFIRMED'")
            .await?,
        0
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_of_a_sale_loses_nothing() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(500).await?;
    let sale = futures_util::future::join_all((0..200).map(|_| world.place(product, 1)));
    let ending = async {
        devstack::wait_for("the sale to begin", PATIENCE, async || {
            match world.number("SELECT count(*) FROM orders").await {
                Ok(1..) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .expect("begun");
        world.order.terminate().await.expect("ended")
    };
    let (replies, code) = tokio::join!(sale, ending);
    assert_eq!(code, 0, "{}", world.order.log_tail());
    let confirmed = replies
        .iter()
        .flatten()
        .filter(|reply| reply.text("status") == "CONFIRMED")
        .count();
    world.order.restart().await?;
    world.settled(product).await?;
    let all = world
        .number("SELECT count(*) FROM orders WHERE status = 'CONFIRMED'")
        .await?;
    assert!(all >= i64::try_from(confirmed)?, "{confirmed} of {all}");
    Ok(())
}
