//! What the descriptions of both services' APIs share: how errors are listed, and how a document is served.
//!
//! Which errors an operation answers with is said as a list of codes; status, sentence and example follow from the
//! code, as they do in the answers themselves.

use std::collections::BTreeMap;

use actix_web::http::header::LOCATION;
use actix_web::web::{self, ServiceConfig, get};
use actix_web::{HttpResponse, Responder};
use contracts::error::{ErrorCode, Locale};
use contracts::limits::REQUEST_ID_LENGTH_MAX;
use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema, Type,
};
use utoipa::{Modify, PartialSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Puts the words of the wire where the derived schema has the names of the variants: it does not see through the
/// macro that declares them.
pub struct ErrorWords;

impl Modify for ErrorWords {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemas = document
            .components
            .as_mut()
            .map(|components| &mut components.schemas);
        if let Some(RefOr::T(Schema::Object(code))) = schemas.and_then(|schemas| schemas.get_mut("ErrorCode"))
        {
            code.enum_values = Some(ErrorCode::ALL.iter().map(|code| json!(code)).collect());
        }
    }
}

/// Serves a document and the page to browse it with. The page is built in: it needs no other server.
pub fn mount(cfg: &mut ServiceConfig, document: utoipa::openapi::OpenApi) {
    let document = web::Data::new(document);
    cfg.service(
        web::resource("/openapi.json")
            .app_data(document)
            .route(get().to(serve)),
    )
    .service(web::resource("/docs").route(get().to(redirect)))
    .service(SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json")));
}

async fn serve(document: web::Data<utoipa::openapi::OpenApi>) -> impl Responder {
    web::Json(document)
}

/// The page's own links are relative to the folder.
async fn redirect() -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((LOCATION, "/docs/"))
        .finish()
}

/// Every operation of a path, by its method.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("GET", item.get.as_mut()),
        ("POST", item.post.as_mut()),
        ("PUT", item.put.as_mut()),
        ("PATCH", item.patch.as_mut()),
        ("DELETE", item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

/// An id in the path, >= 1.
#[must_use]
pub fn path_id(description: &str) -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(i64::schema()))
        .build()
}

/// The `Idempotency-Key` header.
#[must_use]
pub fn idempotency_key(required: Required) -> Parameter {
    let key = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(REQUEST_ID_LENGTH_MAX))
        .pattern(Some("^[!-~]+$"))
        .build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(
            "1..=128 visible ASCII characters, bare or quoted; one effect per key",
        ))
        .schema(Some(key))
        .build()
}

/// The `If-Match` header: entity tags of what the client has seen.
#[must_use]
pub fn if_match() -> Parameter {
    let tags = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r#"^(\*|"[0-9]+"(, *"[0-9]+")*)$"#))
        .examples([json!("\"7\"")])
        .build();
    ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The `ETag` of what is to be changed; `*`, or none: whichever it is",
        ))
        .schema(Some(tags))
        .build()
}

/// Declares sets of errors, each a type that stands for them in `responses(…)` of an operation. The first line names the
/// function that gives a code's example details.
#[macro_export]
macro_rules! error_sets {
    ($example:path; $($(#[$doc:meta])* $name:ident = $($codes:expr),+;)+) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl ::utoipa::IntoResponses for $name {
            fn responses() -> ::std::collections::BTreeMap<
                String,
                ::utoipa::openapi::RefOr<::utoipa::openapi::Response>,
            > {
                $crate::http::openapi::responses(&[$($codes),+].concat(), $example)
            }
        }
    )+ };
}

/// One response per status, with every code it may carry.
#[must_use]
pub fn responses(codes: &[ErrorCode], details: fn(ErrorCode) -> Value) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in ErrorCode::ALL.iter().filter(|code| codes.contains(code)) {
        by_status.entry(code.status()).or_default().push(*code);
    }
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), response(status, &codes, details).into()))
        .collect()
}

fn response(status: u16, codes: &[ErrorCode], details: fn(ErrorCode) -> Value) -> Response {
    let words: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new()
            .value(Some(example(*code, details(*code))))
            .build();
        (code.as_str(), example)
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ErrorBody")))
        .examples_from_iter(examples)
        .build();
    let response = ResponseBuilder::new()
        .description(words.join(", "))
        .content("application/json", content);
    let says_when = [ErrorCode::RetryLater, ErrorCode::TooManyRequests].map(ErrorCode::status);
    if !says_when.contains(&status) {
        return response.build();
    }
    let retry_after = HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
        .description(Some("When to repeat, in seconds"))
        .build();
    response.header("Retry-After", retry_after).build()
}

fn example(code: ErrorCode, details: Value) -> Value {
    json!({ "error": code, "message": code.message(Locale::En), "details": details })
}
