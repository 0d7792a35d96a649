//! Dead letters: operators look at them, put them back, drop them, on both sides.

use devstack::wait_for;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{PATIENCE, Reply, TestResult, World};

/// Asks the admin listener of the service on that side.
async fn ask(world: &World, side: &str, method: Method, path: &str) -> anyhow::Result<Reply> {
    let url = if side == "stock.request" {
        world.product.admin_url()
    } else {
        world.order.admin_url()
    };
    Reply::to(reqwest::Client::new().request(method, format!("{url}/admin/dead-letters{path}"))).await
}

async fn until_there_are(world: &World, side: &str, letters: usize) -> anyhow::Result<Vec<Value>> {
    wait_for("dead letters", PATIENCE, async || {
        let reply = ask(world, side, Method::GET, "")
            .await
            .map_err(|error| error.to_string())?;
        match reply.body.as_array() {
            Some(found) if found.len() == letters => Ok(found.clone()),
            _ => Err(format!("{reply:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_shown_put_back_and_dropped() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let (_connection, channel) = world.channel().await?;
    for side in ["stock.request", "order.result"] {
        let (exchange, key) = (format!("{side}.exchange"), format!("{side}.key"));
        for body in ["poison 1", "poison 2"] {
            let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
            channel
                .basic_publish(
                    exchange,
                    key,
                    Default::default(),
                    body.as_bytes(),
                    Default::default(),
                )
                .await?;
        }
        let letters = until_there_are(&world, side, 2).await?;
        for letter in &letters {
            assert!(
                letter["body"]
                    .as_str()
                    .is_some_and(|body| body.starts_with("poison")),
                "{letters:?}"
            );
            assert_eq!(letter["reason"], "rejected", "{letters:?}");
        }
        // Put back, nobody can read it any better.
        let replayed = ask(&world, side, Method::POST, "/replay?limit=1").await?;
        assert_eq!(
            (replayed.status, &replayed.body),
            (200, &json!({ "count": 1 })),
            "{replayed:?}"
        );
        until_there_are(&world, side, 2).await?;
        let discarded = ask(&world, side, Method::POST, "/discard").await?;
        assert_eq!(discarded.body, json!({ "count": 2 }));
        until_there_are(&world, side, 0).await?;
        let refused = ask(&world, side, Method::GET, "?limit=0").await?;
        assert_eq!((refused.status, refused.text("error")), (400, "VALIDATION_ERROR"));
    }
    Ok(())
}

/// What nobody can read is back at once: a replay takes each message once all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_ends_with_what_was_there_when_it_began() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let (_connection, channel) = world.channel().await?;
    for side in ["stock.request", "order.result"] {
        let (exchange, key) = (format!("{side}.exchange"), format!("{side}.key"));
        for _ in 0..20 {
            let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
            channel
                .basic_publish(exchange, key, Default::default(), b"poison", Default::default())
                .await?;
        }
        until_there_are(&world, side, 20).await?;
        let replayed = ask(&world, side, Method::POST, "/replay?limit=1000").await?;
        assert_eq!(replayed.body, json!({ "count": 20 }), "{replayed:?}");
        until_there_are(&world, side, 20).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_set_aside_has_its_effect_when_it_is_put_back() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(10).await?;
    world.product.signal(devstack::Signal::STOP)?;
    let id = world.place_later(product, 4).await?.id();
    // Somebody has moved it to the dead letters by hand.
    let (_connection, channel) = world.channel().await?;
    let body = json!({ "version": 1, "requestId": format!("DEC-{id}"), "orderId": id, "productId": product, "quantity": 4 });
    let (exchange, key) = ("stock.request.dlx".into(), "stock.request.dlq.key".into());
    let bytes = body.to_string();
    channel
        .basic_publish(
            exchange,
            key,
            Default::default(),
            bytes.as_bytes(),
            Default::default(),
        )
        .await?;
    world.product.signal(devstack::Signal::CONT)?;
    world.becomes(id, "CONFIRMED").await?;
    until_there_are(&world, "stock.request", 1).await?;
    assert_eq!(
        ask(&world, "stock.request", Method::POST, "/replay")
            .await?
            .status,
        200
    );
    until_there_are(&world, "stock.request", 0).await?;
    world.settled(product).await?;
    assert_eq!(world.stock(product).await?, 6, "once");
    Ok(())
}
