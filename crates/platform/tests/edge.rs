//! Everything that is not a success has one shape, in the reader's language.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, Error, HttpResponse, error, web};
use contracts::error::{ErrorBody, ErrorCode};
use platform::http::{Problem, configure, edge};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

const BODY_LIMIT: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    quantity: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    page: u32,
}

async fn post(input: web::Json<Input>) -> String {
    input.quantity.to_string()
}

async fn list(page: web::Query<Page>) -> String {
    page.page.to_string()
}

async fn item(id: web::Path<i64>) -> String {
    id.to_string()
}

async fn bytes(body: web::Bytes) -> String {
    body.len().to_string()
}

async fn refuse() -> Result<HttpResponse, Problem> {
    Err(Problem::new(ErrorCode::InsufficientStock)
        .message("Only 3 left.")
        .details(json!({ "remainingStock": 3 })))
}

async fn busy() -> Result<HttpResponse, Problem> {
    Err(Problem::new(ErrorCode::RetryLater).retry_after(7))
}

async fn fault() -> Result<HttpResponse, Error> {
    Err(error::ErrorInternalServerError(
        "relation \"secret\" does not exist",
    ))
}

async fn by_hand() -> HttpResponse {
    HttpResponse::Conflict()
        .insert_header(("x-kept", "yes"))
        .body("plain text")
}

async fn panics() -> HttpResponse {
    panic!("inner secret")
}

fn routes(cfg: &mut web::ServiceConfig) {
    let get = |path: &str| web::resource(path.to_owned());
    cfg.service(
        web::resource("/items")
            .route(web::post().to(post))
            .route(web::get().to(list)),
    )
    .service(web::scope("/v1").service(get("/items/{id}").route(web::get().to(item))))
    .service(get("/bytes").route(web::post().to(bytes)))
    .service(get("/refuse").route(web::get().to(refuse)))
    .service(get("/busy").route(web::get().to(busy)))
    .service(get("/fault").route(web::get().to(fault)))
    .service(get("/by-hand").route(web::get().to(by_hand)))
    .service(get("/panics").route(web::get().to(panics)))
    .service(
        get("/forbidden")
            .wrap(from_fn(forbid))
            .route(web::get().to(by_hand)),
    );
}

/// An inner middleware that gives up before there is an answer.
async fn forbid(
    _req: actix_web::dev::ServiceRequest,
    _next: actix_web::middleware::Next<impl actix_web::body::MessageBody>,
) -> Result<actix_web::dev::ServiceResponse<actix_web::body::BoxBody>, Error> {
    Err(Problem::new(ErrorCode::Forbidden).into())
}

struct Answer {
    status: u16,
    headers: header::HeaderMap,
    text: String,
}

impl Answer {
    fn body(&self) -> ErrorBody {
        let keys: Value =
            serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text));
        let keys: Vec<&String> = keys.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["details", "error", "message"], "exactly the three keys");
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is(&self, code: ErrorCode) -> ErrorBody {
        let body = self.body();
        assert_eq!((self.status, body.error), (code.status(), code), "{}", self.text);
        body
    }
}

async fn call(request: TestRequest) -> Answer {
    let app = App::new()
        .wrap(from_fn(edge))
        .configure(|cfg| configure(cfg, BODY_LIMIT))
        .configure(routes);
    let app = init_service(app).await;
    let request = request.to_request();
    match actix_web::dev::Service::call(&app, request).await {
        Ok(response) => {
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
            Answer {
                status,
                headers,
                text,
            }
        }
        // The server turns such an error into its answer; so does this.
        Err(error) => {
            let response = error.error_response();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
            Answer {
                status,
                headers,
                text: String::from_utf8(body.to_vec()).unwrap(),
            }
        }
    }
}

fn get(path: &str) -> TestRequest {
    TestRequest::with_uri(path)
}

fn post_json(path: &str, body: &str) -> TestRequest {
    TestRequest::with_uri(path)
        .method(Method::POST)
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .set_payload(body.to_owned())
}

#[actix_web::test]
async fn a_success_passes_untouched() {
    let answer = call(post_json("/items", r#"{"quantity":3}"#)).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "3"));
    assert_eq!(answer.header("content-language"), "");
}

#[actix_web::test]
async fn an_unknown_path_is_not_found() {
    for path in ["/", "/nothing", "/v1", "/v1/nothing", "/items/", "//", "/%20"] {
        let body = call(get(path)).await.is(ErrorCode::NotFound);
        assert_eq!(body.details, None);
        assert_eq!(body.message, "There is nothing at this path.");
    }
}

#[actix_web::test]
async fn a_wrong_method_says_which_are_right() {
    let answer = call(get("/items").method(Method::DELETE)).await;
    answer.is(ErrorCode::MethodNotAllowed);
    let mut allowed: Vec<&str> = answer.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "POST"]);
    let answer = call(get("/v1/items/1").method(Method::PATCH)).await;
    answer.is(ErrorCode::MethodNotAllowed);
    assert_eq!(answer.header("allow"), "GET");
}

#[actix_web::test]
async fn an_unreadable_body_says_why() {
    for (body, reason) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "invalid"),
        (r#"{"quantity":"3"}"#, "invalid type"),
        (r#"{"quantity":-1}"#, "invalid value"),
        (r#"{"quantity":1.5}"#, "invalid type"),
        (r#"{"quantity":99999999999999999999999}"#, "invalid"),
        (r#"{"quantity":1,"quantity":2}"#, "duplicate field"),
        (r#"{"quantity":1,"other":2}"#, "unknown field `other`"),
        (r#"{}"#, "missing field"),
        ("\u{0}", "expected value"),
    ] {
        let answer = call(post_json("/items", body)).await.is(ErrorCode::BadRequest);
        assert!(answer.message.contains(reason), "{body}: {}", answer.message);
        assert_eq!(answer.details.unwrap()["reason"], answer.message);
    }
}

#[actix_web::test]
async fn what_the_client_sent_comes_back_only_in_part() {
    let body = format!(r#"{{"quantity":"{}"}}"#, "x".repeat(900));
    let answer = call(post_json("/items", &body)).await.is(ErrorCode::BadRequest);
    assert!(answer.message.chars().count() <= 300, "{}", answer.message);
}

#[actix_web::test]
async fn a_body_over_the_limit_is_too_large_for_every_extractor() {
    let fits = format!(r#"{{"quantity":3{}}}"#, " ".repeat(BODY_LIMIT - 14));
    assert_eq!(fits.len(), BODY_LIMIT);
    assert_eq!(call(post_json("/items", &fits)).await.status, 200);
    let large = format!("{fits} ");
    call(post_json("/items", &large))
        .await
        .is(ErrorCode::PayloadTooLarge);
    call(post_json("/bytes", &large))
        .await
        .is(ErrorCode::PayloadTooLarge);
}

#[actix_web::test]
async fn a_body_of_another_type_or_none_is_unsupported() {
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        let request =
            post_json("/items", r#"{"quantity":3}"#).insert_header((header::CONTENT_TYPE, content_type));
        call(request).await.is(ErrorCode::UnsupportedMediaType);
    }
    let untyped = TestRequest::with_uri("/items")
        .method(Method::POST)
        .set_payload(r#"{"quantity":3}"#);
    call(untyped).await.is(ErrorCode::UnsupportedMediaType);
    let with_charset = post_json("/items", r#"{"quantity":3}"#)
        .insert_header((header::CONTENT_TYPE, "application/json; charset=utf-8"));
    assert_eq!(call(with_charset).await.status, 200);
}

#[actix_web::test]
async fn a_bad_path_or_query_value_is_a_validation_error() {
    for path in [
        "/v1/items/x",
        "/v1/items/99999999999999999999",
        "/items",
        "/items?page=-1",
        "/items?page=1&q=2",
    ] {
        let answer = call(get(path)).await.is(ErrorCode::ValidationError);
        assert!(answer.details.unwrap()["reason"].is_string());
        assert!(!answer.message.contains("i64"), "{}", answer.message);
    }
    assert_eq!(call(get("/items?page=4")).await.text, "4");
}

#[actix_web::test]
async fn a_refusal_carries_its_own_text_and_details() {
    let body = call(get("/refuse")).await.is(ErrorCode::InsufficientStock);
    assert_eq!(
        (body.message.as_str(), body.details),
        ("Only 3 left.", Some(json!({ "remainingStock": 3 })))
    );
}

#[actix_web::test]
async fn readers_of_korean_get_the_standard_korean_text_everywhere() {
    for (path, code) in [
        ("/refuse", ErrorCode::InsufficientStock),
        ("/nothing", ErrorCode::NotFound),
        ("/fault", ErrorCode::InternalError),
        ("/panics", ErrorCode::InternalError),
        ("/forbidden", ErrorCode::Forbidden),
        ("/v1/items/x", ErrorCode::ValidationError),
    ] {
        let answer =
            call(get(path).insert_header((header::ACCEPT_LANGUAGE, "ko-KR,ko;q=0.9,en;q=0.8"))).await;
        assert_eq!(
            answer.is(code).message,
            code.message(contracts::error::Locale::Ko)
        );
        assert_eq!(answer.header("content-language"), "ko");
        let english = call(get(path)).await;
        english.is(code);
        assert_eq!(english.header("content-language"), "en");
    }
}

#[actix_web::test]
async fn overload_says_when_to_come_back() {
    let answer = call(get("/busy")).await;
    answer.is(ErrorCode::RetryLater);
    assert_eq!(answer.header("retry-after"), "7");
}

#[actix_web::test]
async fn faults_and_panics_tell_nothing_internal() {
    for path in ["/fault", "/panics"] {
        let answer = call(get(path)).await;
        let body = answer.is(ErrorCode::InternalError);
        assert_eq!(body.details, None);
        assert!(!answer.text.contains("secret"), "{}", answer.text);
    }
}

#[actix_web::test]
async fn an_answer_made_by_hand_keeps_status_and_headers_and_gets_the_shape() {
    let answer = call(get("/by-hand")).await;
    assert_eq!((answer.status, answer.body().error), (409, ErrorCode::BadRequest));
    assert_eq!(answer.header("x-kept"), "yes");
}

#[actix_web::test]
async fn an_inner_middleware_that_fails_gets_the_shape() {
    call(get("/forbidden")).await.is(ErrorCode::Forbidden);
}

#[actix_web::test]
async fn a_success_costs_nothing_of_its_body() {
    let app = App::new()
        .wrap(from_fn(edge))
        .configure(|cfg| configure(cfg, BODY_LIMIT))
        .configure(routes);
    let app = init_service(app).await;
    let response = call_service(&app, get("/items?page=4").to_request()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().get(header::CONTENT_LANGUAGE).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_body_is_answered_with_a_success_or_the_shape(
        body in prop_oneof![".{0,80}", r#"\{"quantity": ?[-0-9.eE]{1,12}\}"#, r#"[\[\]{}":,0-9a-z ]{0,60}"#],
        language in ".{0,20}",
    ) {
        let system = actix_web::rt::System::new();
        let answer = system.block_on(async {
            let mut request = post_json("/items", &body);
            if let Ok(value) = header::HeaderValue::from_str(&language) {
                request = request.insert_header((header::ACCEPT_LANGUAGE, value));
            }
            call(request).await
        });
        if answer.status != 200 {
            answer.is(ErrorCode::BadRequest);
        }
    }
}
