//! An answer that is not a success, before the edge writes it down.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use contracts::error::{ErrorCode, Locale};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// `Retry-After` of codes that need one when the handler gave none, in seconds.
const DEFAULT_RETRY_AFTER_SECONDS: u32 = 1;

/// What a handler returns instead of a success. The status follows from the code; [`super::edge()`] writes the body.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// A more exact text than the standard one of the code, in English. Readers of other languages get the standard
    /// text of the code, so facts a program or a person needs belong into `details`.
    pub message: Option<String>,
    /// Facts that belong to the code.
    pub details: Option<Value>,
    /// When to try again, in seconds. `RETRY_LATER` and `TOO_MANY_REQUESTS` have 1 if nothing else is said.
    pub retry_after_seconds: Option<u32>,
    /// `WWW-Authenticate`: how to show who one is.
    pub challenge: Option<&'static str>,
    /// Why, for the log. Never leaves the service.
    pub cause: Option<String>,
}

impl Problem {
    /// A problem with the standard text of its code and no details.
    pub fn new(code: ErrorCode) -> Self {
        Problem {
            code,
            message: None,
            details: None,
            retry_after_seconds: None,
            challenge: None,
            cause: None,
        }
    }

    /// `INTERNAL_ERROR`. The cause, with its own causes, goes to the log and nowhere else.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        Problem::new(ErrorCode::InternalError).cause(cause)
    }

    /// Replaces the standard English text.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Adds the facts.
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Says when to try again, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Says how to show who one is.
    pub fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// Notes why, for the log only.
    pub fn cause(mut self, cause: &dyn std::error::Error) -> Self {
        let mut text = cause.to_string();
        let mut next = cause.source();
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        self.cause = Some(text);
        self
    }

    /// The text for a reader of `locale`.
    pub(super) fn text(&self, locale: Locale) -> Cow<'_, str> {
        match (&self.message, locale) {
            (Some(message), Locale::En) => Cow::Borrowed(message),
            _ => Cow::Borrowed(self.code.message(locale)),
        }
    }

    /// The value of `Retry-After`, for the codes that have one.
    pub(super) fn retry_after_header(&self) -> Option<u32> {
        let needs_one = matches!(self.code, ErrorCode::RetryLater | ErrorCode::TooManyRequests);
        self.retry_after_seconds
            .or(needs_one.then_some(DEFAULT_RETRY_AFTER_SECONDS))
    }
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        Problem::new(code)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for text in [&self.message, &self.cause].into_iter().flatten() {
            write!(f, ": {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The bare status, and what a caller has to show: the body is written in one place, the edge, where the reader's language is known.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        if let Some(challenge) = self.challenge {
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_text_is_for_readers_of_english_only() {
        let problem = Problem::new(ErrorCode::ValidationError).message("quantity must be 1 to 9");
        assert_eq!(problem.text(Locale::En), "quantity must be 1 to 9");
        assert_eq!(
            problem.text(Locale::Ko),
            ErrorCode::ValidationError.message(Locale::Ko)
        );
    }

    #[test]
    fn only_codes_that_ask_to_come_back_say_when_by_themselves() {
        for &code in ErrorCode::ALL {
            let comes_back = matches!(code, ErrorCode::RetryLater | ErrorCode::TooManyRequests);
            assert_eq!(
                Problem::new(code).retry_after_header(),
                comes_back.then_some(1),
                "{code}"
            );
            assert_eq!(Problem::new(code).retry_after(7).retry_after_header(), Some(7));
            assert_eq!(Problem::new(code).status_code().as_u16(), code.status());
        }
    }

    #[test]
    fn the_log_sees_the_whole_chain_of_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        let problem = Problem::internal(&Outer(std::io::Error::other("inner")));
        assert_eq!(problem.to_string(), "INTERNAL_ERROR: outer: inner");
    }
}
