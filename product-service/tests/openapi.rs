//! The description of the API: what it says, and that it can be read with nothing but the service.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use actix_web::App;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::test::{TestRequest, call_service, init_service, read_body, read_body_json};
use actix_web::web::ServiceConfig;
use contracts::error::ErrorCode;
use product_service::config::Config;
use product_service::http::{self, openapi};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// A change of the API shows here as a change of a committed file.
#[test]
fn the_public_api_as_clients_see_it() {
    conformance::is_committed(
        "product-service",
        &openapi::public_document().to_pretty_json().expect("JSON"),
    );
}

#[test]
fn the_admin_api_as_operators_see_it() {
    conformance::is_committed(
        "product-service-admin",
        &openapi::admin_document().to_pretty_json().expect("JSON"),
    );
}

#[test]
fn every_operation_says_how_it_can_fail() {
    for document in [openapi::public_document(), openapi::admin_document()] {
        let document = serde_json::to_value(document).expect("serialises");
        let words: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(
            document["components"]["schemas"]["ErrorCode"]["enum"],
            serde_json::json!(words)
        );
        let mut ids = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let what = format!("{method} {path}");
                says_how_it_can_fail(&what, operation);
                assert_eq!(
                    path.contains("{id}"),
                    parameters(operation).contains("id"),
                    "{what}"
                );
                assert!(ids.insert(operation["operationId"].to_string()), "{what}");
            }
        }
    }
}

fn says_how_it_can_fail(what: &str, operation: &Value) {
    let responses = operation["responses"].as_object().expect("responses");
    assert!(responses.keys().any(|status| status.starts_with('2')), "{what}");
    for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
        let content = &response["content"]["application/json"];
        assert_eq!(
            content["schema"]["$ref"], "#/components/schemas/ErrorBody",
            "{what}"
        );
        for word in content["examples"].as_object().expect("examples").keys() {
            let code: ErrorCode = serde_json::from_value(word.as_str().into()).expect("known");
            assert_eq!(code.status().to_string(), *status, "{what}: {word}");
        }
    }
}

fn parameters(operation: &Value) -> BTreeSet<&str> {
    let parameters = operation["parameters"].as_array();
    parameters
        .into_iter()
        .flatten()
        .filter_map(|parameter| parameter["name"].as_str())
        .collect()
}

#[actix_web::test]
async fn each_listener_serves_its_document_and_a_page_to_browse_it() {
    let config = Config::load(None, &[]).expect("the shipped file");
    let recorded = platform::telemetry::install_metrics().expect("a recorder");
    // Neither Postgres nor Redis is asked for any of this.
    let (app, _tasks) =
        product_service::app::App::start(&config, recorded, &CancellationToken::new()).expect("starts");
    serves_its_document(http::public(&app), &openapi::public_document()).await;
    serves_its_document(http::admin(&app), &openapi::admin_document()).await;
}

async fn serves_its_document(routes: impl FnOnce(&mut ServiceConfig), document: &utoipa::openapi::OpenApi) {
    let service = init_service(App::new().configure(routes)).await;
    let get = async |path: &str| {
        let request = TestRequest::get().uri(path).to_request();
        call_service(&service, request).await
    };

    let served: Value = read_body_json(get("/openapi.json").await).await;
    assert_eq!(served, serde_json::to_value(document).expect("serialises"));

    let redirect = get("/docs").await;
    let location = redirect.headers().get(LOCATION);
    assert_eq!(location.and_then(|value| value.to_str().ok()), Some("/docs/"));
    let page = text(get("/docs/").await, "text/html").await;
    let parts: Vec<&str> = page
        .split(['"', '\''])
        .filter(|part| part.starts_with("./") || part.contains("://"))
        .collect();
    assert!(parts.iter().any(|part| part.ends_with(".js")), "{parts:?}");
    for part in parts {
        let path = part.strip_prefix("./").expect("nothing from another server");
        let response = get(&format!("/docs/{path}")).await;
        assert!(response.status().is_success(), "{path}");
    }
    let start = text(get("/docs/swagger-initializer.js").await, "text/javascript").await;
    assert!(start.contains("\"/openapi.json\""), "{start}");
}

async fn text(response: ServiceResponse, content_type: &str) -> String {
    let found = response.headers().get(CONTENT_TYPE).cloned();
    let found = found
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    assert!(found.starts_with(content_type), "{found}");
    let body = read_body(response).await;
    String::from_utf8(body.to_vec()).expect("text")
}
