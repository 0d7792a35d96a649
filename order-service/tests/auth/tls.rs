//! Everything encrypted: both services' listeners, Postgres, Redis, RabbitMQ, and the services' ways to each other. The
//! servers take nothing else.

use anyhow::{Context, Result};
use devstack::http::{Answer, HttpClient};
use devstack::{
    Certificates, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, Redis, RedisOptions, Service,
    ServiceOptions, books, ports, program_beside, wait_for,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::shop::{ORDER_SERVICE, PATIENCE};

const UNKNOWN: &str = "certificate signed by unknown authority";

struct World {
    dir: TempDir,
    tls: Certificates,
    /// An authority that has signed nothing here.
    other: Certificates,
    redis: Redis,
    rabbitmq: RabbitMq,
    stock_url: String,
    orders_url: String,
    // Last, so that it ends after whom it serves.
    _postgres: Postgres,
}

impl World {
    async fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let tls = Certificates::create(&dir.path().join("tls"))?;
        let other = Certificates::create(&dir.path().join("other"))?;
        let (postgres, redis, rabbitmq) = tokio::try_join!(
            Postgres::start(PostgresOptions {
                tls: Some(tls.clone()),
                ..PostgresOptions::default()
            }),
            Redis::start(RedisOptions {
                tls: Some(tls.clone()),
                ..RedisOptions::default()
            }),
            RabbitMq::start(RabbitMqOptions {
                tls: Some(tls.clone()),
                ..RabbitMqOptions::default()
            }),
        )?;
        Ok(Self {
            dir,
            tls,
            other,
            stock_url: postgres.create_database("stock").await?,
            orders_url: postgres.create_database("orders").await?,
            redis,
            rabbitmq,
            _postgres: postgres,
        })
    }

    /// product-service; order-service is at `orders_port`.
    async fn product(&self, orders_port: u16) -> Result<ServiceOptions> {
        let program = program_beside(ORDER_SERVICE, "product-service").await?;
        let options = ServiceOptions::new("product-service", program)
            .database_url(&self.stock_url)
            .redis_url(&self.redis.url())
            .amqp_url(&self.rabbitmq.url())
            .env("HOTSTOCK__SALE__ORDERS_TIMEOUT_MS", "20000")
            .env(
                "HOTSTOCK__SALE__ORDERS_URL",
                &format!("https://127.0.0.1:{orders_port}"),
            );
        Ok(self.encrypted(options, &["DATABASE", "REDIS", "RABBITMQ", "SALE"]))
    }

    fn order(&self, product_url: &str) -> ServiceOptions {
        let options = ServiceOptions::new("order-service", ORDER_SERVICE)
            .database_url(&self.orders_url)
            .amqp_url(&self.rabbitmq.url())
            .env("HOTSTOCK__PRODUCT__URL", product_url)
            .env("HOTSTOCK__PRODUCT__TIMEOUT_MS", "10000")
            .env("HOTSTOCK__PRODUCT__CONNECT_TIMEOUT_MS", "10000");
        self.encrypted(options, &["DATABASE", "RABBITMQ", "PRODUCT"])
    }

    fn encrypted(&self, options: ServiceOptions, sections: &[&str]) -> ServiceOptions {
        let options = options
            .tls(&self.tls)
            .patient()
            .env("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "10000");
        let believe = |options: ServiceOptions, section: &&str| believing(options, section, &self.tls);
        sections.iter().fold(options, believe)
    }
}

fn believing(options: ServiceOptions, section: &str, authority: &Certificates) -> ServiceOptions {
    options.env(
        &format!("HOTSTOCK__{section}__CA_FILE"),
        &authority.ca_file.to_string_lossy(),
    )
}

async fn ask(service: &Service, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
    let mut client = HttpClient::new(&service.url(), PATIENCE).map_err(anyhow::Error::msg)?;
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let key = format!("click-{:x}", rand::random::<u64>());
    let answer: Answer = client
        .request(method, path, &[("Idempotency-Key", key.as_str())], body)
        .await?;
    let body = serde_json::from_slice(&answer.body).unwrap_or_default();
    Ok((answer.status.as_u16(), body))
}

async fn stocked(product: &Service, stock: i64) -> Result<i64> {
    let body = json!({ "name": "a thing", "price": 4900, "stock": stock, "stockStrategy": "REDIS_FIRST" });
    let (status, made) = ask(product, Method::POST, "/v1/products", Some(body)).await?;
    made["id"].as_i64().with_context(|| format!("{status} {made}"))
}

/// Waits until a check of `/readyz` says this.
async fn ready(service: &Service, check: &str, state: &str) -> Result<()> {
    wait_for(&format!("{check}: {state}"), PATIENCE, async || {
        let (_, seen) = ask(service, Method::GET, "/readyz", None)
            .await
            .map_err(|error| error.to_string())?;
        let seen = if seen["checks"].is_null() {
            &seen["details"]["checks"]
        } else {
            &seen["checks"]
        };
        if seen[check] == state {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    })
    .await
}

/// Waits until a line of its log has both.
async fn logged(service: &Service, what: &str, why: &str) -> Result<()> {
    wait_for(&format!("a line with {what} and {why}"), PATIENCE, async || {
        let log = std::fs::read_to_string(service.log_path()).map_err(|error| error.to_string())?;
        match log.lines().any(|line| line.contains(what) && line.contains(why)) {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_everything_encrypted_orders_are_confirmed_and_whoever_is_not_believed_is_refused() -> Result<()>
{
    let world = World::new().await?;
    orders_are_confirmed(&world).await?;
    wrong_authorities_are_told(&world).await
}

async fn orders_are_confirmed(world: &World) -> Result<()> {
    let orders_port = ports::free_port()?;
    let product = Service::start(world.product(orders_port).await?).await?;
    let order = Service::start(world.order(&product.url()).preferred_port(orders_port)).await?;
    for service in [&product, &order] {
        ready(service, "rabbitmq", "ok").await?;
    }
    ready(&product, "redis", "ok").await?;
    let id = stocked(&product, 5).await?;
    let body = json!({ "productId": id, "quantity": 1, "buyerId": "ada" });
    let (status, first) = ask(&order, Method::POST, "/v1/orders", Some(body.clone())).await?;
    assert_eq!((status, &first["status"]), (201, &json!("CONFIRMED")), "{first}");
    let (status, second) = ask(&order, Method::POST, "/v2/orders", Some(body)).await?;
    assert_eq!(status, 202, "{second}");
    wait_for("the order by message", PATIENCE, async || {
        let path = format!("/v1/orders/{}", second["id"]);
        let (_, seen) = ask(&order, Method::GET, &path, None)
            .await
            .map_err(|error| error.to_string())?;
        if seen["status"] == "CONFIRMED" {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    })
    .await?;
    // The buy button: by way of product-service.
    let click = json!({ "quantity": 1, "buyerId": "ada" });
    let (status, third) = ask(&product, Method::POST, &format!("/sale/{id}/orders"), Some(click)).await?;
    assert_eq!((status, &third["status"]), (201, &json!("CONFIRMED")), "{third}");
    books::orders::wait_until_settled(&world.orders_url, &world.stock_url, &[id], PATIENCE).await?;
    let redis_url = world.redis.url();
    books::wait_until_balanced(&world.stock_url, Some(&redis_url), &[id], PATIENCE).await?;
    for service in [&order, &product] {
        assert_eq!(service.terminate().await?, 0);
    }
    Ok(())
}

/// Each connection in turn, to a server whose certificate somebody else has signed.
async fn wrong_authorities_are_told(world: &World) -> Result<()> {
    let product = || world.product(1);
    // The database: no start at all.
    let started = Service::start(believing(product().await?, "DATABASE", &world.other)).await;
    let error = started.err().context("a start")?.to_string();
    assert!(error.contains("Postgres") && error.contains(UNKNOWN), "{error}");
    // Nor in the clear.
    let (plain_url, _) = world.stock_url.split_once('?').context("sslmode")?;
    let started = product()
        .await?
        .database_url(plain_url)
        .env("HOTSTOCK__DATABASE__CA_FILE", "");
    let error = Service::start(started)
        .await
        .err()
        .context("a start")?
        .to_string();
    assert!(error.contains("no encryption"), "{error}");
    // A file that is not there is named with its key, whatever it is for.
    let nowhere = world
        .dir
        .path()
        .join("nowhere.pem")
        .to_string_lossy()
        .into_owned();
    for key in [
        "database.ca_file",
        "redis.ca_file",
        "rabbitmq.ca_file",
        "sale.ca_file",
        "server.tls.key_file",
    ] {
        let variable = format!("HOTSTOCK__{}", key.to_ascii_uppercase().replace('.', "__"));
        let started = Service::start(product().await?.env(&variable, &nowhere)).await;
        let error = started.err().context("a start")?.to_string();
        assert!(error.contains(&format!("key `{key}` is `{nowhere}`")), "{error}");
    }

    // Redis and the broker may be away: they are, and the log says why.
    let half = believing(product().await?, "REDIS", &world.other);
    let half = Service::start(believing(half, "RABBITMQ", &world.other)).await?;
    for check in ["redis", "rabbitmq"] {
        ready(&half, check, "unavailable").await?;
    }
    logged(&half, "no connection to Redis", UNKNOWN).await?;
    logged(&half, "no connection to RabbitMQ", UNKNOWN).await?;

    let order = Service::start(believing(world.order(&half.url()), "PRODUCT", &world.other)).await?;
    let body = json!({ "productId": stocked(&half, 5).await?, "quantity": 1, "buyerId": "ada" });
    let (status, failed) = ask(&order, Method::POST, "/v1/orders", Some(body)).await?;
    assert_eq!(
        (status, &failed["error"]),
        (424, &json!("DEPENDENCY_FAILED")),
        "{failed}"
    );
    logged(&order, "product-service cannot be reached", UNKNOWN).await
}
