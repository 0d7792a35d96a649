//! The buy button's way to order-service: the page may talk to nobody but the listener it came from, so orders are handed
//! on here. Bounded; what order-service has begun it finishes, whoever hangs up.

use std::time::Duration;

use contracts::order::PlaceOrder;
use reqwest::Client;
use tokio::sync::Semaphore;

use crate::config::SaleConfig;

/// order-service's public API.
pub struct OrderClient {
    client: Client,
    url: String,
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
    Away(#[from] reqwest::Error),
}

impl OrderClient {
    /// Connects nothing yet.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(config: &SaleConfig) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(Duration::from_millis(config.orders_timeout_ms))
            .connect_timeout(Duration::from_millis(config.orders_timeout_ms.min(500)))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            url: format!("{}/v1/orders", config.orders_url.trim_end_matches('/')),
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
            .post(&self.url)
            .header("Idempotency-Key", key)
            .json(order);
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        let response = request.send().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            replayed: response.headers().contains_key("Idempotency-Replayed"),
            body: response.bytes().await?.to_vec(),
        })
    }
}
