//! Values that arrive in headers, queries and bodies, checked against their ranges.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use actix_web::HttpRequest;
use chrono::{DateTime, Datelike, Utc};
use contracts::error::ErrorCode;
use contracts::limits::{NAME_LENGTH_MAX, PAGE_SIZE_MAX, PRICE_MAX, QUANTITY_MAX, STOCK_MAX};
use platform::http::Problem;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::domain::request::{Invalid, RequestId};

/// A body that is a JSON object. Left to itself, serde takes an array too, its items in the order of the fields.
pub(super) struct Object<T>(pub(super) T);

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

/// A value outside its range.
pub(super) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::ValidationError).message(message)
}

/// The same, of a value the domain has refused.
pub(super) fn refused(refused: Invalid) -> Problem {
    invalid(refused.0)
}

/// The `Idempotency-Key` of a stock write: exactly one, bare or quoted. A `requestId` in the body has to agree.
pub(super) fn idempotency_key(request: &HttpRequest, body: Option<&str>) -> Result<RequestId, Problem> {
    let mut headers = request.headers().get_all("Idempotency-Key");
    let header = headers
        .next()
        .ok_or_else(|| invalid("the header Idempotency-Key is required"))?;
    if headers.next().is_some() {
        return Err(invalid("there is more than one Idempotency-Key"));
    }
    let text = header.to_str().ok().and_then(unquoted);
    let text =
        text.ok_or_else(|| invalid("the Idempotency-Key has unbalanced quotes or characters beyond ASCII"))?;
    let key = RequestId::new(&text).map_err(refused)?;
    if body.is_some_and(|body| body != key.as_str()) {
        return Err(invalid("requestId in the body differs from the Idempotency-Key"));
    }
    Ok(key)
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

pub(super) fn order_id(order_id: i64) -> Result<i64, Problem> {
    if order_id >= 1 {
        Ok(order_id)
    } else {
        Err(invalid("orderId must be at least 1"))
    }
}

pub(super) fn name(name: &str) -> Result<(), Problem> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > NAME_LENGTH_MAX || name.chars().any(char::is_control) {
        return Err(invalid(format!(
            "name is 1..={NAME_LENGTH_MAX} characters, not blank, without control characters"
        )));
    }
    Ok(())
}

pub(super) fn price(price: i64) -> Result<(), Problem> {
    in_range("price", price, 0, PRICE_MAX)
}

pub(super) fn stock(stock: i64) -> Result<(), Problem> {
    in_range("stock", stock, 0, STOCK_MAX)
}

pub(super) fn purchase_limit(limit: i64) -> Result<(), Problem> {
    in_range("purchaseLimit", limit, 1, QUANTITY_MAX)
}

/// A moment every store and client can express; Postgres ends long before chrono does.
pub(super) fn moment(field: &str, moment: DateTime<Utc>) -> Result<(), Problem> {
    if (1..=9999).contains(&moment.year()) {
        Ok(())
    } else {
        Err(invalid(format!("{field} must be within the years 1 to 9999")))
    }
}

/// Page number and size, with their defaults.
pub(super) fn page(page: Option<i64>, size: Option<i64>) -> Result<(i64, i64), Problem> {
    let (page, size) = (page.unwrap_or(0), size.unwrap_or(20));
    in_range("page", page, 0, i64::from(i32::MAX))?;
    in_range("size", size, 1, PAGE_SIZE_MAX)?;
    Ok((page, size))
}

fn in_range(field: &str, value: i64, min: i64, max: i64) -> Result<(), Problem> {
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
