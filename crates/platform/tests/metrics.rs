//! What a scrape says about requests and queues.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, test, web};
use platform::batch::queue;
use platform::http::{configure, edge, resource};
use platform::telemetry::{Metrics, install_metrics};

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = metrics.render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[actix_web::test]
async fn requests_are_counted_by_pattern_and_nothing_that_a_client_sends_becomes_a_label() {
    let metrics = install_metrics().unwrap();
    let app = App::new()
        .wrap(from_fn(edge))
        .configure(|cfg| configure(cfg, 1024))
        .service(
            web::scope("/v9").service(resource("/v9", "/things/{id}").route(web::get().to(
                |id: web::Path<i64>| async move {
                    assert!(*id != 13);
                    HttpResponse::Ok().finish()
                },
            ))),
        );
    let app = test::init_service(app).await;
    let ask = async |method: Method, path: &str| {
        let request = test::TestRequest::with_uri(path).method(method).to_request();
        test::try_call_service(&app, request).await.ok();
    };
    for path in [
        "/v9/things/1",
        "/v9/things/2",
        "/v9/things/x",
        "/v9/secret-of-a-client",
    ] {
        ask(Method::GET, path).await;
    }
    ask(Method::DELETE, "/v9/things/1").await;
    ask(Method::from_bytes(b"BREW").unwrap(), "/v9/things/1").await;
    ask(Method::GET, "/v9/things/13").await;
    let of = |method: &str, status: &str, route: &str| {
        format!("hotstock_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}")
    };
    for (series, expected) in [
        (of("GET", "200", "/v9/things/{id}"), 2.0),
        (of("GET", "400", "/v9/things/{id}"), 1.0),
        (of("DELETE", "405", "/v9/things/{id}"), 1.0),
        (of("OTHER", "405", "/v9/things/{id}"), 1.0),
        (of("GET", "404", "other"), 1.0),
        // A panic takes the request with it: what it was is not known any more.
        (of("OTHER", "500", "other"), 1.0),
    ] {
        assert_eq!(
            value(&metrics, &series),
            Some(expected),
            "{series}\n{}",
            metrics.render()
        );
    }
    let seconds = "hotstock_http_request_seconds_count{route=\"/v9/things/{id}\",method=\"GET\"}";
    assert_eq!(value(&metrics, seconds), Some(3.0));
    let text = metrics.render();
    assert!(
        !text.contains("secret-of-a-client") && !text.contains("BREW"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_says_what_waits_how_long_it_waited_and_what_found_no_room() {
    let metrics = install_metrics().unwrap();
    let (batcher, mut batches) = queue("watched", 2);
    for item in 0..3 {
        batcher.submit(item).ok();
    }
    let series = |name: &str| format!("hotstock_queue_{name}{{queue=\"watched\"}}");
    assert_eq!(value(&metrics, &series("items")), Some(2.0));
    assert_eq!(value(&metrics, &series("capacity_items")), Some(2.0));
    assert_eq!(value(&metrics, &series("refused_total")), Some(1.0));
    assert_eq!(batches.next(10).await, Some(vec![0, 1]));
    assert_eq!(value(&metrics, &series("items")), Some(0.0));
    assert_eq!(
        value(&metrics, &series("wait_seconds_count")),
        Some(1.0),
        "one per batch"
    );
    // Who only looks does not keep it open.
    drop(batcher);
    metrics.render();
    assert_eq!(batches.next(10).await, None);
}
