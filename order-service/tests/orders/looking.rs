//! Looking at orders: one, many, and as they change.

use devstack::proxy::Fault;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{Reply, TestResult, World};

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_newest_first_in_pages() -> TestResult {
    let world = World::start().await?;
    let (one, other) = (world.stocked(2).await?, world.stocked(100).await?);
    let mut ids = Vec::new();
    for (product, buyer) in [(one, "a"), (other, "b"), (one, "b"), (one, "a"), (other, "a")] {
        let body = json!({ "productId": product, "quantity": 1, "buyerId": buyer });
        ids.push(world.post("/v1/orders", &body).await?.id());
    }
    let listed = async |query: &str| -> anyhow::Result<Vec<usize>> {
        let reply = world.get(&format!("/v1/orders{query}")).await?;
        let entries = reply.body["content"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| panic!("{reply:?}"));
        let place = |entry: &Value| ids.iter().position(|id| entry["id"] == *id).expect("ours");
        Ok(entries.iter().map(place).collect())
    };
    assert_eq!(listed("").await?, [4, 3, 2, 1, 0]);
    assert_eq!(listed(&format!("?productId={one}")).await?, [3, 2, 0]);
    assert_eq!(listed("?buyerId=a").await?, [4, 3, 0]);
    assert_eq!(listed("?status=FAILED").await?, [3]);
    assert_eq!(
        listed(&format!("?buyerId=a&status=CONFIRMED&productId={one}")).await?,
        [0]
    );
    assert_eq!(listed("?size=2&page=1").await?, [2, 1]);
    let page = world.get("/v1/orders?size=2").await?;
    assert_eq!(
        (&page.body["totalElements"], &page.body["totalPages"]),
        (&json!(5), &json!(3))
    );
    for query in ["?size=0", "?size=101", "?page=-1", "?status=LOST", "?unknown=1"] {
        let reply = world.get(&format!("/v1/orders{query}")).await?;
        assert_eq!(
            (reply.status, reply.text("error")),
            (400, "VALIDATION_ERROR"),
            "{query}"
        );
    }
    world.settled(one).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_table_of_paths_answers_in_the_one_error_shape() -> TestResult {
    let world = World::start().await?;
    for (method, path, status, error) in [
        (Method::GET, "/v1/orders/999999", 404, "ORDER_NOT_FOUND"),
        (Method::GET, "/orders/999999", 404, "ORDER_NOT_FOUND"),
        (Method::GET, "/v1/orders/x", 400, "VALIDATION_ERROR"),
        (Method::GET, "/v1/orders/999999/events", 404, "ORDER_NOT_FOUND"),
        (Method::GET, "/v1/nothing", 404, "NOT_FOUND"),
        (Method::DELETE, "/v1/orders", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/v1/orders", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/v2/orders/999999/cancel", 404, "ORDER_NOT_FOUND"),
        // The admin API has a listener of its own.
        (Method::GET, "/admin/orders/stuck", 404, "NOT_FOUND"),
    ] {
        let reply = Reply::to(world.ask(method.clone(), path)).await?;
        assert_eq!(
            (reply.status, reply.text("error")),
            (status, error),
            "{method} {path}: {reply:?}"
        );
        assert!(
            reply.body["message"].is_string() && reply.body.get("details").is_some(),
            "{reply:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_order_end_with_its_final_status() -> TestResult {
    let world = World::with(&[("HOTSTOCK__ORDERS__VIEWERS_MAX", "1")]).await?;
    let product = world.stocked(5).await?;
    world.way.set(Fault::Silence);
    let (placed, events) = tokio::join!(world.place(product, 1), async {
        let id = devstack::wait_for("the order to be written", crate::fixture::PATIENCE, async || {
            world
                .number("SELECT max(id) FROM orders")
                .await
                .map_err(|error| error.to_string())
        })
        .await?;
        let path = format!("/v1/orders/{id}/events");
        let watching = world.ask(Method::GET, &path).send().await?;
        assert_eq!(watching.headers()["content-type"], "text/event-stream");
        let full = world.get(&path).await?;
        assert_eq!(
            (full.status, full.text("error")),
            (429, "TOO_MANY_REQUESTS"),
            "one viewer is all there may be"
        );
        assert!(full.headers.contains_key("retry-after"));
        world.way.set(Fault::Pass);
        anyhow::Ok(watching.text().await?)
    });
    assert_eq!(placed?.text("status"), "CONFIRMED");
    let statuses: Vec<Value> = events?
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("event: order\ndata: "))
        .map(|data| serde_json::from_str::<Value>(data).expect("JSON")["status"].clone())
        .collect();
    assert_eq!(statuses, ["PENDING", "CONFIRMED"]);
    world.settled(product).await
}
