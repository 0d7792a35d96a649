//! What every test starts with: both services on stores of their own, a broker, and a browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use devstack::keys::Keys;
use devstack::{
    Browser, Redis, RedisOptions, Service, ServiceOptions, Tab, TestStack, ports, program_beside,
    shared_rabbitmq, wait_for,
};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What tests return: a fault of the set-up ends a test like a failed assertion.
pub(crate) type TestResult = Result<()>;

const PRODUCT_SERVICE: &str = env!("CARGO_BIN_EXE_product-service");
const PATIENCE: Duration = Duration::from_secs(20);

/// Both services, and a browser.
pub(crate) struct Stage {
    /// Databases and Redis. The Redis is the test's own.
    pub(crate) stack: TestStack,
    /// The database of orders.
    pub(crate) orders_url: String,
    /// The broker, a virtual host of its own.
    pub(crate) amqp_url: String,
    /// product-service.
    pub(crate) product: Service,
    /// order-service.
    pub(crate) order: Service,
    /// Chromium.
    pub(crate) browser: Browser,
    /// What operators ask with.
    client: Client,
    /// What a crowd asks with.
    buyers: Client,
}

impl Stage {
    /// Starts everything, with these settings of product-service.
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Result<Self> {
        Self::start(settings, None).await
    }

    /// The same where callers are asked for these keys.
    pub(crate) async fn guarded(settings: &[(&str, &str)], keys: &Keys) -> Result<Self> {
        Self::start(settings, Some(keys)).await
    }

    async fn start(settings: &[(&str, &str)], keys: Option<&Keys>) -> Result<Self> {
        let (mut stack, broker, browser, order_program) = tokio::try_join!(
            TestStack::shared(),
            shared_rabbitmq(),
            Browser::start(),
            program_beside(PRODUCT_SERVICE, "order-service"),
        )?;
        stack.redis = Redis::start(RedisOptions::default()).await?;
        stack.redis_url = stack.redis.create_database()?;
        let orders_url = stack.postgres.create_unique_database("orders").await?;
        let amqp_url = broker.create_virtual_host()?;
        let order_ports = [ports::free_port()?, ports::free_port()?];
        let [order_url, order_admin_url] = order_ports.map(|port| format!("http://127.0.0.1:{port}"));
        let mut options = asking(keys, stack.service("product-service", PRODUCT_SERVICE))
            .amqp_url(&amqp_url)
            .env("HOTSTOCK__SALE__ORDERS_URL", &order_url)
            .env(
                "HOTSTOCK__CONSOLE__OTHER_URL",
                &format!("{order_admin_url}/console"),
            );
        for (key, value) in settings {
            options = options.env(key, value);
        }
        let product = Service::start(options).await?;
        let mut options = asking(keys, ServiceOptions::new("order-service", order_program))
            .database_url(&orders_url)
            .amqp_url(&amqp_url)
            .preferred_port(order_ports[0])
            .preferred_admin_port(order_ports[1])
            .env("HOTSTOCK__PRODUCT__URL", &product.url())
            .env("HOTSTOCK__PRODUCT__TIMEOUT_MS", "8000")
            .env(
                "HOTSTOCK__CONSOLE__OTHER_URL",
                &format!("{}/console", product.admin_url()),
            );
        if let Some(keys) = keys {
            options = options.env("HOTSTOCK__PRODUCT__KEY", &keys.service);
        }
        let order = Service::start(options).await?;
        assert_eq!(order.port(), order_ports[0], "another process has taken the port");
        Ok(Self {
            stack,
            orders_url,
            amqp_url,
            product,
            order,
            browser,
            client: client(keys.map(|keys| &keys.admin))?,
            buyers: client(keys.map(|keys| &keys.service))?,
        })
    }

    /// Creates a product; what is given besides goes into the body.
    pub(crate) async fn product(&self, name: &str, stock: i64, hot: bool, besides: Value) -> Result<i64> {
        let strategy = if hot { "REDIS_FIRST" } else { "DB_ONLY" };
        let mut body = json!({ "name": name, "price": 4900, "stock": stock, "stockStrategy": strategy });
        for (key, value) in besides.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let url = format!("{}/v1/products", self.product.url());
        let made = self.ask(Method::POST, &url, Some(body), None).await?;
        made["id"].as_i64().with_context(|| format!("{made}"))
    }

    /// A request and the JSON of its answer, whatever its status.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Result<Value> {
        let mut request = self.client.request(method, url).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(&body);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        Ok(request.send().await?.json().await?)
    }

    /// Buyers of these products, one unit at a time, so many of each: straight from product-service, or by orders (v2).
    pub(crate) fn crowd(&self, straight: &[(i64, usize)], by_order: &[(i64, usize)]) -> Crowd {
        let done = Arc::new(AtomicBool::new(false));
        let mut buyers = JoinSet::new();
        for (product, buyers_of_it) in by_order {
            for _ in 0..*buyers_of_it {
                let (client, done, product) = (self.buyers.clone(), done.clone(), *product);
                let url = format!("{}/v2/orders", self.order.url());
                buyers.spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        let buyer = format!("buyer-{}", new_order() % 1000);
                        let body = json!({ "productId": product, "quantity": 1, "buyerId": buyer });
                        client.post(&url).json(&body).timeout(PATIENCE).send().await.ok();
                    }
                });
            }
        }
        for (product, buyers_of_it) in straight {
            for _ in 0..*buyers_of_it {
                let (client, done, product) = (self.buyers.clone(), done.clone(), *product);
                let url = format!(
                    "{}/v1/products/{product}/stock/decrease-by-order",
                    self.product.url()
                );
                buyers.spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        let order = new_order();
                        let body = json!({ "orderId": order, "quantity": 1 });
                        let request = client
                            .patch(&url)
                            .header("Idempotency-Key", format!("DEC-{order}"));
                        // A buyer who gets no answer goes away; the audit finds what he owns.
                        request.json(&body).timeout(PATIENCE).send().await.ok();
                    }
                });
            }
        }
        Crowd { done, buyers }
    }

    /// Messages nobody can read, set aside.
    pub(crate) async fn poison(&self, side: &str, messages: usize) -> TestResult {
        let connection = lapin::Connection::connect(&self.amqp_url, Default::default()).await?;
        let channel = connection.create_channel().await?;
        let queue = format!("{side}.dlq");
        for _ in 0..messages {
            let bytes = b"poison";
            channel
                .basic_publish(
                    "".into(),
                    queue.as_str().into(),
                    Default::default(),
                    bytes,
                    Default::default(),
                )
                .await?;
        }
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// The audit: waits until the books of these products balance.
    pub(crate) async fn balanced(&self, products: &[i64]) -> TestResult {
        self.stack.wait_until_balanced(products, PATIENCE).await.map(drop)
    }
}

/// Buyers at work.
pub(crate) struct Crowd {
    done: Arc<AtomicBool>,
    buyers: JoinSet<()>,
}

impl Crowd {
    /// Lets them finish what they have begun.
    pub(crate) async fn leave(self) {
        self.done.store(true, Ordering::Relaxed);
        self.buyers.join_all().await;
    }
}

/// An order id that nobody else has, far above those of order-service.
fn new_order() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1_000_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Shows a key with every request.
fn client(key: Option<&String>) -> Result<Client> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        headers.insert(AUTHORIZATION, format!("Bearer {key}").parse()?);
    }
    Ok(Client::builder().default_headers(headers).build()?)
}

/// Asks for these keys, if any, and has limits for a machine that is busy with other tests.
fn asking(keys: Option<&Keys>, options: ServiceOptions) -> ServiceOptions {
    let settings = keys.map(Keys::settings).into_iter().flatten();
    settings
        .fold(options, |options, (key, value)| options.env(key, &value))
        .patient()
        .env("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "8000")
}

/// Settings of product-service on a busy machine: a slow Redis is not what a test is about, one that is gone may be.
pub(crate) const PATIENT_WITH_REDIS: [(&str, &str); 3] = [
    ("HOTSTOCK__REDIS__TIMEOUT_MS", "2000"),
    ("HOTSTOCK__BREAKER__SLOW_MS", "2000"),
    ("HOTSTOCK__BREAKER__DELAY_MS", "300"),
];

/// Opens an action's dialog, goes through with it, and checks what is shown of it.
pub(crate) async fn confirm(tab: &Tab, opener: &str, shown: &str) -> TestResult {
    tab.until(
        "the way to the dialog",
        &format!("document.querySelector({opener:?}) !== null"),
    )
    .await?;
    tab.click(opener, 1).await?;
    tab.until("the dialog", "document.getElementById('confirm').open")
        .await?;
    tab.until(
        "what would be done",
        "!document.getElementById('confirm-go').disabled",
    )
    .await?;
    tab.click("#confirm-go", 1).await?;
    until_shown(tab, "#confirm-result", shown).await?;
    let good = tab
        .eval("document.querySelector('#confirm-result .outcome.good') !== null")
        .await?;
    assert_eq!(good, true, "{}", tab.text("#confirm-result").await?);
    tab.click("#confirm-cancel", 1).await?;
    tab.until("the dialog to close", "!document.getElementById('confirm').open")
        .await
}

/// Waits until an element has this text in it.
pub(crate) async fn until_shown(tab: &Tab, selector: &str, text: &str) -> TestResult {
    let has = format!("(document.querySelector({selector:?})?.textContent ?? '').includes({text:?})");
    tab.until(text, &has).await
}

/// The number an element shows.
pub(crate) async fn number(tab: &Tab, selector: &str) -> Result<f64> {
    let text = tab.text(selector).await?;
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    digits
        .parse()
        .with_context(|| format!("{selector} shows {text:?}"))
}

/// Waits until an element shows a number above this one.
pub(crate) async fn until_above(tab: &Tab, selector: &str, floor: f64) -> TestResult {
    wait_for(selector, PATIENCE, async || match number(tab, selector).await {
        Ok(shown) if shown > floor => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
}

/// Where a product's card is.
pub(crate) fn card(product: i64, part: &str) -> String {
    format!("[data-key='{product}'] [data-part='{part}']")
}
