//! Both services on stores of their own, with a gate or a proxy on every way between them and to their stores, and a few
//! orders going on in the background.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use devstack::proxy::Proxy;
use devstack::{
    RabbitMq, Service, ServiceOptions, TestStack, books, program_beside, shared_rabbitmq, wait_for,
};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::gate::{Gate, What};
use crate::table::{Flow, Sent};
use crate::wire::{Kind, Protocol};
use crate::writes::Write;

/// How long it may take until a point is reached, restarts and leases included, on a busy machine.
pub(crate) const REACHED_WITHIN: Duration = Duration::from_secs(20);
const SETTLED_WITHIN: Duration = Duration::from_secs(45);
/// Pause between two orders in the background.
const PAUSE: Duration = Duration::from_millis(60);
const ORDER_SERVICE: &str = env!("CARGO_BIN_EXE_order-service");

/// Which service is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    OrderService,
    ProductService,
}

/// See the module.
pub(crate) struct Lane {
    pub(crate) victim: Victim,
    stack: TestStack,
    orders_url: String,
    amqp_url: String,
    order: Service,
    product: Service,
    /// Between order-service and product-service.
    way: Gate,
    /// Between each of them and the broker.
    broker_ways: [Gate; 2],
    /// Between each of them and its database.
    database_ways: [Proxy; 2],
    client: Client,
}

impl Lane {
    /// `settings` are of order-service, before those that shorten its deadlines.
    pub(crate) async fn start(victim: Victim, settings: &[(&str, &str)]) -> Result<Self> {
        let (stack, broker) = tokio::try_join!(TestStack::shared(), shared_rabbitmq())?;
        let orders_url = stack.postgres.create_unique_database("orders").await?;
        let amqp_url = RabbitMq::create_virtual_host(broker)?;
        let to = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let postgres = to(stack.postgres.port());
        let database_ways = [Proxy::start(postgres)?, Proxy::start(postgres)?];
        let broker_ways = [
            Gate::start(to(broker.port()), Protocol::Amqp).await?,
            Gate::start(to(broker.port()), Protocol::Amqp).await?,
        ];
        let program = program_beside(ORDER_SERVICE, "product-service").await?;
        let options = stack
            .service("product-service", program)
            .database_url(&database_ways[1].url(&stack.database_url)?)
            .amqp_url(&broker_ways[1].url(&amqp_url))
            .env("HOTSTOCK__GATE__HOLD_TTL_MS", "2000");
        let product = Service::start(options.patient()).await?;
        let way = Gate::start(to(product.port()), Protocol::Http).await?;
        let options = ServiceOptions::new("order-service", ORDER_SERVICE)
            .database_url(&database_ways[0].url(&orders_url)?)
            .amqp_url(&broker_ways[0].url(&amqp_url))
            .env("HOTSTOCK__PRODUCT__URL", &way.url(&product.url()))
            .env("HOTSTOCK__PRODUCT__TIMEOUT_MS", "700")
            .env("HOTSTOCK__SAGA__LEASE_MS", "1000")
            .env("HOTSTOCK__SAGA__RETRY_MAX_MS", "500")
            .env("HOTSTOCK__OUTBOX__RETRY_MAX_MS", "500");
        let options = settings
            .iter()
            .fold(options.patient(), |options, (key, value)| options.env(key, value));
        let order = Service::start(options).await?;
        Ok(Self {
            victim,
            stack,
            orders_url,
            amqp_url,
            order,
            product,
            way,
            broker_ways,
            database_ways,
            client: Client::builder().timeout(Duration::from_secs(8)).build()?,
        })
    }

    fn service(&self) -> &Service {
        match self.victim {
            Victim::OrderService => &self.order,
            Victim::ProductService => &self.product,
        }
    }

    /// SIGKILL; what it had under way is gone with its connections.
    pub(crate) fn kill(&self) -> Result<()> {
        self.service().kill()
    }

    /// Lets go of the connections the dead service had.
    pub(crate) fn bury(&self) {
        self.way.cut();
        match self.victim {
            Victim::OrderService => self.broker_ways[0].cut(),
            Victim::ProductService => self.broker_ways[1].cut(),
        }
    }

    pub(crate) async fn restart(&self) -> Result<()> {
        self.service().restart().await
    }

    /// What both services said last, for messages.
    pub(crate) fn log_tails(&self) -> String {
        format!("{}\n{}", self.order.log_tail(), self.product.log_tail())
    }

    /// The url of the database, straight.
    pub(crate) fn database_of(&self, write: Write) -> &str {
        if write.is_of_orders() {
            &self.orders_url
        } else {
            &self.stack.database_url
        }
    }

    /// The way of the service that does this write, to its database.
    pub(crate) fn way_of(&self, write: Write) -> &Proxy {
        &self.database_ways[usize::from(!write.is_of_orders())]
    }

    /// Whether the service that dies is the one that does this.
    pub(crate) fn is_done_by_the_victim(&self, write: Write) -> bool {
        write.is_of_orders() == (self.victim == Victim::OrderService)
    }

    /// Where a message comes by, and how to know it.
    pub(crate) fn gate_of(&self, sent: Sent, product: i64, passes: bool) -> (&Gate, What) {
        let [orders, products] = &self.broker_ways;
        let (gate, kind) = match sent {
            Sent::Decrease | Sent::Increase => (&self.way, Kind::Request),
            Sent::DecreaseReply | Sent::IncreaseReply => (&self.way, Kind::Answer),
            Sent::Request => (orders, Kind::Publish),
            Sent::RequestConfirm => (orders, Kind::Confirm),
            Sent::ResultDelivery => (orders, Kind::Deliver),
            Sent::ResultAck => (orders, Kind::Ack),
            Sent::RequestDelivery => (products, Kind::Deliver),
            Sent::RequestAck => (products, Kind::Ack),
            Sent::Result => (products, Kind::Publish),
            Sent::ResultConfirm => (products, Kind::Confirm),
        };
        let about = match sent {
            Sent::Decrease | Sent::DecreaseReply => format!("/products/{product}/stock/decrease-by-order "),
            Sent::Increase | Sent::IncreaseReply => format!("/products/{product}/stock/increase-by-order "),
            _ => format!("\"productId\":{product},"),
        };
        (gate, What { kind, about, passes })
    }

    /// A product of its own for an order.
    pub(crate) async fn stocked(&self, stock: i64, strategy: &str) -> Result<i64> {
        let body = json!({ "name": "a thing", "price": 4900, "stock": stock, "stockStrategy": strategy });
        let url = format!("{}/v1/products", self.product.url());
        wait_for("a product", REACHED_WITHIN, async || {
            let reply = self.client.post(&url).json(&body).send().await;
            let reply = reply
                .and_then(Response::error_for_status)
                .map_err(|error| error.to_string())?;
            let made: Value = reply.json().await.map_err(|error| error.to_string())?;
            made["id"].as_i64().ok_or(made.to_string())
        })
        .await
    }

    /// A client who orders one unit, under a key, and asks again until he is told what became of it.
    pub(crate) fn order(&self, flow: Flow, product: i64) -> JoinHandle<()> {
        let path = if flow == Flow::V2 {
            "/v2/orders"
        } else {
            "/v1/orders"
        };
        let request = self
            .client
            .post(format!("{}{path}", self.order.url()))
            .header("Idempotency-Key", format!("crash-{product}"))
            .json(&json!({ "productId": product, "quantity": 1 }));
        tokio::spawn(until_told(request, false))
    }

    /// A client who cancels an order, and asks again until it is.
    pub(crate) fn cancel(&self, id: i64) -> JoinHandle<()> {
        let request = self
            .client
            .post(format!("{}/v1/orders/{id}/cancel", self.order.url()));
        tokio::spawn(until_told(request, true))
    }

    /// The order of a product, once it has this status.
    pub(crate) async fn becomes(&self, product: i64, status: &str) -> Result<i64> {
        let url = format!("{}/v1/orders?productId={product}", self.order.url());
        wait_for("the status of an order", REACHED_WITHIN, async || {
            let reply = self
                .client
                .get(&url)
                .send()
                .await
                .and_then(Response::error_for_status);
            let page: Value = reply
                .map_err(|error| error.to_string())?
                .json()
                .await
                .map_err(|error| error.to_string())?;
            let order = &page["content"][0];
            match (order["id"].as_i64(), order["status"] == status) {
                (Some(id), true) => Ok(id),
                _ => Err(page.to_string()),
            }
        })
        .await
    }

    /// Orders of both flows, one after the other, whatever becomes of each, until `end`.
    pub(crate) async fn background(self: Arc<Self>, product: i64, end: CancellationToken) {
        let body = json!({ "productId": product, "quantity": 1 });
        for path in ["/v1/orders", "/v2/orders", "/v2/orders"].iter().cycle() {
            let url = format!("{}{path}", self.order.url());
            tokio::spawn(self.client.post(url).json(&body).send());
            if tokio::time::timeout(PAUSE, end.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// The audit: all orders of these products final, confirmed ones own their units, others nothing, both books balance,
    /// no step left, every message sent and none among the dead letters.
    pub(crate) async fn settled(&self, products: &[i64]) -> Result<books::orders::OrderBooks> {
        let (orders, stock) = (&self.orders_url, &self.stack.database_url);
        let settled = books::orders::wait_until_settled(orders, stock, products, SETTLED_WITHIN).await?;
        self.stack.wait_until_balanced(products, SETTLED_WITHIN).await?;
        wait_for("the outbox to drain", SETTLED_WITHIN, async || {
            let open = books::orders::open(orders, products).await;
            match open.map_err(|error| error.to_string())? {
                open if open.total() == 0 => Ok(()),
                open => Err(open.to_string()),
            }
        })
        .await?;
        let properties = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(&self.amqp_url, properties).await?;
        let channel = connection.create_channel().await?;
        for queue in ["stock.request.dlq", "order.result.dlq"] {
            let options = lapin::options::QueueDeclareOptions {
                passive: true,
                ..Default::default()
            };
            let found = channel
                .queue_declare(queue.into(), options, Default::default())
                .await?;
            ensure!(found.message_count() == 0, "{queue}: {}", found.message_count());
        }
        Ok(settled)
    }
}

/// Sends a request again until somebody says what became of it: anything but no answer, or one that says to try again.
/// That product-service gave no answer is the end of a new order, and leaves one that is to be cancelled as it was.
async fn until_told(request: reqwest::RequestBuilder, is_cancel: bool) {
    loop {
        let Some(again) = request.try_clone() else {
            unreachable!("its body is no stream")
        };
        match again.send().await.map(|reply| reply.status()) {
            Ok(StatusCode::FAILED_DEPENDENCY) if is_cancel => {}
            Ok(status) if !status.is_server_error() && status != StatusCode::CONFLICT => return,
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
