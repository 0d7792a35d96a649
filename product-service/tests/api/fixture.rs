//! What every test starts with: a shop, that is a running product-service on databases of its own; and what it asks.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use conformance::Answer;
use devstack::books::ProductBooks;
use devstack::{Redis, RedisOptions, Service, ServiceOptions, TestStack, wait_for};
use redis::FromRedisValue;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// What tests return: a fault of the set-up ends a test like a failed assertion.
pub(crate) type TestResult = Result<()>;

/// Straight to the database.
pub(crate) const DB_ONLY: &str = "DB_ONLY";
/// The gate first.
pub(crate) const REDIS_FIRST: &str = "REDIS_FIRST";
/// For what has to be the same with and without the gate.
pub(crate) const STRATEGIES: [&str; 2] = [DB_ONLY, REDIS_FIRST];

/// How long something that happens in the background may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A running product-service, its stores, and a client of it.
pub(crate) struct Shop {
    /// Database and Redis.
    pub(crate) stack: TestStack,
    /// The process.
    pub(crate) service: Service,
    client: Client,
}

impl Shop {
    /// The shop that most tests share. Products and orders are each test's own; its servers must not be harmed.
    pub(crate) async fn shared() -> Result<Self> {
        static SHARED: OnceCell<(TestStack, Service)> = OnceCell::const_new();
        let (stack, service) = SHARED
            .get_or_try_init(|| async {
                let stack = TestStack::shared().await?;
                let service = Service::start(patient(options(&stack))).await?;
                anyhow::Ok((stack, service))
            })
            .await?;
        Ok(Self::of(stack.clone(), service.clone()))
    }

    /// A shop on the shared servers with databases of its own, for a test that empties one.
    pub(crate) async fn alone() -> Result<Self> {
        let stack = TestStack::shared().await?;
        let service = Service::start(patient(options(&stack))).await?;
        Ok(Self::of(stack, service))
    }

    /// A shop with a Redis of its own, which a test may kill and freeze. Limits on Redis are the shipped ones.
    pub(crate) async fn with_private_redis() -> Result<Self> {
        let mut stack = TestStack::shared().await?;
        stack.redis = Redis::start(RedisOptions::default()).await?;
        stack.redis_url = stack.redis.create_database()?;
        // Holds that a frozen Redis took too late end soon.
        let service = Service::start(options(&stack).env("HOTSTOCK__GATE__HOLD_TTL_MS", "2000")).await?;
        Ok(Self::of(stack, service))
    }

    /// A shop whose Redis is at `url`, whoever is there. Limits on Redis are the shipped ones.
    pub(crate) async fn with_redis_at(url: &str) -> Result<Self> {
        let stack = TestStack::shared().await?;
        let service = Service::start(options(&stack).redis_url(url)).await?;
        Ok(Self::of(stack, service))
    }

    /// A shop that waits for a locked row as long as shipped.
    pub(crate) async fn with_shipped_lock_timeout() -> Result<Self> {
        let stack = TestStack::shared().await?;
        let options = patient(options(&stack)).env("HOTSTOCK__DATABASE__LOCK_TIMEOUT_MS", "200");
        Ok(Self::of(stack, Service::start(options).await?))
    }

    /// Another instance of product-service on the same stores.
    pub(crate) async fn another_instance(&self) -> Result<Self> {
        let service = Service::start(patient(options(&self.stack))).await?;
        Ok(Self::of(self.stack.clone(), service))
    }

    // A client belongs to the runtime of its test: its connections are tasks there.
    fn of(stack: TestStack, service: Service) -> Self {
        Self {
            stack,
            service,
            client: Client::new(),
        }
    }

    /// A request to the public listener, to be completed and given to [`Reply::to`].
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.service.url()))
    }

    /// The same, to the admin listener.
    pub(crate) fn ask_admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.service.admin_url()))
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply> {
        Reply::to(self.ask(Method::GET, path)).await
    }

    /// `POST /v1/products`.
    pub(crate) async fn create(&self, body: &Value) -> Result<Reply> {
        Reply::to(self.ask(Method::POST, "/v1/products").json(body)).await
    }

    /// `PATCH /v1/products/{id}`.
    pub(crate) async fn patch(&self, product: i64, body: &Value) -> Result<Reply> {
        Reply::to(
            self.ask(Method::PATCH, &format!("/v1/products/{product}"))
                .json(body),
        )
        .await
    }

    /// A new product with further fields; returns its id. The gate of a hot one is open.
    pub(crate) async fn product_with(&self, strategy: &str, stock: i64, fields: &Value) -> Result<i64> {
        let mut body = json!({ "name": "a thing", "price": 4900, "stock": stock, "stockStrategy": strategy });
        if let (Some(body), Some(fields)) = (body.as_object_mut(), fields.as_object()) {
            body.extend(fields.clone());
        }
        let reply = self.create(&body).await?;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.body["id"].as_i64().context("a new product has an id")
    }

    /// A new product; returns its id.
    pub(crate) async fn product(&self, strategy: &str, stock: i64) -> Result<i64> {
        self.product_with(strategy, stock, &json!({})).await
    }

    /// The product as `GET` shows it.
    pub(crate) async fn view(&self, product: i64) -> Result<Value> {
        let reply = self.get(&format!("/v1/products/{product}")).await?;
        assert_eq!(reply.status, 200, "{reply:?}");
        Ok(reply.body)
    }

    /// A stock write: `verb` is the last part of its path.
    pub(crate) async fn write(&self, product: i64, verb: &str, key: &str, body: &Value) -> Result<Reply> {
        Reply::to(
            self.writing(product, verb)
                .header("Idempotency-Key", key)
                .json(body),
        )
        .await
    }

    /// A stock write without key and body.
    pub(crate) fn writing(&self, product: i64, verb: &str) -> RequestBuilder {
        let method = if verb == "adjust" {
            Method::POST
        } else {
            Method::PATCH
        };
        self.ask(method, &format!("/v1/products/{product}/stock/{verb}"))
    }

    /// An order takes units, under `DEC-{order}`.
    pub(crate) async fn take(&self, product: i64, order: i64, quantity: i64) -> Result<Reply> {
        let body = json!({ "orderId": order, "quantity": quantity });
        self.write(product, "decrease-by-order", &format!("DEC-{order}"), &body)
            .await
    }

    /// The same for a buyer.
    pub(crate) async fn take_for(
        &self,
        product: i64,
        order: i64,
        quantity: i64,
        buyer: &str,
    ) -> Result<Reply> {
        let body = json!({ "orderId": order, "quantity": quantity, "buyerId": buyer });
        self.write(product, "decrease-by-order", &format!("DEC-{order}"), &body)
            .await
    }

    /// An order's decrease is voided, under `INC-{order}`.
    pub(crate) async fn give_back(&self, product: i64, order: i64, quantity: i64) -> Result<Reply> {
        let body = json!({ "orderId": order, "quantity": quantity, "reason": "ORDER_CANCELLED" });
        self.write(product, "increase-by-order", &format!("INC-{order}"), &body)
            .await
    }

    /// Stock is corrected by hand.
    pub(crate) async fn adjust(&self, product: i64, key: &str, delta: i64) -> Result<Reply> {
        let body = json!({ "delta": delta, "reason": "MANUAL" });
        self.write(product, "adjust", key, &body).await
    }

    /// `POST /admin/products/{id}/{verb}-stock-redis`.
    pub(crate) async fn gate(&self, product: i64, verb: &str) -> Result<Reply> {
        let path = format!("/admin/products/{product}/{verb}-stock-redis");
        Reply::to(self.ask_admin(Method::POST, &path)).await
    }

    /// A command to the shop's Redis.
    pub(crate) async fn redis<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let client = redis::Client::open(self.stack.redis_url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let (command, arguments) = words.split_first().context("a command")?;
        Ok(redis::cmd(command)
            .arg(arguments)
            .query_async(&mut connection)
            .await?)
    }

    /// What `GET stock:{id}` shows; none: not loaded.
    pub(crate) async fn counter(&self, product: i64) -> Result<Option<i64>> {
        self.redis(&["GET", &format!("stock:{{{product}}}")]).await
    }

    /// The audit: waits until the books balance. The gate has to be open if and only if the product is hot.
    pub(crate) async fn balanced(&self, product: i64) -> Result<ProductBooks> {
        wait_for("balanced books and a gate where one is due", PATIENCE, || async {
            let books = self.stack.audit(&[product]).await;
            let books = books.map_err(|error| format!("{error:#}"))?.remove(0);
            let faults = books.faults();
            if faults.is_empty() && books.gate.is_some() == books.is_hot {
                Ok(books)
            } else {
                Err(format!("{faults:?} in {books:?}"))
            }
        })
        .await
    }

    /// The audit of the database alone, where Redis is harmed on purpose.
    pub(crate) async fn ledger_balanced(&self, product: i64) -> Result<ProductBooks> {
        let mut books =
            devstack::books::wait_until_balanced(&self.stack.database_url, None, &[product], PATIENCE)
                .await?;
        Ok(books.remove(0))
    }
}

/// An order id, and so a request id, that no other test has.
pub(crate) fn new_order() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn options(stack: &TestStack) -> ServiceOptions {
    stack
        .service("product-service", env!("CARGO_BIN_EXE_product-service"))
        .patient()
        .env("HOTSTOCK__LEDGER__TRANSACTION_LIMIT_MS", "10000")
}

/// Patient with Redis too: a call given up would leave the gate behind the database, which is not what most tests are about.
fn patient(options: ServiceOptions) -> ServiceOptions {
    options
        .env("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "8000")
        .env("HOTSTOCK__REDIS__TIMEOUT_MS", "2000")
        .env("HOTSTOCK__BREAKER__SLOW_MS", "2000")
}

/// An answer, of whatever status.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// Status code.
    pub(crate) status: u16,
    /// Header fields.
    pub(crate) headers: HeaderMap,
    /// The JSON of the body; null when there is none.
    pub(crate) body: Value,
}

impl Reply {
    /// Sends a request and waits for the whole answer, for at most ten seconds.
    pub(crate) async fn to(request: RequestBuilder) -> Result<Self> {
        let Answer {
            status,
            headers,
            body,
        } = conformance::send(request.timeout(PATIENCE)).await?;
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).with_context(|| format!("a body that is no JSON: {body:?}"))?
        };
        Ok(Self {
            status: status.as_u16(),
            headers,
            body,
        })
    }

    /// The text of a header; empty when it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    /// Asserts that stock moved, or had moved before under the same key; returns the remaining stock.
    #[track_caller]
    pub(crate) fn remaining(&self) -> i64 {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.body["success"], true, "{self:?}");
        assert_eq!(self.body["message"], "OK", "{self:?}");
        self.body["remainingStock"]
            .as_i64()
            .unwrap_or_else(|| panic!("{self:?}"))
    }

    /// Whether it says that it repeats an earlier answer.
    pub(crate) fn is_replay(&self) -> bool {
        self.header("Idempotency-Replayed") == "true"
    }

    /// Asserts an error in the one shape all of them have; returns its details.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, error: &str) -> &Value {
        assert_eq!(
            (self.status, self.body["error"].as_str()),
            (status, Some(error)),
            "{self:?}"
        );
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        let mut fields: Vec<&str> = self
            .body
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        fields.sort_unstable();
        assert_eq!(fields, ["details", "error", "message"], "{self:?}");
        let message = self.body["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{self:?}");
        let details = &self.body["details"];
        assert!(details.is_null() || details.is_object(), "{self:?}");
        details
    }
}
