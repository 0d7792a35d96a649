//! For tests: whether an answer is one that the OpenAPI documents promise.
//!
//! The documents are the committed ones, `docs/openapi/*.json`; a test of each service sees to it that they are what it
//! serves. The client of the API tests sends every request through [`send`], so that an answer with a status, a code, a
//! body or a type that nobody has documented fails the test in which it comes up.

mod documents;

pub use documents::{Document, Operation, documents, is_committed};

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use contracts::error::{ErrorCode, Locale};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// What is not described by the documents: for probes, for people, and the documents themselves.
const UNDESCRIBED: [&str; 7] = [
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/console",
    "/sale",
];

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Sends a request, waits for the whole answer, and checks it.
///
/// # Errors
/// When there is no answer, or none that is documented.
pub async fn send(request: RequestBuilder) -> Result<Answer> {
    let (client, request) = request.build_split();
    let request = request?;
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await?;
    let answer = Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await?,
    };
    check(&method, &path, &answer).with_context(|| format!("{method} {path} answers {answer:?}"))?;
    Ok(answer)
}

/// Errors that the documents promise and [`send`] has not seen in this process, in each language, as
/// `document: operation CODE language`.
pub fn unseen() -> Vec<String> {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut unseen = Vec::new();
    for document in documents() {
        for operation in &document.operations {
            for code in operation.codes() {
                for language in LANGUAGES {
                    if !seen.contains(&format!("{} {code} {language}", operation.id)) {
                        unseen.push(format!("{}: {} {code} {language}", document.name, operation.id));
                    }
                }
            }
        }
    }
    unseen
}

/// The languages that errors are written in.
pub const LANGUAGES: [&str; 2] = ["en", "ko"];

/// As `operation CODE language`.
static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn check(method: &Method, path: &str, answer: &Answer) -> Result<()> {
    if UNDESCRIBED
        .iter()
        .any(|undescribed| path.starts_with(undescribed))
    {
        return Ok(());
    }
    let here: Vec<(&Document, &Operation)> = documents()
        .iter()
        .flat_map(|document| document.at(path).map(move |operation| (document, operation)))
        .collect();
    let code = error_code(answer)?;
    let is_not_found = code.as_deref() == Some("NOT_FOUND");
    ensure!(is_not_found || !here.is_empty(), "there is nothing at this path");
    // Both services have some paths; the answer has to be one of either.
    let mut refused = None;
    for (document, operation) in here.iter().filter(|(_, operation)| operation.method == *method) {
        match promised(document, operation, answer, code.as_deref()) {
            Ok(()) => return Ok(()),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        // What one listener has, another has not.
        _ if is_not_found => Ok(()),
        Some(error) => Err(error),
        None => {
            ensure!(
                code.as_deref() == Some("METHOD_NOT_ALLOWED"),
                "the path has no such method"
            );
            ensure!(answer.headers.contains_key("allow"), "405 says what is allowed");
            Ok(())
        }
    }
}

/// The code of an answer that is not a success, which has to be in the one shape of all of them.
fn error_code(answer: &Answer) -> Result<Option<String>> {
    if answer.status.as_u16() < 400 {
        return Ok(None);
    }
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    ensure!(
        header("content-type") == Some("application/json"),
        "an error is JSON"
    );
    ensure!(
        header("content-language").is_some_and(|language| LANGUAGES.contains(&language)),
        "an error is in a language"
    );
    let varies = answer
        .headers
        .get_all("vary")
        .iter()
        .any(|value| value == "accept-language");
    ensure!(varies, "an error varies by language");
    let body: Value = serde_json::from_slice(&answer.body).context("an error is JSON")?;
    let keys: Vec<&str> = body
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    ensure!(
        keys.len() == 3 && body.get("details").is_some(),
        "an error has error, message, details"
    );
    let message = body["message"].as_str().unwrap_or_default();
    ensure!(!message.is_empty(), "an error has a message");
    let code: ErrorCode = serde_json::from_value(body["error"].clone()).context("an error has a code")?;
    ensure!(
        header("content-language") == Some("en") || message == code.message(Locale::Ko),
        "an error in Korean has the text of its code"
    );
    Ok(Some(code.as_str().to_owned()))
}

fn promised(document: &Document, operation: &Operation, answer: &Answer, code: Option<&str>) -> Result<()> {
    let status = answer.status.as_u16().to_string();
    let response = &operation.description["responses"][&status];
    ensure!(
        response.is_object(),
        "{} does not say it answers {status}",
        operation.id
    );
    if let Some(code) = code {
        let codes = &response["content"]["application/json"]["examples"];
        ensure!(
            codes[code].is_object(),
            "{} does not say it answers {code}",
            operation.id
        );
        let language = answer.headers.get("content-language");
        let language = language
            .and_then(|language| language.to_str().ok())
            .unwrap_or_default();
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(format!("{} {code} {language}", operation.id));
    }
    for header in response["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
    {
        // Only where it means something.
        let is_optional = header == "Idempotency-Replayed";
        ensure!(
            is_optional || answer.headers.contains_key(header),
            "{} says it has {header}",
            operation.id
        );
    }
    let schema = &response["content"]["application/json"]["schema"];
    if schema.is_null() {
        let is_stream = response["content"]["text/event-stream"].is_object();
        ensure!(
            is_stream || answer.body.is_empty(),
            "{} says it has no body",
            operation.id
        );
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&answer.body).context("a body that is no JSON")?;
    document.validate(schema, &body)
}
