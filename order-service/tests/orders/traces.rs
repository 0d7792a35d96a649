//! One trace from the first HTTP call to the end of an order, across both services; and what log lines say of it.

use devstack::proxy::Fault;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::{Value, json};

use crate::collector::{Arrived, Collector};
use crate::fixture::{Reply, TestResult, World};

const URL: &str = "HOTSTOCK__TELEMETRY__OTLP_URL";
const RATIO: &str = "HOTSTOCK__TELEMETRY__SAMPLE_RATIO";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CAUSE: &str = "00f067aa0ba902b7";

fn is_a(span: &Arrived, kind: SpanKind) -> bool {
    span.kind == kind as i32
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_order_is_one_trace_across_both_services() -> TestResult {
    let collector = Collector::start().await?;
    // Nothing begins a trace by itself: what is collected belongs to the caller's.
    let world = World::with(&[(URL, &collector.url), (RATIO, "0")]).await?;
    let product = world.stocked(10).await?;
    let order = world
        .ask(Method::POST, "/v1/orders")
        .header("traceparent", format!("00-{TRACE}-{CAUSE}-01"))
        .json(&json!({ "productId": product, "quantity": 1, "buyerId": "buyer-of-v1" }));
    let id = Reply::to(order).await?.id();

    let placed = collector.span("order-service", "POST /v1/orders", CAUSE).await?;
    let asks = collector
        .span("order-service", "decrease-by-order", &placed.span)
        .await?;
    let path = "PATCH /v1/products/{id}/stock/decrease-by-order";
    let decided = collector.span("product-service", path, &asks.span).await?;
    assert!(
        is_a(&placed, SpanKind::Server) && is_a(&asks, SpanKind::Client) && is_a(&decided, SpanKind::Server)
    );
    let request_id = Some(format!("DEC-{id}"));
    assert_eq!(
        (&asks.request_id, &decided.request_id),
        (&request_id, &request_id)
    );
    assert_eq!(placed.attributes["http.response.status_code"], "201");
    let arrived = collector.arrived();
    assert!(arrived.iter().all(|span| span.trace == TRACE), "{arrived:#?}");
    assert!(!format!("{arrived:?}").contains("buyer-of-v1"), "{arrived:#?}");
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_by_message_is_one_trace_from_its_request_to_its_result_and_its_cancel_another() -> TestResult
{
    let collector = Collector::start().await?;
    let world = World::with_broker(&[(URL, &collector.url), (RATIO, "1")]).await?;
    let product = world.stocked(10).await?;
    let body = json!({ "productId": product, "quantity": 1, "buyerId": "buyer-of-v2" });
    let id = world.post("/v2/orders", &body).await?.id();
    world.becomes(id, "CONFIRMED").await?;

    let placed = collector.span("order-service", "POST /v2/orders", "").await?;
    let published = collector
        .span("order-service", "outbox relay", &placed.span)
        .await?;
    let decided = collector
        .span("product-service", "decide stock request", &published.span)
        .await?;
    let answered = collector
        .span("product-service", "stock results", &decided.span)
        .await?;
    let concluded = collector
        .span("order-service", "conclude stock result", &answered.span)
        .await?;
    let (producer, consumer) = (SpanKind::Producer, SpanKind::Consumer);
    assert!(is_a(&published, producer) && is_a(&decided, consumer));
    assert!(is_a(&answered, producer) && is_a(&concluded, consumer));
    for span in [&published, &decided, &answered, &concluded] {
        assert_eq!((&span.trace, span.is_error), (&placed.trace, false), "{span:?}");
        assert_eq!(span.request_id, Some(format!("DEC-{id}")), "{span:?}");
    }

    // The stock is given back by the recovery worker, on behalf of the request.
    let cancelled = world.ask(Method::POST, &format!("/v2/orders/{id}/cancel"));
    assert_eq!(Reply::to(cancelled).await?.status, 202);
    world.becomes(id, "CANCELLED").await?;
    let asked = collector
        .span("order-service", "POST /v2/orders/{id}/cancel", "")
        .await?;
    let gives = collector
        .span("order-service", "increase-by-order", &asked.span)
        .await?;
    let path = "PATCH /v1/products/{id}/stock/increase-by-order";
    let given = collector.span("product-service", path, &gives.span).await?;
    assert_ne!(given.trace, placed.trace);
    assert!(!format!("{:?}", collector.arrived()).contains("buyer-of-v2"));
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_order_belongs_to_the_trace_of_its_retry() -> TestResult {
    let collector = Collector::start().await?;
    let world = World::with_broker(&[(URL, &collector.url), (RATIO, "0")]).await?;
    let product = world.stocked(0).await?;
    let body = json!({ "productId": product, "quantity": 1 });
    let id = world.post("/v2/orders", &body).await?.id();
    world.becomes(id, "FAILED").await?;
    let adjusted = reqwest::Client::new()
        .post(format!(
            "{}/v1/products/{product}/stock/adjust",
            world.product.url()
        ))
        .header("Idempotency-Key", "more")
        .json(&json!({ "delta": 5, "reason": "MANUAL" }))
        .send()
        .await?;
    assert_eq!(adjusted.status(), 200);
    let retried = reqwest::Client::new()
        .post(format!("{}/admin/orders/{id}/retry", world.order.admin_url()))
        .header("traceparent", format!("00-{TRACE}-{CAUSE}-01"));
    assert_eq!(Reply::to(retried).await?.status, 202);
    world.becomes(id, "CONFIRMED").await?;
    let retried = collector
        .span("order-service", "POST /admin/orders/{id}/retry", CAUSE)
        .await?;
    let published = collector
        .span("order-service", "outbox relay", &retried.span)
        .await?;
    assert_eq!(published.request_id, Some(format!("DEC-{id}-1")));
    collector
        .span("product-service", "decide stock request", &published.span)
        .await?;
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_trace_context_is_ignored_and_an_unsampled_one_is_not_collected() -> TestResult {
    let collector = Collector::start().await?;
    let world = World::with(&[(URL, &collector.url), (RATIO, "0")]).await?;
    let product = world.stocked(10).await?;
    for context in [
        "nonsense".to_owned(),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("00-{TRACE}-{CAUSE}-00"),
        format!("00-{TRACE}-{CAUSE}-01"),
    ] {
        let order = world
            .ask(Method::POST, "/v1/orders")
            .header("traceparent", &context);
        let reply = Reply::to(order.json(&json!({ "productId": product, "quantity": 1 }))).await?;
        assert_eq!(reply.text("status"), "CONFIRMED", "{context}: {reply:?}");
    }
    world.settled(product).await?;
    // What still waits is handed over at the end.
    assert_eq!(
        (world.order.terminate().await?, world.product.terminate().await?),
        (0, 0)
    );
    let mut names: Vec<String> = collector.arrived().into_iter().map(|span| span.name).collect();
    names.sort();
    let path = "PATCH /v1/products/{id}/stock/decrease-by-order";
    assert_eq!(
        names,
        [path, "POST /v1/orders", "decrease-by-order"],
        "only of the last one"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_disturbs_nobody() -> TestResult {
    let nobody = "http://tracer:pa55word@127.0.0.1:1/v1/traces";
    let world = World::with(&[(URL, nobody), (RATIO, "1")]).await?;
    let product = world.stocked(10).await?;
    for _ in 0..10 {
        assert_eq!(world.place(product, 1).await?.text("status"), "CONFIRMED");
    }
    world.settled(product).await?;
    assert_eq!(
        (world.order.terminate().await?, world.product.terminate().await?),
        (0, 0)
    );
    for service in [&world.order, &world.product] {
        let log = std::fs::read_to_string(service.log_path())?;
        assert_eq!(log.matches("spans cannot be handed over").count(), 1, "{log}");
        assert!(!log.contains("pa55word"), "{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_json_name_request_and_trace_and_show_no_secret_and_no_buyer() -> TestResult {
    let filter = "debug,hyper=info,hyper_util=info,reqwest=info,tokio_postgres=info,lapin=info";
    let world = World::with_broker(&[
        ("HOTSTOCK__LOG__FORMAT", "json"),
        ("HOTSTOCK__LOG__FILTER", filter),
        (URL, "http://tracer:pa55word@127.0.0.1:1/v1/traces"),
        (RATIO, "1"),
    ])
    .await?;
    let product = world.stocked(10).await?;
    let order = |path: &str, key: &str| {
        let body = json!({ "productId": product, "quantity": 1, "buyerId": "buyer-in-the-log" });
        let order = world.ask(Method::POST, path).header("Idempotency-Key", key);
        order
            .header("traceparent", format!("00-{TRACE}-{CAUSE}-01"))
            .json(&body)
    };
    let by_message = Reply::to(order("/v2/orders", "by-message")).await?.id();
    world.becomes(by_message, "CONFIRMED").await?;
    world.get("/v1/orders?buyerId=buyer-in-the-log").await?;
    // Errors show what they were about, too.
    world.way.set(Fault::Refuse);
    assert_eq!(Reply::to(order("/v1/orders", "in-vain")).await?.status, 424);
    world.way.set(Fault::Pass);
    world.settled(product).await?;
    assert_eq!(
        (world.order.terminate().await?, world.product.terminate().await?),
        (0, 0)
    );

    let mut seen = Vec::new();
    for service in [&world.order, &world.product] {
        let log = std::fs::read_to_string(service.log_path())?;
        for word in ["buyer-in-the-log", "guest:guest", "pa55word"] {
            assert!(!log.contains(word), "{word} in {log}");
        }
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            assert!(
                line["timestamp"].is_string() && line["level"].is_string(),
                "{line}"
            );
            seen.push(line);
        }
    }
    let line_of = |request_id: &str, route: &str| {
        let found = seen
            .iter()
            .find(|line| line["request_id"] == request_id && line["route"] == route);
        found.unwrap_or_else(|| panic!("no line of {request_id} at {route} in {seen:#?}"))
    };
    let placed = line_of("by-message", "/v2/orders");
    assert_eq!(
        (&placed["status"], &placed["trace_id"]),
        (&json!(202), &json!(TRACE))
    );
    assert!(
        placed["took_us"].as_u64().is_some_and(|took| took > 0),
        "{placed}"
    );
    assert_eq!(line_of("in-vain", "/v1/orders")["status"], 424);
    // What the message has caused in the other process.
    let decided = seen
        .iter()
        .find(|line| line["message"] == "a message is decided")
        .unwrap();
    let span = &decided["span"];
    assert_eq!(
        (&span["request_id"], &span["trace_id"]),
        (&json!(format!("DEC-{by_message}")), &json!(TRACE))
    );
    Ok(())
}
