//! The one place where an answer that is not a success gets its body.
//!
//! Whatever comes out of a service with a status of 400 or above leaves as `{"error","message","details"}`: a
//! [`Problem`] of a handler, an error of the framework (unknown route, wrong method, body too large), a panic. Only
//! what never reaches the service is answered by the server below, without a body: what is not HTTP (400), a head of
//! more than 128 KiB or 96 fields (431), one that does not come in time (408).

use super::Problem;
use super::auth::admit;
use super::limits::{Last, Limits, Unread};
use super::watched::{self, Watched};
use crate::metrics;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};
use contracts::error::{ErrorCode, Locale};
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use tracing::{Instrument, Span};

/// Middleware: `App::new().wrap(middleware::from_fn(edge))`, outermost. A success pays one header look-up and one
/// comparison.
///
/// # Errors
/// When the service below failed before it had an answer; the error then carries the finished answer.
pub async fn edge<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, String>>, Error> {
    // Taken before the call, which consumes the request: an error or a panic comes back without it.
    let measured = metrics::begin();
    let language = req.headers().get(header::ACCEPT_LANGUAGE).cloned();
    let watched = Watched::begin(&req);
    let span = watched.as_ref().map_or_else(Span::none, Watched::span);
    let answer = AssertUnwindSafe(async move { admitted(req, next).await }.instrument(span))
        .catch_unwind()
        .await;
    if let Some(watched) = watched {
        watched.end(&answer);
    }
    match answer {
        Ok(Ok(response)) => {
            measured.answered(&response);
            if response.status().as_u16() < 400 {
                return Ok(response.map_into_left_body());
            }
            Ok(write_into(response, locale(language.as_ref())))
        }
        Ok(Err(error)) => {
            measured.broke(error.as_response_error().status_code());
            Err(write_error(error, locale(language.as_ref())))
        }
        // The panic itself, with its place, was logged by the panic hook.
        Err(_panic) => {
            measured.broke(StatusCode::INTERNAL_SERVER_ERROR);
            let problem = Problem {
                cause: Some("panic".to_owned()),
                ..ErrorCode::InternalError.into()
            };
            Err(write_error(problem.into(), locale(language.as_ref())))
        }
    }
}

/// Who may not do this, or for whom there is no room, gets no further.
async fn admitted<B: MessageBody + 'static>(
    mut req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    // Only an application that was not built by `serve` has none.
    let Some(limits) = req.app_data::<Rc<Limits>>().map(Rc::clone) else {
        admit(&req)?;
        return next.call(req).await;
    };
    limits.head(&req)?;
    let shown = admit(&req)?;
    limits.body(&mut req).await?;
    let _place = limits.enter(&req, &shown)?;
    next.call(req).await
}

/// The body as it is written, borrowing all it can: refusals are the most frequent answers of a sold-out sale.
#[derive(Serialize)]
struct Body<'a> {
    error: ErrorCode,
    message: &'a str,
    details: Option<&'a Value>,
}

fn locale(language: Option<&HeaderValue>) -> Locale {
    language
        .and_then(|value| value.to_str().ok())
        .map_or(Locale::En, Locale::from_accept_language)
}

fn write_into<B: MessageBody>(
    response: ServiceResponse<B>,
    locale: Locale,
) -> ServiceResponse<EitherBody<B, String>> {
    let status = response.status();
    let error = response.response().error();
    let request_id = || watched::request_id(response.request().headers());
    let (body, retry_after) = match error.and_then(|error| error.as_error::<Problem>()) {
        Some(problem) => {
            log(problem, request_id);
            (body_of(problem, locale), problem.retry_after_header())
        }
        None => {
            let problem = framework_problem(status, error);
            log(&problem, request_id);
            (body_of(&problem, locale), problem.retry_after_header())
        }
    };
    response.map_body(|head, _old| {
        set_headers(&mut head.headers, retry_after, locale);
        EitherBody::right(body)
    })
}

fn write_error(error: Error, locale: Locale) -> Error {
    let mut response = error.error_response();
    let body = match error.as_error::<Problem>() {
        Some(problem) => {
            log(problem, || None);
            set_headers(response.headers_mut(), problem.retry_after_header(), locale);
            body_of(problem, locale)
        }
        None => {
            let problem = framework_problem(response.status(), Some(&error));
            log(&problem, || None);
            set_headers(response.headers_mut(), problem.retry_after_header(), locale);
            body_of(&problem, locale)
        }
    };
    let unread = response.extensions_mut().remove::<Unread>();
    let response: HttpResponse = response.set_body(Last::new(body, unread)).map_into_boxed_body();
    InternalError::from_response(error, response).into()
}

/// The code for an answer that is not ours. The status stays what it was; the nearest code describes it.
fn framework_problem(status: StatusCode, error: Option<&Error>) -> Problem {
    let code = match status.as_u16() {
        401 => ErrorCode::Unauthorized,
        403 => ErrorCode::Forbidden,
        404 => ErrorCode::NotFound,
        405 => ErrorCode::MethodNotAllowed,
        412 => ErrorCode::PreconditionFailed,
        413 => ErrorCode::PayloadTooLarge,
        415 => ErrorCode::UnsupportedMediaType,
        429 => ErrorCode::TooManyRequests,
        503 => ErrorCode::RetryLater,
        400..=499 => ErrorCode::BadRequest,
        _ => ErrorCode::InternalError,
    };
    let problem = Problem::new(code);
    let problem = match status.as_u16() {
        408 => problem.message("The request did not arrive in time."),
        431 => problem.message("The head of the request is too large."),
        _ => problem,
    };
    match error {
        Some(error) if status.is_server_error() => Problem {
            cause: Some(error.to_string()),
            ..problem
        },
        _ => problem,
    }
}

fn body_of(problem: &Problem, locale: Locale) -> String {
    let body = Body {
        error: problem.code,
        message: &problem.text(locale),
        details: problem.details.as_ref(),
    };
    serde_json::to_string(&body).unwrap_or_else(|_| {
        // A `Value` always has a JSON form; should that ever change, the code alone still has one.
        format!(r#"{{"error":"{}","message":"","details":null}}"#, problem.code)
    })
}

/// Faults are logged with their cause, overload quietly (it comes in thousands and has metrics), refusals not at all.
fn log<'a>(problem: &Problem, request_id: impl FnOnce() -> Option<&'a str>) {
    let cause = problem.cause.as_deref();
    match problem.code {
        ErrorCode::InternalError => tracing::error!(request_id = request_id(), cause, "request failed"),
        ErrorCode::RetryLater => tracing::debug!(request_id = request_id(), cause, "request turned away"),
        _ => {}
    }
}

fn set_headers(headers: &mut HeaderMap, retry_after: Option<u32>, locale: Locale) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        header::CONTENT_LANGUAGE,
        HeaderValue::from_static(locale.as_str()),
    );
    headers.append(header::VARY, HeaderValue::from_static("accept-language"));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}
