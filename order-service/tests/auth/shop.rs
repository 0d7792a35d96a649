//! Both services, asking for keys.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use devstack::proxy::Proxy;
use devstack::{Service, ServiceOptions, TestStack, books, program_beside, shared_rabbitmq, wait_for};
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

pub(crate) const ORDER_SERVICE: &str = env!("CARGO_BIN_EXE_order-service");
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const ADMIN: &str = "key-of-an-admin-7d1c";
pub(crate) const SERVICE: &str = "key-of-a-service-92ab";
/// Of the buyer ada.
pub(crate) const CUSTOMER: &str = "key-of-a-customer-03fe";
/// Of the buyer ada too, signed by an issuer whose private key is gone.
pub(crate) const TOKEN: &str = include_str!("../../../crates/platform/tests/tokens/rs256.jwt");
const ISSUERS_KEY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/platform/tests/tokens/rs256.pem"
);

pub(crate) struct Shop {
    pub(crate) stack: TestStack,
    pub(crate) orders_url: String,
    pub(crate) product: Service,
    pub(crate) order: Service,
    /// Between order-service and product-service.
    pub(crate) way: Proxy,
    /// Between both services and the broker.
    pub(crate) way_to_broker: Proxy,
    client: Client,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) async fn to(request: RequestBuilder) -> Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = serde_json::from_str(&response.text().await?).unwrap_or_default();
        Ok(Self {
            status,
            headers,
            body,
        })
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, error: &str) {
        assert_eq!(
            (self.status, self.body["error"].as_str()),
            (status, Some(error)),
            "{self:?}"
        );
    }
}

impl Shop {
    /// `settings` are further ones of order-service.
    pub(crate) async fn open(settings: &[(&str, &str)]) -> Result<Self> {
        let stack = TestStack::shared().await?;
        let orders_url = stack.postgres.create_unique_database("orders").await?;
        Self::on(stack, orders_url, settings).await
    }

    /// On these stores.
    pub(crate) async fn on(stack: TestStack, orders_url: String, settings: &[(&str, &str)]) -> Result<Self> {
        Self::with(stack, orders_url, |name, options| {
            let meant = settings.iter().filter(|(key, _)| {
                name == "order" || !["__PRODUCT__", "__ORDERS__"].iter().any(|own| key.contains(own))
            });
            meant.fold(options, |options, (key, value)| options.env(key, value))
        })
        .await
    }

    /// On these stores, migrated by the owners of their tables.
    pub(crate) async fn owned(
        stack: TestStack,
        orders_url: String,
        owners: [(&str, &String); 2],
    ) -> Result<Self> {
        Self::with(stack, orders_url, |name, options| {
            let owner = owners.iter().find(|(of, _)| *of == name);
            owner.map_or(options.clone(), |(_, url)| {
                options.env("HOTSTOCK__DATABASE__OWNER_URL", url)
            })
        })
        .await
    }

    async fn with(
        stack: TestStack,
        orders_url: String,
        set: impl Fn(&str, ServiceOptions) -> ServiceOptions,
    ) -> Result<Self> {
        let broker = shared_rabbitmq().await?;
        let way_to_broker = Proxy::start(SocketAddr::from(([127, 0, 0, 1], broker.port())))?;
        let amqp_url = way_to_broker.url(&broker.create_virtual_host()?)?;
        let program = program_beside(ORDER_SERVICE, "product-service").await?;
        let product = stack.service("product-service", program).amqp_url(&amqp_url);
        let product = Service::start(set("product", guarded(product))).await?;
        let way = Proxy::start(SocketAddr::from(([127, 0, 0, 1], product.port())))?;
        let order = ServiceOptions::new("order-service", ORDER_SERVICE)
            .database_url(&orders_url)
            .amqp_url(&amqp_url)
            .env("HOTSTOCK__PRODUCT__URL", &way.url(&product.url())?)
            .env("HOTSTOCK__PRODUCT__KEY", SERVICE);
        let order = Service::start(set("order", guarded(order))).await?;
        let shop = Self {
            stack,
            orders_url,
            product,
            order,
            way,
            way_to_broker,
            client: Client::new(),
        };
        for service in [&shop.product, &shop.order] {
            shop.connected(service).await?;
        }
        Ok(shop)
    }

    async fn connected(&self, service: &Service) -> Result<()> {
        wait_for("a connection to the broker", PATIENCE, async || {
            let ready = Reply::to(self.client.get(format!("{}/readyz", service.url()))).await;
            let ready = ready.map_err(|error| error.to_string())?;
            if ready.body["checks"]["rabbitmq"] == "ok" {
                Ok(())
            } else {
                Err(ready.body.to_string())
            }
        })
        .await
    }

    /// A request that shows a key or a token; empty: none.
    pub(crate) fn request(&self, base: &str, method: Method, path: &str, shown: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{base}{path}"));
        match shown.trim() {
            "" => request,
            shown => request.bearer_auth(shown),
        }
    }

    pub(crate) async fn order(
        &self,
        method: Method,
        path: &str,
        shown: &str,
        body: Option<&Value>,
    ) -> Result<Reply> {
        self.ask(&self.order.url(), method, path, shown, body).await
    }

    pub(crate) async fn product(
        &self,
        method: Method,
        path: &str,
        shown: &str,
        body: Option<&Value>,
    ) -> Result<Reply> {
        self.ask(&self.product.url(), method, path, shown, body).await
    }

    /// What a listener of either service answers.
    pub(crate) async fn ask(
        &self,
        base: &str,
        method: Method,
        path: &str,
        shown: &str,
        body: Option<&Value>,
    ) -> Result<Reply> {
        let mut request = self.request(base, method, path, shown);
        if let Some(body) = body {
            request = request.json(body);
        }
        Reply::to(request).await
    }

    /// A product with stock; its id.
    pub(crate) async fn stocked(&self, stock: i64) -> Result<i64> {
        let body =
            json!({ "name": "a thing", "price": 4900, "stock": stock, "stockStrategy": "REDIS_FIRST" });
        let made = self
            .product(Method::POST, "/v1/products", ADMIN, Some(&body))
            .await?;
        made.body["id"].as_i64().with_context(|| format!("{made:?}"))
    }

    /// Waits until an order is CONFIRMED.
    pub(crate) async fn confirmed(&self, placed: &Reply, shown: &str) -> Result<()> {
        let path = format!("/v1/orders/{}", placed.body["id"]);
        wait_for("an order", PATIENCE, async || {
            let order = self.order(Method::GET, &path, shown, None).await;
            let order = order.map_err(|error| error.to_string())?;
            if order.body["status"] == "CONFIRMED" {
                Ok(())
            } else {
                Err(order.body.to_string())
            }
        })
        .await
    }

    /// The audit.
    pub(crate) async fn settled(&self, product: i64) -> Result<()> {
        let (orders, stock) = (&self.orders_url, &self.stack.database_url);
        books::orders::wait_until_settled(orders, stock, &[product], PATIENCE).await?;
        self.stack.wait_until_balanced(&[product], PATIENCE).await?;
        Ok(())
    }
}

/// Asks for keys, and has limits for a busy machine.
fn guarded(options: ServiceOptions) -> ServiceOptions {
    // printf %s KEY | sha256sum
    let keys = [
        "admin 5f142fcff08388c655d3962208547735c800265e7659462887985a56fc2aed92",
        "service dbb44024c03f27c88798a974789313961fa9d0a27ca8bbbe26f72c814f4fd097",
        "customer cb94ae5d544435a445d7e2114747774004e01a1e77911a29451a0a33f1c55a34 ada",
    ];
    options
        .env("HOTSTOCK__AUTH__MODE", "on")
        .env("HOTSTOCK__AUTH__KEYS", &format!("{keys:?}"))
        .env("HOTSTOCK__AUTH__JWT__ALGORITHM", "RS256")
        .env("HOTSTOCK__AUTH__JWT__PUBLIC_KEY_FILE", ISSUERS_KEY)
        .env("HOTSTOCK__AUTH__JWT__ISSUER", "shop")
        .env("HOTSTOCK__AUTH__JWT__AUDIENCE", "hotstock")
        .patient()
}
