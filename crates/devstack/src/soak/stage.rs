//! The stack of one soak: stores and broker, instances of both services, a balancer in front of each service.

use std::path::Path;

use anyhow::Result;

use crate::balancer::{Balancer, Failures};
use crate::load::Stores;
use crate::servers::{
    Durability, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, Redis, RedisOptions, Server,
    shared_postgres, shared_rabbitmq, shared_redis,
};
use crate::service::{Service, ServiceOptions};

/// An instance goes on serving for so long when it is told to stop: many times [`crate::balancer::PROBE_INTERVAL`], for a
/// machine that is busy. Everything else is as shipped.
const SHUTDOWN_DELAY_MS: &str = "1000";

/// The gate's Redis among what is watched.
pub const REDIS: &str = "Redis";

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
    servers: Servers,
}

/// What the services stand on.
pub struct Servers {
    product_database_url: String,
    order_database_url: String,
    redis_url: String,
    amqp_url: String,
    redis: Redis,
    _postgres: Postgres,
    _rabbitmq: RabbitMq,
}

impl Servers {
    /// Of its own, data and logs below `dir`; commits are worth what they are in production.
    pub async fn own(dir: &Path) -> Result<Self> {
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
        Ok(Self {
            product_database_url: postgres.create_database("product").await?,
            order_database_url: postgres.create_database("order").await?,
            redis_url: redis.url(),
            amqp_url: rabbitmq.url(),
            redis,
            _postgres: postgres,
            _rabbitmq: rabbitmq,
        })
    }

    /// Databases of its own on the servers that all tests of this process share.
    pub async fn shared() -> Result<Self> {
        let (postgres, redis, rabbitmq) =
            tokio::try_join!(shared_postgres(), shared_redis(), shared_rabbitmq())?;
        Ok(Self {
            product_database_url: postgres.create_unique_database("product").await?,
            order_database_url: postgres.create_unique_database("orders").await?,
            redis_url: redis.create_database()?,
            amqp_url: rabbitmq.create_virtual_host()?,
            redis: redis.clone(),
            _postgres: postgres.clone(),
            _rabbitmq: rabbitmq.clone(),
        })
    }
}

impl Stage {
    /// Starts `instances` of each service; returns when all are ready. `binaries` is the folder of the programs. Logs go
    /// below `dir` and stay there.
    pub async fn set(binaries: &Path, instances: usize, servers: Servers, dir: &Path) -> Result<Self> {
        let service = |name: &str| {
            ServiceOptions::new(name, binaries.join(name))
                .amqp_url(&servers.amqp_url)
                .env("HOTSTOCK__SERVER__SHUTDOWN_DELAY_MS", SHUTDOWN_DELAY_MS)
                .env("HOTSTOCK__LOG__FILTER", "warn")
        };
        let product = service("product-service")
            .database_url(&servers.product_database_url)
            .redis_url(&servers.redis_url);
        let products = start(&product, "product-service", instances, dir).await?;
        let product_front = front(&products)?;
        let order = service("order-service")
            .database_url(&servers.order_database_url)
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
            servers,
        })
    }

    /// Where the books are.
    #[must_use]
    pub fn stores(&self) -> Stores {
        Stores {
            database_url: self.servers.product_database_url.clone(),
            redis_url: Some(self.servers.redis_url.clone()),
            orders_url: Some(self.servers.order_database_url.clone()),
        }
    }

    /// The gate's Redis.
    #[must_use]
    pub fn redis_url(&self) -> &str {
        &self.servers.redis_url
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
        watched.push((REDIS.to_owned(), Server::clone(&self.servers.redis)));
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
