//! Both services on servers of their own.

use anyhow::{Context, Result, ensure};
use devstack::{Service, ServiceOptions, TestStack, program_beside, shared_rabbitmq};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

const ORDER_SERVICE: &str = env!("CARGO_BIN_EXE_order-service");

pub(crate) struct World {
    pub(crate) stack: TestStack,
    pub(crate) product: Service,
    pub(crate) order: Service,
    pub(crate) client: Client,
}

impl World {
    /// Everything there, with further settings of product-service. Redis is of this world alone.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Result<Self> {
        let (stack, broker) = tokio::try_join!(TestStack::private(), shared_rabbitmq())?;
        let amqp_url = broker.create_virtual_host()?;
        let program = program_beside(ORDER_SERVICE, "product-service").await?;
        let options = settings.iter().fold(
            stack.service("product-service", program),
            |options, (key, value)| options.env(key, value),
        );
        let product = Service::start(options.amqp_url(&amqp_url)).await?;
        let orders_url = stack.postgres.create_unique_database("orders").await?;
        let order = ServiceOptions::new("order-service", ORDER_SERVICE)
            .database_url(&orders_url)
            .amqp_url(&amqp_url)
            .env("HOTSTOCK__PRODUCT__URL", &product.url());
        Ok(Self {
            stack,
            product,
            order: Service::start(order).await?,
            client: Client::new(),
        })
    }

    /// What a service says of itself.
    pub(crate) async fn scrape(&self, service: &Service) -> Result<String> {
        let reply = self.client.get(format!("{}/metrics", service.admin_url())).send();
        Ok(reply.await?.error_for_status()?.text().await?)
    }

    /// A hot product.
    pub(crate) async fn hot_product(&self, stock: i64) -> Result<i64> {
        let body = json!({ "name": "Edition", "price": 100, "stock": stock, "stockStrategy": "REDIS_FIRST" });
        let reply = self
            .client
            .post(format!("{}/v1/products", self.product.url()))
            .json(&body)
            .send()
            .await?;
        ensure!(reply.status() == StatusCode::CREATED, "{}", reply.status());
        let product: Value = reply.json().await?;
        product["id"].as_i64().context("a product has an id")
    }
}
