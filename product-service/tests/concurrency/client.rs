//! One client of one instance, who remembers what he was told.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use contracts::stock::{
    AdjustReason, AdjustStock, DecreaseByOrder, IncreaseByOrder, IncreaseReason, StockAnswer,
};
use devstack::http::{Answer, Fault, HttpClient};
use reqwest::{Method, StatusCode};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(60);

/// What a client was told about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// 200, with the stock that was left.
    Done { remaining: i64, is_replay: bool },
    /// 4xx, with its code.
    Refused(String),
    /// 503: nobody decided.
    Later,
    /// No answer.
    Nothing(Fault),
}

impl Told {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

pub(crate) struct Client(HttpClient);

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        Self(HttpClient::new(url, TIMEOUT).unwrap())
    }

    /// An order takes units, under the key `DEC-{order}`.
    pub(crate) async fn decrease(&mut self, product: i64, order_id: i64, quantity: i64) -> Told {
        let path = decrease_path(product);
        let body = decrease_body(order_id, quantity);
        self.ask(Method::PATCH, &path, &decrease_key(order_id), body)
            .await
    }

    /// An order gives back what it took.
    pub(crate) async fn cancel(&mut self, product: i64, order_id: i64, quantity: i64) -> Told {
        let body = IncreaseByOrder {
            order_id,
            quantity,
            reason: IncreaseReason::OrderCancelled,
            request_id: None,
            voids: None,
        };
        let path = format!("/v1/products/{product}/stock/increase-by-order");
        let body = serde_json::to_vec(&body).unwrap();
        self.ask(Method::PATCH, &path, &format!("INC-{order_id}"), body)
            .await
    }

    pub(crate) async fn adjust(&mut self, product: i64, key: &str, delta: i64) -> Told {
        let body = AdjustStock {
            delta,
            reason: AdjustReason::Adjust,
            note: None,
        };
        let path = format!("/v1/products/{product}/stock/adjust");
        let body = serde_json::to_vec(&body).unwrap();
        self.ask(Method::POST, &path, key, body).await
    }

    async fn ask(&mut self, method: Method, path: &str, key: &str, body: Vec<u8>) -> Told {
        match self
            .0
            .request(method, path, &[("Idempotency-Key", key)], body)
            .await
        {
            Ok(answer) => told(&answer),
            Err(fault) => Told::Nothing(fault),
        }
    }
}

fn told(answer: &Answer) -> Told {
    match answer.status {
        StatusCode::OK => {
            let body: StockAnswer = serde_json::from_slice(&answer.body).unwrap();
            assert!(body.success, "{body:?}");
            Told::Done {
                remaining: body.remaining_stock,
                is_replay: answer.header("Idempotency-Replayed").is_some(),
            }
        }
        StatusCode::SERVICE_UNAVAILABLE => Told::Later,
        status if status.is_client_error() => {
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            Told::Refused(body["error"].as_str().unwrap().to_owned())
        }
        status => panic!("{status}: {answer:?}"),
    }
}

pub(crate) fn decrease_path(product: i64) -> String {
    format!("/v1/products/{product}/stock/decrease-by-order")
}

pub(crate) fn decrease_key(order_id: i64) -> String {
    format!("DEC-{order_id}")
}

pub(crate) fn decrease_body(order_id: i64, quantity: i64) -> Vec<u8> {
    let body = DecreaseByOrder {
        order_id,
        quantity,
        buyer_id: Some(format!("buyer-{order_id}")),
        request_id: None,
    };
    serde_json::to_vec(&body).unwrap()
}

/// An order that nobody in this process has had.
pub(crate) fn fresh_order_id() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
