//! An order: what a client may ask for, and which ways its status may go.

use chrono::{DateTime, Utc};
use contracts::error::ErrorCode;
use contracts::limits::{BUYER_ID_LENGTH_MAX, QUANTITY_MAX, REQUEST_ID_LENGTH_MAX};
use contracts::order::{Flow, OrderStatus, OrderView, PlaceOrder};

use super::attempt::Attempt;

/// What may happen to an order. Each leads from exactly one status to exactly one other; the UPDATE that makes the
/// change names the one it leaves, so that whoever comes second changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its stock was taken.
    Taken,
    /// Its stock was refused, or nobody could say.
    Failed,
    /// Its stock was given back after a cancel.
    Returned,
    /// An operator sends it again.
    Retried,
}

/// The state machine: event, the status it leaves, the status it enters. What is not here does not happen.
pub const TRANSITIONS: [(Event, OrderStatus, OrderStatus); 4] = [
    (Event::Taken, OrderStatus::Pending, OrderStatus::Confirmed),
    (Event::Failed, OrderStatus::Pending, OrderStatus::Failed),
    (Event::Returned, OrderStatus::Confirmed, OrderStatus::Cancelled),
    (Event::Retried, OrderStatus::Failed, OrderStatus::Pending),
];

impl Event {
    /// The status the order must have, and the one it gets.
    #[must_use]
    pub const fn transition(self) -> (OrderStatus, OrderStatus) {
        let [taken, failed, returned, retried] = TRANSITIONS;
        let (_, leaves, enters) = match self {
            Self::Taken => taken,
            Self::Failed => failed,
            Self::Returned => returned,
            Self::Retried => retried,
        };
        (leaves, enters)
    }
}

/// Why an order failed: a word for `fail_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailReason {
    /// product-service refused, with this code.
    Refused(ErrorCode),
    /// Nobody could say whether the stock was taken.
    NoAnswer,
    /// The message asking for it could not be published.
    OutboxRetryExhausted,
}

impl FailReason {
    /// The word, as stored and shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused(code) => code.as_str(),
            Self::NoAnswer => ErrorCode::DependencyFailed.as_str(),
            Self::OutboxRetryExhausted => "OUTBOX_RETRY_EXHAUSTED",
        }
    }
}

/// A value outside its range; the text says which and what the range is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// An order that a client asks for, its values within their ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// The product, >= 1.
    pub product_id: i64,
    /// Who buys.
    pub buyer_id: Option<String>,
    /// Units, 1..=1,000,000.
    pub quantity: i64,
    /// How its stock is asked for.
    pub flow: Flow,
    /// The client's own key: one order per key.
    pub idempotency_key: Option<String>,
}

impl NewOrder {
    /// # Errors
    /// [`Invalid`] naming the first value outside its range.
    pub fn new(body: PlaceOrder, flow: Flow, idempotency_key: Option<String>) -> Result<Self, Invalid> {
        if body.product_id < 1 {
            return Err(Invalid("productId must be at least 1".to_owned()));
        }
        if !(1..=QUANTITY_MAX).contains(&body.quantity) {
            return Err(Invalid(format!("quantity must be between 1 and {QUANTITY_MAX}")));
        }
        let visible =
            |text: &str, max| (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if body
            .buyer_id
            .as_deref()
            .is_some_and(|id| !visible(id, BUYER_ID_LENGTH_MAX))
        {
            return Err(Invalid(format!(
                "buyerId is 1..={BUYER_ID_LENGTH_MAX} visible ASCII characters"
            )));
        }
        if idempotency_key
            .as_deref()
            .is_some_and(|key| !visible(key, REQUEST_ID_LENGTH_MAX))
        {
            return Err(Invalid(format!(
                "an Idempotency-Key is 1..={REQUEST_ID_LENGTH_MAX} visible ASCII characters"
            )));
        }
        Ok(Self {
            product_id: body.product_id,
            buyer_id: body.buyer_id,
            quantity: body.quantity,
            flow,
            idempotency_key,
        })
    }

    /// Whether `order` is what this request asks for. The flow is none of it: the same body under the same key is the
    /// same order on every path.
    #[must_use]
    pub fn is_for(&self, order: &Order) -> bool {
        (self.product_id, self.quantity, &self.buyer_id)
            == (order.product_id, order.quantity, &order.buyer_id)
    }
}

/// An order as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Identity.
    pub id: i64,
    /// The product.
    pub product_id: i64,
    /// Who buys.
    pub buyer_id: Option<String>,
    /// Units.
    pub quantity: i64,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it failed.
    pub fail_reason: Option<String>,
    /// How its stock is asked for.
    pub flow: Flow,
    /// Number of the attempt it is in.
    pub attempt: i32,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When its status changed last.
    pub updated_at: DateTime<Utc>,
}

impl Order {
    /// The attempt it is in.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt {
            order_id: self.id,
            number: self.attempt,
        }
    }

    /// As clients see it.
    #[must_use]
    pub fn view(self) -> OrderView {
        OrderView {
            id: self.id,
            product_id: self.product_id,
            buyer_id: self.buyer_id,
            quantity: self.quantity,
            status: self.status,
            fail_reason: self.fail_reason,
            flow: self.flow,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_its_line_in_the_state_machine() {
        for (event, leaves, enters) in TRANSITIONS {
            assert_eq!(event.transition(), (leaves, enters), "{event:?}");
            assert_ne!(leaves, enters);
        }
    }

    #[test]
    fn nothing_leaves_cancelled() {
        assert!(
            TRANSITIONS
                .iter()
                .all(|(_, leaves, _)| *leaves != OrderStatus::Cancelled)
        );
    }

    #[test]
    fn values_outside_their_ranges_are_refused() {
        let order = |product_id, quantity, buyer: Option<&str>, key: Option<&str>| {
            let body = PlaceOrder {
                product_id,
                quantity,
                buyer_id: buyer.map(str::to_owned),
            };
            NewOrder::new(body, Flow::Sync, key.map(str::to_owned))
        };
        assert!(order(1, 1, Some("b"), Some("k")).is_ok());
        assert!(order(1, 1_000_000, None, None).is_ok());
        for (product, quantity, buyer, key) in [
            (0, 1, None, None),
            (1, 0, None, None),
            (1, -1, None, None),
            (1, 1_000_001, None, None),
            (1, 1, Some(""), None),
            (1, 1, Some("a b"), None),
            (1, 1, Some("ä"), None),
            (1, 1, None, Some("")),
            (1, 1, None, Some("a\n")),
        ] {
            assert!(
                order(product, quantity, buyer, key).is_err(),
                "{product} {quantity} {buyer:?} {key:?}"
            );
        }
        assert!(order(1, 1, Some(&"x".repeat(65)), None).is_err());
        assert!(order(1, 1, None, Some(&"x".repeat(129))).is_err());
    }
}
