//! Cancelling.

use devstack::proxy::Fault;
use reqwest::Method;

use crate::fixture::{Reply, TestResult, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_gives_its_stock_back_once() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let id = world.place(product, 4).await?.id();
    let reply = world.cancel(id).await?;
    assert_eq!(
        (reply.status, reply.text("status")),
        (200, "CANCELLED"),
        "{reply:?}"
    );
    assert_eq!(world.stock(product).await?, 10);
    let again = world.cancel(id).await?;
    assert_eq!(
        (again.status, again.text("error")),
        (400, "INVALID_STATE"),
        "{again:?}"
    );
    assert_eq!(again.body["details"]["status"], "CANCELLED");
    assert_eq!(world.stock(product).await?, 10);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_confirmed_orders_can_be_cancelled() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(1).await?;
    let failed = world.place(product, 2).await?;
    for (id, status, error) in [
        (failed.id(), 400, "INVALID_STATE"),
        (999_999, 404, "ORDER_NOT_FOUND"),
    ] {
        let reply = world.cancel(id).await?;
        assert_eq!((reply.status, reply.text("error")), (status, error), "{reply:?}");
    }
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_reaches_nobody_leaves_the_order_confirmed_and_can_be_repeated() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let id = world.place(product, 4).await?.id();
    world.way.set(Fault::Refuse);
    // Connections from before are reset, which says nothing about what had arrived; new ones are refused.
    let reply = world.cancel(id).await?;
    assert_eq!(
        (reply.status, reply.text("error")),
        (424, "DEPENDENCY_FAILED"),
        "{reply:?}"
    );
    assert_eq!(world.order(id).await?.text("status"), "CONFIRMED");
    assert_eq!(world.stock(product).await?, 6);
    world.way.set(Fault::Pass);
    if world.number("SELECT count(*) FROM saga").await? == 0 {
        assert_eq!(world.cancel(id).await?.status, 200);
    }
    world.becomes(id, "CANCELLED").await?;
    assert_eq!(world.stock(product).await?, 10);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_whose_answer_is_lost_is_carried_on() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let id = world.place(product, 4).await?.id();
    world.way.set(Fault::DropReplies);
    let reply = world.cancel(id).await?;
    assert_eq!(reply.status, 424, "{reply:?}");
    assert_eq!(world.order(id).await?.text("status"), "CONFIRMED");
    world.way.set(Fault::Pass);
    world.becomes(id, "CANCELLED").await?;
    assert_eq!(world.stock(product).await?, 10);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_cancels_of_one_order_at_once_give_back_once() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let id = world.place(product, 4).await?.id();
    let replies = futures_util::future::join_all((0..10).map(|_| world.cancel(id))).await;
    for reply in replies {
        let reply = reply?;
        let cancelled = (reply.status, reply.text("status")) == (200, "CANCELLED");
        assert!(cancelled || reply.text("error") == "INVALID_STATE", "{reply:?}");
    }
    assert_eq!(world.stock(product).await?, 10);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_v2_a_cancel_is_accepted_and_the_order_is_cancelled_soon() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let id = world.place(product, 4).await?.id();
    let reply = Reply::to(world.ask(Method::POST, &format!("/v2/orders/{id}/cancel"))).await?;
    assert_eq!(
        (reply.status, reply.text("status")),
        (202, "CONFIRMED"),
        "{reply:?}"
    );
    world.becomes(id, "CANCELLED").await?;
    world.settled(product).await
}
