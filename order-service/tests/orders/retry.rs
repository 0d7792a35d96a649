//! Operators: sending failed orders again, and seeing what is stuck.

use devstack::proxy::Fault;
use reqwest::Method;

use crate::fixture::{TestResult, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_order_goes_again_under_keys_of_its_own() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(5).await?;
    world.way.set(Fault::DropReplies);
    let reply = world.place(product, 2).await?;
    let id = reply.body["details"]["orderId"]
        .as_i64()
        .expect("the order is named");
    // Before the void of the first attempt could be delivered.
    let retried = world
        .admin(Method::POST, &format!("/admin/orders/{id}/retry"))
        .await?;
    assert_eq!(
        (retried.status, retried.text("status")),
        (202, "PENDING"),
        "{retried:?}"
    );
    world.way.set(Fault::Pass);
    world.becomes(id, "CONFIRMED").await?;
    world.settled(product).await?;
    assert_eq!(
        world.stock(product).await?,
        3,
        "the first attempt was given back, the second one keeps its stock"
    );
    let sold = world.stack.sold_request_ids(&[product]).await?;
    assert!(sold.contains(&format!("DEC-{id}-1")), "{sold:?}");
    // And the void key matches: a cancel gives back what the second attempt took.
    assert_eq!(world.cancel(id).await?.status, 200);
    assert_eq!(world.stock(product).await?, 5);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_failed_orders_can_be_retried() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(5).await?;
    let id = world.place(product, 1).await?.id();
    for (id, status, error) in [(id, 400, "INVALID_STATE"), (999_999, 404, "ORDER_NOT_FOUND")] {
        let reply = world
            .admin(Method::POST, &format!("/admin/orders/{id}/retry"))
            .await?;
        assert_eq!((reply.status, reply.text("error")), (status, error), "{reply:?}");
    }
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_get_on_is_shown_with_its_reason() -> TestResult {
    let world = World::with(&[("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "100")]).await?;
    let product = world.stocked(5).await?;
    world.way.set(Fault::Refuse);
    let reply = world.place(product, 2).await?;
    let id = reply.body["details"]["orderId"]
        .as_i64()
        .expect("the order is named");
    let stuck = devstack::wait_for(
        "the void to be shown as stuck",
        crate::fixture::PATIENCE,
        async || {
            let reply = world
                .admin(Method::GET, "/admin/orders/stuck")
                .await
                .map_err(|error| error.to_string())?;
            match reply.body.get(0) {
                Some(stuck) if !stuck["lastError"].is_null() => Ok(stuck.clone()),
                _ => Err(format!("{reply:?}")),
            }
        },
    )
    .await?;
    assert_eq!(
        (&stuck["order"]["id"], &stuck["step"]),
        (&id.into(), &"VOID".into()),
        "{stuck}"
    );
    world.way.set(Fault::Pass);
    world.settled(product).await
}
