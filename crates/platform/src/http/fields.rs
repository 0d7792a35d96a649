//! Values that arrive in headers, queries and bodies, as far as both services check them alike.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use actix_web::HttpRequest;
use contracts::error::ErrorCode;
use contracts::limits::PAGE_SIZE_MAX;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Problem;

/// A body that is a JSON object. Left to itself, serde takes an array too, its items in the order of the fields.
pub struct Object<T>(pub T);

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(body: D) -> Result<Self, D::Error> {
        body.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// A value outside its range: `VALIDATION_ERROR` with this text.
pub fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::ValidationError).message(message)
}

/// The `Idempotency-Key` header, bare or quoted, as its plain text; `None` without one. What characters and length it
/// may have is for the service to say.
///
/// # Errors
/// `VALIDATION_ERROR` when there is more than one, or it has unbalanced quotes or characters beyond ASCII.
pub fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut headers = request.headers().get_all("Idempotency-Key");
    let Some(header) = headers.next() else {
        return Ok(None);
    };
    if headers.next().is_some() {
        return Err(invalid("there is more than one Idempotency-Key"));
    }
    let text = header.to_str().ok().and_then(unquoted);
    text.map(Some)
        .ok_or_else(|| invalid("the Idempotency-Key has unbalanced quotes or characters beyond ASCII"))
}

/// A structured-field string (RFC 9651, section 3.3.3) without its quotes, or the bare text. `None`: unbalanced.
fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        return (!text.ends_with('"')).then(|| text.to_owned());
    };
    let mut plain = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '\\' => plain.push(
                characters
                    .next()
                    .filter(|escaped| matches!(escaped, '"' | '\\'))?,
            ),
            '"' => return characters.next().is_none().then_some(plain),
            other => plain.push(other),
        }
    }
}

/// Page number (0..=2^31 - 1) and size (1..=100), with their defaults.
///
/// # Errors
/// `VALIDATION_ERROR` outside these ranges.
pub fn page(page: Option<i64>, size: Option<i64>) -> Result<(i64, i64), Problem> {
    let (page, size) = (page.unwrap_or(0), size.unwrap_or(20));
    in_range("page", page, 0, i64::from(i32::MAX))?;
    in_range("size", size, 1, PAGE_SIZE_MAX)?;
    Ok((page, size))
}

/// # Errors
/// `VALIDATION_ERROR` naming the field, when the value is outside `min..=max`.
pub fn in_range(field: &str, value: i64, min: i64, max: i64) -> Result<(), Problem> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(invalid(format!("{field} must be between {min} and {max}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_be_bare_or_quoted() {
        for (text, plain) in [
            ("DEC-1", Some("DEC-1")),
            ("\"DEC-1\"", Some("DEC-1")),
            (r#""a\"b\\""#, Some(r#"a"b\"#)),
        ] {
            assert_eq!(unquoted(text).as_deref(), plain, "{text}");
        }
        for text in ["\"DEC-1", "DEC-1\"", "\"a\"b\"", "\"a\\x\"", "\""] {
            assert_eq!(unquoted(text), None, "{text}");
        }
        assert_eq!(
            unquoted("\"\"").as_deref(),
            Some(""),
            "empty: refused by its length"
        );
    }
}
