//! The description of the API: what it says, and that it can be read with nothing but the service.

use actix_web::App;
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use contracts::error::ErrorCode;
use order_service::config::Config;
use order_service::http::{self, openapi};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// A change of the API shows here as a change of a committed file.
#[test]
fn the_public_api_as_clients_see_it() {
    conformance::is_committed(
        "order-service",
        &openapi::public_document().to_pretty_json().expect("JSON"),
    );
}

#[test]
fn the_admin_api_as_operators_see_it() {
    conformance::is_committed(
        "order-service-admin",
        &openapi::admin_document().to_pretty_json().expect("JSON"),
    );
}

#[test]
fn every_operation_says_how_it_can_fail() {
    for document in [openapi::public_document(), openapi::admin_document()] {
        let document = serde_json::to_value(document).expect("serialises");
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let responses = operation["responses"].as_object().expect("responses");
                assert!(
                    responses.keys().any(|status| status.starts_with('2')),
                    "{method} {path}"
                );
                for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
                    let examples = &response["content"]["application/json"]["examples"];
                    for word in examples.as_object().expect("examples").keys() {
                        let code: ErrorCode = serde_json::from_value(word.as_str().into()).expect("known");
                        assert_eq!(code.status().to_string(), *status, "{method} {path}: {word}");
                    }
                }
            }
        }
    }
}

#[actix_web::test]
async fn each_listener_serves_its_document() {
    let config = Config::load(None, &[]).expect("the shipped file");
    let recorded = platform::telemetry::install_metrics().expect("a recorder");
    // No server is asked for any of this.
    let (app, _tasks) = order_service::app::App::start(
        &config,
        recorded,
        CancellationToken::new(),
        &CancellationToken::new(),
    )
    .expect("starts");
    let public = init_service(App::new().configure(http::public(&app))).await;
    let request = TestRequest::get().uri("/openapi.json").to_request();
    let served: Value = read_body_json(call_service(&public, request).await).await;
    assert_eq!(
        served,
        serde_json::to_value(openapi::public_document()).expect("serialises")
    );
    let admin = init_service(App::new().configure(http::admin(&app))).await;
    let request = TestRequest::get().uri("/openapi.json").to_request();
    let served: Value = read_body_json(call_service(&admin, request).await).await;
    assert_eq!(
        served,
        serde_json::to_value(openapi::admin_document()).expect("serialises")
    );
    let page = call_service(&public, TestRequest::get().uri("/docs/").to_request()).await;
    assert!(page.status().is_success());
}
