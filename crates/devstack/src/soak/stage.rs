//! The stack of one soak: stores and broker of its own, instances of both services, a balancer in front of each service.

use std::path::Path;

use anyhow::Result;

use crate::balancer::{Balancer, Failures};
use crate::servers::{
    Durability, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, Redis, RedisOptions, Server,
};
use crate::service::{Service, ServiceOptions};

/// An instance goes on serving for so long when it is told to stop: many times [`crate::balancer::PROBE_INTERVAL`], for a
/// machine that is busy. Everything else is as shipped.
const SHUTDOWN_DELAY_MS: &str = "1000";

/// See the module. Dropping it ends everything.
pub struct Stage {
    /// Instances of product-service.
    pub products: Vec<Service>,
    /// Instances of order-service.
    pub orders: Vec<Service>,
    /// In front of product-service, also on the way from order-service.
    pub product_front: Balancer,
    /// In front of order-service.
    pub order_front: Balancer,
    /// Database of product-service.
    pub product_database_url: String,
    /// Database of order-service.
    pub order_database_url: String,
    /// The gate's Redis.
    pub redis: Redis,
    _postgres: Postgres,
    _rabbitmq: RabbitMq,
}

impl Stage {
    /// Starts `instances` of each service; returns when all are ready. `binaries` is the folder of the programs. Data and
    /// logs go below `dir` and stay there; commits are worth what they are in production.
    pub async fn set(binaries: &Path, instances: usize, dir: &Path) -> Result<Self> {
        let (postgres, redis, rabbitmq) = tokio::try_join!(
            Postgres::start(PostgresOptions {
                dir: Some(dir.join("postgres")),
                durability: Durability::Full,
                ..PostgresOptions::default()
            }),
            Redis::start(RedisOptions {
                dir: Some(dir.join("redis")),
                ..RedisOptions::default()
            }),
            RabbitMq::start(RabbitMqOptions {
                dir: Some(dir.join("rabbitmq")),
                ..RabbitMqOptions::default()
            }),
        )?;
        let product_database_url = postgres.create_database("product").await?;
        let order_database_url = postgres.create_database("order").await?;
        let service = |name: &str| {
            ServiceOptions::new(name, binaries.join(name))
                .amqp_url(&rabbitmq.url())
                .env("HOTSTOCK__SERVER__SHUTDOWN_DELAY_MS", SHUTDOWN_DELAY_MS)
                .env("HOTSTOCK__LOG__FILTER", "warn")
        };
        let product = service("product-service")
            .database_url(&product_database_url)
            .redis_url(&redis.url());
        let products = start(&product, "product-service", instances, dir).await?;
        let product_front = front(&products)?;
        let order = service("order-service")
            .database_url(&order_database_url)
            .env("HOTSTOCK__PRODUCT__URL", &product_front.url());
        let orders = start(&order, "order-service", instances, dir).await?;
        let order_front = front(&orders)?;
        product_front.all_ready().await;
        order_front.all_ready().await;
        Ok(Self {
            products,
            orders,
            product_front,
            order_front,
            product_database_url,
            order_database_url,
            redis,
            _postgres: postgres,
            _rabbitmq: rabbitmq,
        })
    }

    /// Every process that is watched, with its name.
    #[must_use]
    pub fn watched(&self) -> Vec<(String, Server)> {
        let named = |services: &[Service]| -> Vec<(String, Server)> {
            let services = services.iter().enumerate();
            let name =
                |(index, service): (usize, &Service)| (instance_name(service, index), Server::clone(service));
            services.map(name).collect()
        };
        let mut watched = named(&self.products);
        watched.extend(named(&self.orders));
        watched.push((String::from("Redis"), Server::clone(&self.redis)));
        watched
    }

    /// The instances in the order in which they are restarted, and the balancer in front of each: the two services by turns.
    #[must_use]
    pub fn in_turn(&self) -> Vec<(String, &Service, &Balancer)> {
        let both = self.products.iter().zip(&self.orders).enumerate();
        let pairs = both.flat_map(|(index, (product, order))| {
            [
                (instance_name(product, index), product, &self.product_front),
                (instance_name(order, index), order, &self.order_front),
            ]
        });
        pairs.collect()
    }

    /// What the balancers had to answer themselves.
    #[must_use]
    pub fn failures(&self) -> Failures {
        let (product, order) = (self.product_front.failures(), self.order_front.failures());
        Failures {
            unserved: product.unserved + order.unserved,
            broken: product.broken + order.broken,
        }
    }
}

fn instance_name(service: &Service, index: usize) -> String {
    format!("{} {}", service.name(), index + 1)
}

fn front(services: &[Service]) -> Result<Balancer> {
    let urls: Vec<String> = services.iter().map(Service::url).collect();
    Balancer::start(&urls)
}

async fn start(options: &ServiceOptions, name: &str, instances: usize, dir: &Path) -> Result<Vec<Service>> {
    let mut services = Vec::new();
    for index in 1..=instances {
        let options = options.clone().log_dir(dir.join(format!("{name}-{index}")));
        services.push(Service::start(options).await?);
    }
    Ok(services)
}
