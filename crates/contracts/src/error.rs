//! The one error shape of both services: `{"error","message","details"}`.
//!
//! [`ErrorCode`] is the closed list a client may switch on; its status and its two texts live beside it,
//! so that a new code cannot be added without them. Nothing here knows HTTP libraries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Declares the codes once: variant, wire name, HTTP status, English text, Korean text.
macro_rules! error_codes {
    ($($variant:ident $wire:literal $status:literal $en:literal $ko:literal;)+) => {
        /// What went wrong, as a word a client can switch on. Written `SCREAMING_SNAKE_CASE` on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum ErrorCode {
            $(
                #[doc = $en]
                #[serde(rename = $wire)]
                $variant,
            )+
        }

        impl ErrorCode {
            /// Every code, in the order of their HTTP status.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The word on the wire, for example `INSUFFICIENT_STOCK`.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $wire),+ }
            }

            /// The HTTP status that goes with the code (400..=503).
            pub const fn status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status),+ }
            }

            /// The standard text of the code, one sentence for a person.
            pub const fn message(self, locale: Locale) -> &'static str {
                match (self, locale) {
                    $(
                        (ErrorCode::$variant, Locale::En) => $en,
                        (ErrorCode::$variant, Locale::Ko) => $ko,
                    )+
                }
            }
        }
    };
}

error_codes! {
    InsufficientStock "INSUFFICIENT_STOCK" 400
        "Not enough stock is left." "재고가 부족합니다.";
    SaleNotOpen "SALE_NOT_OPEN" 400
        "The product is not on sale at this time." "지금은 판매 기간이 아닙니다.";
    PurchaseLimitExceeded "PURCHASE_LIMIT_EXCEEDED" 400
        "The purchase limit per buyer would be exceeded." "1인당 구매 한도를 초과했습니다.";
    ValidationError "VALIDATION_ERROR" 400
        "A value in the request is not valid." "요청 값이 올바르지 않습니다.";
    BadRequest "BAD_REQUEST" 400
        "The request could not be understood." "잘못된 요청입니다.";
    InvalidState "INVALID_STATE" 400
        "This is not possible in the current state." "현재 상태에서는 처리할 수 없는 요청입니다.";
    OrderVoided "ORDER_VOIDED" 400
        "The order was voided before this request arrived." "이미 무효 처리된 주문입니다.";
    ProductDiscontinued "PRODUCT_DISCONTINUED" 400
        "The product is no longer sold." "판매가 종료된 상품입니다.";
    Unauthorized "UNAUTHORIZED" 401
        "An API key is required." "인증이 필요합니다. API 키를 확인해 주세요.";
    Forbidden "FORBIDDEN" 403
        "The API key does not allow this." "이 작업을 수행할 권한이 없습니다.";
    ProductNotFound "PRODUCT_NOT_FOUND" 404
        "The product does not exist." "상품을 찾을 수 없습니다.";
    OrderNotFound "ORDER_NOT_FOUND" 404
        "The order does not exist." "주문을 찾을 수 없습니다.";
    NotFound "NOT_FOUND" 404
        "There is nothing at this path." "요청하신 경로를 찾을 수 없습니다.";
    MethodNotAllowed "METHOD_NOT_ALLOWED" 405
        "The path does not support this method." "이 경로에서 지원하지 않는 메서드입니다.";
    IdempotencyInProgress "IDEMPOTENCY_IN_PROGRESS" 409
        "A request with the same idempotency key is still being processed."
        "같은 멱등성 키를 사용한 요청이 아직 처리 중입니다.";
    PreconditionFailed "PRECONDITION_FAILED" 412
        "The resource has changed since it was read." "조회한 이후에 내용이 변경되었습니다. 다시 조회해 주세요.";
    PayloadTooLarge "PAYLOAD_TOO_LARGE" 413
        "The request body is too large." "요청 본문이 너무 큽니다.";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" 415
        "The request body must be application/json." "요청 본문은 application/json 형식이어야 합니다.";
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" 422
        "The idempotency key was already used for a different request."
        "이미 다른 내용의 요청에 사용된 멱등성 키입니다.";
    DependencyFailed "DEPENDENCY_FAILED" 424
        "A service this request depends on gave no answer." "연동된 서비스로부터 응답을 받지 못했습니다.";
    TooManyRequests "TOO_MANY_REQUESTS" 429
        "Too many requests; please try again later." "요청이 너무 많습니다. 잠시 후 다시 시도해 주세요.";
    InternalError "INTERNAL_ERROR" 500
        "Something went wrong on our side." "서버 내부 오류가 발생했습니다.";
    RetryLater "RETRY_LATER" 503
        "The service is busy; please try again shortly." "지금은 요청을 처리할 수 없습니다. 잠시 후 다시 시도해 주세요.";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A language error texts exist in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Locale {
    /// English, the default.
    #[default]
    En,
    /// Korean.
    Ko,
}

impl Locale {
    /// The language an `Accept-Language` value prefers among those we have.
    ///
    /// The highest `q` wins, the first of equals; `*` stands for English; a range with `q=0` or with a malformed
    /// `q` counts as absent. When nothing matches, English. Never fails, whatever the client sends.
    pub fn from_accept_language(value: &str) -> Locale {
        let mut best = Locale::En;
        let mut best_quality = 0;
        for range in value.split(',') {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let Some(locale) = Locale::from_tag(tag.trim()) else {
                continue;
            };
            let quality = quality_per_mille(parameters.trim()).unwrap_or(0);
            if quality > best_quality {
                best = locale;
                best_quality = quality;
            }
        }
        best
    }

    /// The tag of the language, as in `Content-Language`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Locale::En => "en",
            Locale::Ko => "ko",
        }
    }

    fn from_tag(tag: &str) -> Option<Locale> {
        let primary = tag.split('-').next().unwrap_or(tag);
        if primary.eq_ignore_ascii_case("ko") {
            Some(Locale::Ko)
        } else if primary.eq_ignore_ascii_case("en") || primary == "*" {
            Some(Locale::En)
        } else {
            None
        }
    }
}

/// `q=0.8` as 800; no parameter is 1000; `None` when malformed or outside 0..=1.
fn quality_per_mille(parameters: &str) -> Option<u16> {
    if parameters.is_empty() {
        return Some(1000);
    }
    let (name, value) = parameters.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let quality: f32 = value.trim().parse().ok()?;
    // The comparison is false for NaN, so nothing but a number in range passes; the cast then cannot overflow.
    (0.0..=1.0)
        .contains(&quality)
        .then_some((quality * 1000.0).round() as u16)
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong, for programs.
    pub error: ErrorCode,
    /// What went wrong, for people, in the language asked for.
    pub message: String,
    /// Facts that belong to the code, or `null`. Always present.
    pub details: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_code_writes_the_word_as_str_says_and_reads_it_back() {
        for &code in ErrorCode::ALL {
            let wire = serde_json::to_value(code).unwrap();
            assert_eq!(wire, code.as_str());
            assert_eq!(serde_json::from_value::<ErrorCode>(wire).unwrap(), code);
        }
    }

    #[test]
    fn every_word_is_the_variant_in_screaming_snake_case() {
        for &code in ErrorCode::ALL {
            let mut expected = String::new();
            for (at, letter) in format!("{code:?}").char_indices() {
                if letter.is_ascii_uppercase() && at > 0 {
                    expected.push('_');
                }
                expected.push(letter.to_ascii_uppercase());
            }
            assert_eq!(code.as_str(), expected);
        }
    }

    #[test]
    fn codes_are_unique_and_ordered_by_an_error_status() {
        let mut words: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.is_sorted_by_key(|code| code.status()));
        assert!(
            ErrorCode::ALL
                .iter()
                .all(|code| (400..=503).contains(&code.status()))
        );
    }

    #[test]
    fn every_code_has_a_sentence_in_both_languages() {
        for &code in ErrorCode::ALL {
            let (en, ko) = (code.message(Locale::En), code.message(Locale::Ko));
            assert!(en.is_ascii() && en.ends_with('.'), "{code}: {en}");
            assert!(
                ko.ends_with('.') && ko.chars().any(|c| ('가'..='힣').contains(&c)),
                "{code}: {ko}"
            );
        }
    }

    #[test]
    fn the_codes_and_texts_clients_see() {
        let lines: Vec<String> = ErrorCode::ALL
            .iter()
            .map(|code| {
                let (en, ko) = (code.message(Locale::En), code.message(Locale::Ko));
                format!("{} {code}\n    {en}\n    {ko}", code.status())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn details_are_written_as_null_when_there_are_none() {
        let body = ErrorBody {
            error: ErrorCode::NotFound,
            message: "m".into(),
            details: None,
        };
        let text = serde_json::to_string(&body).unwrap();
        assert_eq!(text, r#"{"error":"NOT_FOUND","message":"m","details":null}"#);
        assert_eq!(serde_json::from_str::<ErrorBody>(&text).unwrap(), body);
    }

    #[test]
    fn accept_language_prefers_the_highest_quality() {
        for (value, expected) in [
            ("", Locale::En),
            ("ko", Locale::Ko),
            ("KO-kr", Locale::Ko),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Locale::Ko),
            ("en,ko", Locale::En),
            ("en;q=0.5, ko ; q=0.9", Locale::Ko),
            ("ko;q=0.2, en;q=0.3", Locale::En),
            ("fr, ko;q=0.1", Locale::Ko),
            ("fr", Locale::En),
            ("ko;q=0", Locale::En),
            ("ko;q=0, fr", Locale::En),
            ("ko;q=abc", Locale::En),
            ("ko;q=NaN", Locale::En),
            ("ko;q=7", Locale::En),
            ("*, ko;q=0.5", Locale::En),
            ("korean", Locale::En),
        ] {
            assert_eq!(Locale::from_accept_language(value), expected, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn accept_language_never_panics(value in ".{0,200}") {
            Locale::from_accept_language(&value);
        }

        #[test]
        fn the_higher_of_two_qualities_decides(ko in 0u16..=1000, en in 0u16..=1000) {
            let as_text = |q: u16| format!("{:.3}", f32::from(q) / 1000.0);
            let value = format!("ko;q={}, en;q={}", as_text(ko), as_text(en));
            let expected = if ko >= en && ko > 0 { Locale::Ko } else { Locale::En };
            prop_assert_eq!(Locale::from_accept_language(&value), expected);
        }
    }
}
