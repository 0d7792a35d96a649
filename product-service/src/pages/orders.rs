//! The buy button's way to order-service: the page may talk to nobody but the listener it came from, so orders are handed
//! on here. Bounded; what order-service has begun it finishes, whoever hangs up.

use std::time::Duration;

use contracts::order::PlaceOrder;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use platform::http_client::{HttpClient, HttpClientError, NoAnswer, Peer};
use tokio::sync::Semaphore;

use crate::config::SaleConfig;

/// order-service's public API.
pub struct OrderClient {
    client: HttpClient,
    timeout: Duration,
    in_flight: Semaphore,
}

/// What order-service answered, to be handed on.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// `Idempotency-Replayed`: this key had an order before.
    pub replayed: bool,
    /// The JSON of the body.
    pub body: Vec<u8>,
}

/// It did not answer, or there is no room to ask.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// As many as may be are under way.
    #[error("too many orders under way")]
    Full,
    /// No answer. With the same key it can be asked again.
    #[error("order-service did not answer: {0}")]
    Away(#[from] NoAnswer),
    /// It cannot be asked so: a header has characters that none may have.
    #[error("not a request: {0}")]
    Request(#[from] http::Error),
}

impl OrderClient {
    /// Connects nothing yet.
    ///
    /// # Errors
    /// [`HttpClientError`] naming the key that is wrong.
    pub fn new(config: &SaleConfig) -> Result<Self, HttpClientError> {
        let client = HttpClient::new(Peer {
            url: &config.orders_url,
            url_key: "sale.orders_url",
            ca_file: &config.ca_file,
            ca_key: "sale.ca_file",
            connect_timeout: Duration::from_millis(config.orders_timeout_ms.min(500)),
        })?;
        Ok(Self {
            client,
            timeout: Duration::from_millis(config.orders_timeout_ms),
            in_flight: Semaphore::new(config.orders_in_flight_max),
        })
    }

    /// Places an order under the buyer's key; a second one under it is answered with the first.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn place(
        &self,
        order: &PlaceOrder,
        key: &str,
        authorization: Option<&str>,
    ) -> Result<Answer, OrderError> {
        let _place = self.in_flight.try_acquire().map_err(|_| OrderError::Full)?;
        let mut request = self
            .client
            .request(Method::POST, "/v1/orders")
            .header("Idempotency-Key", key)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = authorization {
            let authorization = HeaderValue::try_from(authorization).map_err(http::Error::from)?;
            if let Some(headers) = request.headers_mut() {
                headers.insert(AUTHORIZATION, authorization);
            }
        }
        let body = serde_json::to_vec(order).unwrap_or_default();
        let response = self.client.send(request.body(body.into())?, self.timeout).await?;
        Ok(Answer {
            status: response.status().as_u16(),
            replayed: response.headers().contains_key("Idempotency-Replayed"),
            body: response.into_body().to_vec(),
        })
    }
}
