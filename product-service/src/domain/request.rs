//! The requests that move stock. Built only from values within their ranges, so that nothing behind checks again.

use std::fmt;
use std::sync::Arc;

use contracts::limits::{
    BUYER_ID_LENGTH_MAX, NOTE_LENGTH_MAX, QUANTITY_MAX, REQUEST_ID_LENGTH_MAX, STOCK_MAX,
};
use contracts::stock::{AdjustReason, IncreaseReason};

/// Identity of a product.
pub type ProductId = i64;

/// A value outside its range; the text says which and what the range is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// The idempotency key of one intent, such as `DEC-17`: 1..=128 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// # Errors
    /// [`Invalid`] unless `text` is 1..=128 visible ASCII characters.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if visible_ascii(text, REQUEST_ID_LENGTH_MAX) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid(format!(
                "a request id is 1..={REQUEST_ID_LENGTH_MAX} visible ASCII characters"
            )))
        }
    }

    /// The key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The decrease that a void under this key gives up by itself: `INC-{x}` voids `DEC-{x}`.
    #[must_use]
    pub fn implied_void(&self) -> Option<Self> {
        let rest = self.0.strip_prefix("INC-").filter(|rest| !rest.is_empty())?;
        Some(Self(format!("DEC-{rest}").into()))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who buys: 1..=64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BuyerId(Arc<str>);

impl BuyerId {
    /// # Errors
    /// [`Invalid`] unless `text` is 1..=64 visible ASCII characters.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if visible_ascii(text, BUYER_ID_LENGTH_MAX) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid(format!(
                "buyerId is 1..={BUYER_ID_LENGTH_MAX} visible ASCII characters"
            )))
        }
    }

    /// The id itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn visible_ascii(text: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Units of one request, 1..=1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity(i64);

impl Quantity {
    /// # Errors
    /// [`Invalid`] outside 1..=1,000,000.
    pub fn new(units: i64) -> Result<Self, Invalid> {
        if (1..=QUANTITY_MAX).contains(&units) {
            Ok(Self(units))
        } else {
            Err(Invalid(format!("quantity must be between 1 and {QUANTITY_MAX}")))
        }
    }

    /// Units, > 0.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0
    }
}

/// An order takes units.
#[derive(Debug, Clone)]
pub struct Decrease {
    /// The product.
    pub product: ProductId,
    /// Idempotency key.
    pub request_id: RequestId,
    /// The order, >= 1.
    pub order_id: i64,
    /// Who buys, where the caller said so.
    pub buyer: Option<BuyerId>,
    /// Units.
    pub quantity: Quantity,
}

/// An order's decrease is voided: what it took comes back, and it takes nothing any more.
#[derive(Debug, Clone)]
pub struct Increase {
    /// The product.
    pub product: ProductId,
    /// Idempotency key of the void itself.
    pub request_id: RequestId,
    /// Request id of the decrease.
    pub voids: RequestId,
    /// The order, >= 1.
    pub order_id: i64,
    /// Units the decrease was for.
    pub quantity: Quantity,
    /// Why.
    pub reason: IncreaseReason,
}

impl Increase {
    /// Which decrease a void is about: named by the body, or implied by a key of the form `INC-{x}`.
    ///
    /// # Errors
    /// [`Invalid`] when neither says, when both say different things, or when it would void itself.
    pub fn voided(request_id: &RequestId, named: Option<RequestId>) -> Result<RequestId, Invalid> {
        let voided = match (named, request_id.implied_void()) {
            (Some(named), Some(implied)) if named != implied => {
                return Err(Invalid(format!(
                    "{request_id:?} voids {implied:?}, not {named:?}"
                )));
            }
            (Some(voided), _) | (None, Some(voided)) => voided,
            (None, None) => {
                return Err(Invalid(
                    "voids must name the request id of the decrease".to_owned(),
                ));
            }
        };
        if voided == *request_id {
            return Err(Invalid("a request cannot void itself".to_owned()));
        }
        Ok(voided)
    }
}

/// Stock is corrected by hand.
#[derive(Debug, Clone)]
pub struct Adjust {
    /// The product.
    pub product: ProductId,
    /// Idempotency key.
    pub request_id: RequestId,
    /// Signed units, not 0, within ±10^12.
    pub delta: i64,
    /// Why.
    pub reason: AdjustReason,
    /// For the record.
    pub note: Option<String>,
}

impl Adjust {
    /// # Errors
    /// [`Invalid`] when `delta` is 0 or beyond ±10^12, or the note is too long or has control characters.
    pub fn check(delta: i64, note: Option<&str>) -> Result<(), Invalid> {
        if delta == 0 || !(-STOCK_MAX..=STOCK_MAX).contains(&delta) {
            return Err(Invalid(format!(
                "delta must be between -{STOCK_MAX} and {STOCK_MAX}, and not 0"
            )));
        }
        if note
            .is_some_and(|note| note.chars().count() > NOTE_LENGTH_MAX || note.chars().any(char::is_control))
        {
            return Err(Invalid(format!(
                "note is at most {NOTE_LENGTH_MAX} characters, without control characters"
            )));
        }
        Ok(())
    }
}

/// Whatever moves stock: all of it goes through one decision.
#[derive(Debug, Clone)]
pub enum StockRequest {
    /// See [`Decrease`].
    Decrease(Decrease),
    /// See [`Increase`].
    Increase(Increase),
    /// See [`Adjust`].
    Adjust(Adjust),
}

impl StockRequest {
    /// The product it is about.
    #[must_use]
    pub fn product(&self) -> ProductId {
        match self {
            Self::Decrease(decrease) => decrease.product,
            Self::Increase(increase) => increase.product,
            Self::Adjust(adjust) => adjust.product,
        }
    }

    /// Its own idempotency key.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        match self {
            Self::Decrease(decrease) => &decrease.request_id,
            Self::Increase(increase) => &increase.request_id,
            Self::Adjust(adjust) => &adjust.request_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_increase_key_implies_the_decrease_it_voids() {
        let key = |text: &str| RequestId::new(text).expect("valid");
        assert_eq!(Increase::voided(&key("INC-7-2"), None), Ok(key("DEC-7-2")));
        assert_eq!(Increase::voided(&key("x"), Some(key("y"))), Ok(key("y")));
        assert_eq!(
            Increase::voided(&key("INC-7"), Some(key("DEC-7"))),
            Ok(key("DEC-7"))
        );
        for (own, named) in [
            ("INC-7", Some("DEC-8")),
            ("x", None),
            ("INC-", None),
            ("x", Some("x")),
        ] {
            assert!(
                Increase::voided(&key(own), named.map(key)).is_err(),
                "{own} {named:?}"
            );
        }
    }

    #[test]
    fn values_outside_their_ranges_are_refused() {
        for text in ["", " ", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert!(RequestId::new(text).is_err(), "{text:?}");
        }
        for units in [0, -1, 1_000_001, i64::MIN, i64::MAX] {
            assert!(Quantity::new(units).is_err(), "{units}");
        }
        for delta in [0, STOCK_MAX + 1, i64::MIN, i64::MAX] {
            assert!(Adjust::check(delta, None).is_err(), "{delta}");
        }
        assert!(Adjust::check(1, Some("a\0b")).is_err());
    }
}
