//! Values that arrive in headers, queries and bodies, checked against their ranges.

use actix_web::HttpRequest;
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
