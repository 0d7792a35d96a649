//! Values that arrive in headers, queries and bodies, checked against their ranges.

use actix_web::HttpRequest;
use actix_web::http::header::IF_MATCH;
use chrono::{DateTime, Datelike, Utc};
use contracts::limits::{NAME_LENGTH_MAX, PRICE_MAX, QUANTITY_MAX, STOCK_MAX};
pub(super) use platform::http::fields::{Object, in_range, invalid, page};
use platform::http::{Problem, fields};

use crate::domain::request::{Invalid, RequestId};

/// The same, of a value the domain has refused.
pub(super) fn refused(refused: Invalid) -> Problem {
    invalid(refused.0)
}

/// The `Idempotency-Key` of a stock write: exactly one, bare or quoted. A `requestId` in the body has to agree.
pub(super) fn idempotency_key(request: &HttpRequest, body: Option<&str>) -> Result<RequestId, Problem> {
    let text =
        fields::idempotency_key(request)?.ok_or_else(|| invalid("the header Idempotency-Key is required"))?;
    let key = RequestId::new(&text).map_err(refused)?;
    if body.is_some_and(|body| body != key.as_str()) {
        return Err(invalid("requestId in the body differs from the Idempotency-Key"));
    }
    Ok(key)
}

/// The versions of `If-Match`. `None`: whichever it is, as without the header.
pub(super) fn if_match(request: &HttpRequest) -> Result<Option<Vec<i64>>, Problem> {
    let malformed = || invalid("If-Match is `*`, or entity tags such as \"7\", separated by commas");
    let mut versions = None;
    for value in request.headers().get_all(IF_MATCH) {
        let tags = value.to_str().map_err(|_| malformed())?;
        for tag in tags.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            // A weak tag is the same as none (RFC 9110, section 13.1.1).
            let strong = tag.strip_prefix("W/").unwrap_or(tag);
            let text = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let text = text.filter(|text| !text.contains('"')).ok_or_else(malformed)?;
            let known = versions.get_or_insert_with(Vec::new);
            if strong == tag {
                known.extend(text.parse::<i64>().ok());
            }
        }
    }
    Ok(versions)
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
