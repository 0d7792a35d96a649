//! What every test starts with: order-service and product-service on databases of their own, with a fault proxy on the
//! way between them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conformance::Answer;
use devstack::load::Stores;
use devstack::proxy::Proxy;
use devstack::{
    RabbitMq, Service, ServiceOptions, TestStack, books, program_beside, shared_rabbitmq, wait_for,
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

/// What tests return: a fault of the set-up ends a test like a failed assertion.
pub(crate) type TestResult = Result<()>;

/// How long something that happens in the background may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const ORDER_SERVICE: &str = env!("CARGO_BIN_EXE_order-service");

/// Both services and the way between them.
pub(crate) struct World {
    pub(crate) stack: TestStack,
    pub(crate) broker: Option<RabbitMq>,
    setup: Setup,
    pub(crate) product: Service,
    pub(crate) order: Service,
    /// Between order-service and product-service.
    pub(crate) way: Proxy,
    /// Between both services and the broker.
    pub(crate) way_to_broker: Option<Proxy>,
    client: Client,
}

/// What an instance of order-service is started with.
struct Setup {
    orders_url: String,
    product_url: String,
    /// The broker itself, for tests that meddle.
    amqp_url: Option<String>,
    /// The way the services take to it.
    proxied_url: Option<String>,
    settings: Vec<(String, String)>,
}

impl Setup {
    fn order_service(&self) -> ServiceOptions {
        let mut options = ServiceOptions::new("order-service", ORDER_SERVICE)
            .patient()
            .database_url(&self.orders_url)
            .env("HOTSTOCK__PRODUCT__URL", &self.product_url);
        if let Some(url) = &self.proxied_url {
            options = options.amqp_url(url);
        }
        self.settings
            .iter()
            .fold(options, |options, (key, value)| options.env(key, value))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: reqwest::header::HeaderMap,
}

impl Reply {
    pub(crate) async fn to(request: RequestBuilder) -> Result<Self> {
        let Answer {
            status,
            headers,
            body,
        } = conformance::send(request).await?;
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).with_context(|| format!("a body that is no JSON: {body:?}"))?
        };
        Ok(Self {
            status: status.as_u16(),
            body,
            headers,
        })
    }

    pub(crate) fn id(&self) -> i64 {
        self.body["id"]
            .as_i64()
            .unwrap_or_else(|| panic!("an order has an id: {self:?}"))
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }
}

impl World {
    /// Without a broker.
    pub(crate) async fn start() -> Result<Self> {
        Self::with(&[]).await
    }

    /// Without a broker, with further settings of order-service.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::on(TestStack::shared().await?, None, settings).await
    }

    /// With a virtual host on the RabbitMQ that all tests share, which must not be harmed.
    pub(crate) async fn with_broker(settings: &[(&str, &str)]) -> Result<Self> {
        let (stack, broker) = tokio::try_join!(TestStack::shared(), shared_rabbitmq())?;
        Self::on(stack, Some(broker.clone()), settings).await
    }

    /// On these servers.
    pub(crate) async fn on(
        stack: TestStack,
        broker: Option<RabbitMq>,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let orders_url = stack.postgres.create_unique_database("orders").await?;
        Self::on_databases(stack, orders_url, broker, settings).await
    }

    /// On these servers, orders on a database of their own choice.
    pub(crate) async fn on_databases(
        stack: TestStack,
        orders_url: String,
        broker: Option<RabbitMq>,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let amqp_url = broker.as_ref().map(RabbitMq::create_virtual_host).transpose()?;
        let settings: Vec<(String, String)> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let way_to_broker = broker
            .as_ref()
            .map(|broker| Proxy::start(SocketAddr::from(([127, 0, 0, 1], broker.port()))))
            .transpose()?;
        let proxied_url = match (&way_to_broker, &amqp_url) {
            (Some(way), Some(url)) => Some(way.url(url)?),
            _ => None,
        };
        let program = program_beside(ORDER_SERVICE, "product-service").await?;
        let mut options = stack.service("product-service", program).patient();
        for (key, value) in settings.iter().filter(|(key, _)| is_of_both(key)) {
            options = options.env(key, value);
        }
        if let Some(url) = &proxied_url {
            options = options.amqp_url(url);
        }
        let product = Service::start(options).await?;
        let way = Proxy::start(SocketAddr::from(([127, 0, 0, 1], product.port())))?;
        let setup = Setup {
            orders_url,
            product_url: way.url(&product.url())?,
            amqp_url,
            proxied_url,
            settings,
        };
        let order = Service::start(setup.order_service()).await?;
        if broker.is_some() {
            for service in [&product, &order] {
                until_connected(service).await?;
            }
        }
        Ok(Self {
            stack,
            broker,
            setup,
            product,
            order,
            way,
            way_to_broker,
            client: Client::new(),
        })
    }

    /// Another instance of order-service on the same stores.
    pub(crate) async fn another(&self) -> Result<Service> {
        Service::start(self.setup.order_service()).await
    }

    /// A channel to the broker, for a test that meddles.
    pub(crate) async fn channel(&self) -> Result<(lapin::Connection, lapin::Channel)> {
        let url = self.setup.amqp_url.as_deref().context("a broker")?;
        let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// Kills the broker, which has to be the test's own.
    pub(crate) async fn kill_broker(&self) -> TestResult {
        let broker = self.broker.as_ref().context("a broker")?;
        // In good order first: RabbitMQ writes down which queues it has a while after they were declared. Killed before
        // that, it forgets the queues themselves, which is not what these tests are about.
        broker.restart().await?;
        broker.kill()
    }

    /// How many messages lie in a queue.
    pub(crate) async fn lying_in(&self, queue: &str) -> Result<u32> {
        let (_connection, channel) = self.channel().await?;
        let options = lapin::options::QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare(queue.into(), options, lapin::types::FieldTable::default())
            .await?;
        Ok(queue.message_count())
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.order.url()))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Reply> {
        Reply::to(self.ask(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        Reply::to(self.ask(Method::POST, path).json(body)).await
    }

    pub(crate) async fn admin(&self, method: Method, path: &str) -> Result<Reply> {
        Reply::to(
            self.client
                .request(method, format!("{}{path}", self.order.admin_url())),
        )
        .await
    }

    /// `POST /v1/orders` of one product.
    pub(crate) async fn place(&self, product: i64, quantity: i64) -> Result<Reply> {
        self.post(
            "/v1/orders",
            &json!({ "productId": product, "quantity": quantity }),
        )
        .await
    }

    pub(crate) async fn cancel(&self, id: i64) -> Result<Reply> {
        Reply::to(self.ask(Method::POST, &format!("/v1/orders/{id}/cancel"))).await
    }

    pub(crate) async fn order(&self, id: i64) -> Result<Reply> {
        self.get(&format!("/v1/orders/{id}")).await
    }

    /// Waits until an order has a status.
    pub(crate) async fn becomes(&self, id: i64, status: &str) -> Result<Value> {
        wait_for("the status of an order", PATIENCE, async || {
            let reply = self.order(id).await.map_err(|error| error.to_string())?;
            if reply.text("status") == status {
                Ok(reply.body)
            } else {
                Err(reply.body.to_string())
            }
        })
        .await
    }

    /// A product with stock; its id. `fields` are further ones of its body.
    pub(crate) async fn stocked_with(&self, stock: i64, fields: &Value) -> Result<i64> {
        let mut body = json!({ "name": "a thing", "price": 4900, "stock": stock });
        if let (Some(body), Some(fields)) = (body.as_object_mut(), fields.as_object()) {
            body.extend(fields.clone());
        }
        let reply = Reply::to(
            self.client
                .post(format!("{}/v1/products", self.product.url()))
                .json(&body),
        )
        .await?;
        ensure!(reply.status == 201, "{reply:?}");
        Ok(reply.id())
    }

    pub(crate) async fn stocked(&self, stock: i64) -> Result<i64> {
        self.stocked_with(stock, &json!({})).await
    }

    /// Units left, as product-service says.
    pub(crate) async fn stock(&self, product: i64) -> Result<i64> {
        let reply = Reply::to(
            self.client
                .get(format!("{}/v1/products/{product}", self.product.url())),
        )
        .await?;
        reply.body["stock"].as_i64().with_context(|| format!("{reply:?}"))
    }

    /// A query on the order database that gives one number.
    pub(crate) async fn number(&self, query: &str) -> Result<i64> {
        let (client, connection) = tokio_postgres::connect(&self.setup.orders_url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client.query_one(query, &[]).await?.try_get(0)?)
    }

    /// Statements on the order database.
    pub(crate) async fn execute(&self, statements: &str) -> TestResult {
        let (client, connection) = tokio_postgres::connect(&self.setup.orders_url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client.batch_execute(statements).await?)
    }

    /// Where the books are.
    pub(crate) fn stores(&self) -> Stores {
        Stores {
            database_url: self.stack.database_url.clone(),
            redis_url: Some(self.stack.redis_url.clone()),
            orders_url: Some(self.setup.orders_url.clone()),
        }
    }

    /// The audit. Waits until every order is final, no step is left and every order owns what it says; then the books of
    /// the product have to balance.
    pub(crate) async fn settled(&self, product: i64) -> TestResult {
        let (orders, stock) = (&self.setup.orders_url, &self.stack.database_url);
        books::orders::wait_until_settled(orders, stock, &[product], PATIENCE).await?;
        self.stack.wait_until_balanced(&[product], PATIENCE).await?;
        Ok(())
    }
}

/// Settings that say how a service is looked at go for both.
fn is_of_both(key: &str) -> bool {
    ["HOTSTOCK__LOG__", "HOTSTOCK__TELEMETRY__"]
        .iter()
        .any(|section| key.starts_with(section))
}

/// Waits until a service hears the broker: then the queues are there too.
async fn until_connected(service: &Service) -> TestResult {
    wait_for("a connection to the broker", PATIENCE, async || {
        let reply = reqwest::get(format!("{}/readyz", service.url())).await;
        let text = reply
            .map_err(|error| error.to_string())?
            .text()
            .await
            .map_err(|error| error.to_string())?;
        if text.contains(r#""rabbitmq":"ok""#) {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await
}
