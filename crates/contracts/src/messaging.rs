//! Messages between the services, and the queues they travel through. Both services declare and use what is here, so
//! that a name or a field cannot differ between them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ErrorCode;

/// A durable quorum queue with the exchange that feeds it, and where its dead letters go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Topic exchange to publish to.
    pub exchange: &'static str,
    /// Routing key that leads to the queue.
    pub key: &'static str,
    /// The queue.
    pub queue: &'static str,
    /// Direct exchange of the dead letters.
    pub dead_exchange: &'static str,
    /// Their routing key.
    pub dead_key: &'static str,
    /// Their queue.
    pub dead_queue: &'static str,
}

/// order-service asks for stock.
pub const STOCK_REQUEST: Route = Route {
    exchange: "stock.request.exchange",
    key: "stock.request.key",
    queue: "stock.request.queue",
    dead_exchange: "stock.request.dlx",
    dead_key: "stock.request.dlq.key",
    dead_queue: "stock.request.dlq",
};

/// product-service answers.
pub const ORDER_RESULT: Route = Route {
    exchange: "order.result.exchange",
    key: "order.result.key",
    queue: "order.result.queue",
    dead_exchange: "order.result.dlx",
    dead_key: "order.result.dlq.key",
    dead_queue: "order.result.dlq",
};

/// Fanout exchange: product-service tells every instance of order-service what is sold out and what is not any more.
pub const AVAILABILITY_EXCHANGE: &str = "stock.availability.exchange";

/// How often the broker delivers a message again before it goes to the dead letters.
pub const DELIVERY_LIMIT: i32 = 20;

/// Header of a message: the W3C trace context of the request that caused it.
pub const TRACE_CONTEXT: &str = "traceparent";

/// The version of every message here. A consumer sets a message of another version aside.
pub const VERSION: u32 = 1;

/// Largest message a consumer reads, bytes.
pub const MESSAGE_BYTES_MAX: usize = 16_384;

/// Asks for stock. Its `message_id` is the request id: the key of the effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StockRequest {
    /// [`VERSION`].
    pub version: u32,
    /// Idempotency key, such as `DEC-17`.
    pub request_id: String,
    /// The order, >= 1.
    pub order_id: i64,
    /// The product, >= 1.
    pub product_id: i64,
    /// Units, 1..=1,000,000.
    pub quantity: i64,
    /// Who buys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer_id: Option<String>,
}

impl StockRequest {
    /// A request of this version.
    #[must_use]
    pub fn new(
        request_id: String,
        order_id: i64,
        product_id: i64,
        quantity: i64,
        buyer_id: Option<String>,
    ) -> Self {
        Self {
            version: VERSION,
            request_id,
            order_id,
            product_id,
            quantity,
            buyer_id,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// What became of a [`StockRequest`]. Its `message_id` is the same request id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StockResult {
    /// [`VERSION`].
    pub version: u32,
    /// The request it answers.
    pub request_id: String,
    /// The order.
    pub order_id: i64,
    /// The product.
    pub product_id: i64,
    /// Whether the stock was taken, now or before.
    pub success: bool,
    /// Why it was refused; null when it was taken.
    pub error: Option<ErrorCode>,
}

impl StockResult {
    /// The answer to `request`: taken, or refused with a code.
    #[must_use]
    pub fn new(request: &StockRequest, refused: Option<ErrorCode>) -> Self {
        Self {
            version: VERSION,
            request_id: request.request_id.clone(),
            order_id: request.order_id,
            product_id: request.product_id,
            success: refused.is_none(),
            error: refused,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// Whether a product can be bought at all at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Availability {
    /// [`VERSION`].
    pub version: u32,
    /// The product.
    pub product_id: i64,
    /// True: no unit is left. False: there is stock again.
    pub sold_out: bool,
}

impl Availability {
    /// A notice of this version.
    #[must_use]
    pub fn new(product_id: i64, sold_out: bool) -> Self {
        Self {
            version: VERSION,
            product_id,
            sold_out,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// A dead letter, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Key of the effect it asks for, if it says so.
    pub message_id: Option<String>,
    /// Why it is here: `rejected` (nobody could read it) or `delivery_limit`.
    pub reason: Option<String>,
    /// Its size.
    pub bytes: usize,
    /// Its first 1,000 characters.
    pub body: String,
}

/// How many dead letters were dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLettersDone {
    /// Messages.
    pub count: usize,
}

/// A message that nobody can act on, however often it is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a message of this version.
///
/// # Errors
/// [`Unreadable`] when it is too large, not JSON, of another version, or of another shape.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Unreadable(format!(
            "{} bytes, at most {MESSAGE_BYTES_MAX} are read",
            bytes.len()
        )));
    }
    let unreadable = |error: serde_json::Error| Unreadable(error.to_string());
    let Versioned { version } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if version != VERSION {
        return Err(Unreadable(format!("version {version}, not {VERSION}")));
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}

fn to_json<T: Serialize>(message: &T) -> String {
    // Strings, numbers and booleans always have a JSON form; a consumer sets an empty message aside.
    serde_json::to_string(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let request = StockRequest::new("DEC-17".into(), 17, 42, 2, Some("b".into()));
        assert_eq!(read(request.to_json().as_bytes()), Ok(request.clone()));
        for refused in [None, Some(ErrorCode::InsufficientStock)] {
            let result = StockResult::new(&request, refused);
            assert_eq!(read(result.to_json().as_bytes()), Ok(result));
        }
        let notice = Availability::new(42, true);
        assert_eq!(read(notice.to_json().as_bytes()), Ok(notice));
    }

    #[test]
    fn the_messages_as_they_travel() {
        let request = StockRequest::new("DEC-17".into(), 17, 42, 2, None);
        assert_eq!(
            request.to_json(),
            r#"{"version":1,"requestId":"DEC-17","orderId":17,"productId":42,"quantity":2}"#
        );
        assert_eq!(
            StockResult::new(&request, Some(ErrorCode::InsufficientStock)).to_json(),
            r#"{"version":1,"requestId":"DEC-17","orderId":17,"productId":42,"success":false,"error":"INSUFFICIENT_STOCK"}"#
        );
        assert_eq!(
            Availability::new(42, true).to_json(),
            r#"{"version":1,"productId":42,"soldOut":true}"#
        );
    }

    #[test]
    fn what_nobody_can_act_on_is_unreadable() {
        let large = vec![b' '; MESSAGE_BYTES_MAX + 1];
        let messages: [&[u8]; 6] = [
            b"",
            b"not json",
            b"{}",
            br#"{"version":2,"productId":42,"soldOut":true}"#,
            br#"{"version":1,"productId":42,"soldOut":true,"more":1}"#,
            &large,
        ];
        for bytes in messages {
            assert!(
                read::<Availability>(bytes).is_err(),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
