//! The designs that hotstock is measured against. They live here only.
//!
//! Each gets what a careful team would give it: pooled connections, prepared statements, as few round trips as the design
//! allows, tables with no index or check beyond what it needs. hotstock keeps all of its own. They answer over the same
//! HTTP server, parse the same body and are asked by the same clients.

mod conditional_update;
mod ordinary;
mod row_lock;
mod seed;

use std::net::SocketAddr;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use contracts::stock::{DecreaseByOrder, StockAnswer};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Transaction};
use redis::AsyncCommands;
use tokio_postgres::{Client, NoTls};

use crate::stage::{connect, redis_connection};

/// What competes with hotstock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Design {
    /// The gate, then a transaction per request
    Ordinary,
    /// A transaction per request, under a row lock
    RowLock,
    /// One conditional statement per request
    ConditionalUpdate,
    /// The algorithm of the project hotstock began with
    Seed,
    /// Parses and answers, and does nothing
    Nothing,
}

impl Design {
    /// As the command line spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::RowLock => "row_lock",
            Self::ConditionalUpdate => "conditional_update",
            Self::Seed => "seed",
            Self::Nothing => "nothing",
        }
    }

    fn has_gate(self) -> bool {
        matches!(self, Self::Ordinary | Self::Seed)
    }
}

/// Tables of all of them. Only the seed has separate idempotency records.
const SCHEMA: &str = "\
    CREATE TABLE products (id bigint PRIMARY KEY, stock bigint NOT NULL CHECK (stock >= 0)) WITH (fillfactor = 50);\
    CREATE TABLE ledger (request_id text PRIMARY KEY, product_id bigint NOT NULL, order_id bigint NOT NULL, \
        quantity bigint NOT NULL, remaining_stock bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now());\
    CREATE TABLE idempotency (request_id text PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now())";

/// Connections to each store. More made all of them slower here: they queue for one row.
const CONNECTIONS: usize = 32;

/// One request, parsed.
struct Sale<'a> {
    product: i64,
    key: &'a str,
    order: i64,
    quantity: i64,
}

/// Both stores, pooled.
struct Stores {
    database: Pool,
    redis: deadpool_redis::Pool,
}

/// Stock after the sale; `None`: sold out.
type Sold = Result<Option<i64>>;

impl Stores {
    fn new(database: &str, redis: &str) -> Result<Self> {
        let manager = Manager::from_config(
            database.parse()?,
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        Ok(Self {
            database: Pool::builder(manager).max_size(CONNECTIONS).build()?,
            redis: deadpool_redis::Pool::builder(deadpool_redis::Manager::new(redis)?)
                .max_size(CONNECTIONS)
                .build()?,
        })
    }

    async fn sell(&self, design: Design, sale: &Sale<'_>) -> Sold {
        match design {
            Design::Ordinary => ordinary::sell(self, sale).await,
            Design::RowLock => row_lock::sell(self, sale).await,
            Design::ConditionalUpdate => conditional_update::sell(self, sale).await,
            Design::Seed => seed::sell(self, sale).await,
            Design::Nothing => Ok(Some(1)),
        }
    }
}

/// Serves `PATCH /v1/products/{id}/stock/decrease-by-order` until it is ended. Says yes to everything else, as a collector of
/// traces does.
pub(crate) async fn serve(design: Design, bind: SocketAddr, database: &str, redis: &str) -> Result<()> {
    let stores = web::Data::new(Stores::new(database, redis)?);
    let decrease = move |stores: web::Data<Stores>,
                         product: web::Path<i64>,
                         request: HttpRequest,
                         body: web::Json<DecreaseByOrder>| async move {
        decrease(design, &stores, *product, &request, &body).await
    };
    let path = "/v1/products/{id}/stock/decrease-by-order";
    HttpServer::new(move || {
        App::new()
            .app_data(stores.clone())
            .route(path, web::patch().to(decrease))
            .default_service(web::to(HttpResponse::Ok))
    })
    .backlog(4096)
    .bind(bind)?
    .run()
    .await?;
    Ok(())
}

async fn decrease(
    design: Design,
    stores: &Stores,
    product: i64,
    request: &HttpRequest,
    body: &DecreaseByOrder,
) -> HttpResponse {
    let key = request.headers().get("Idempotency-Key");
    let Some(key) = key.and_then(|key| key.to_str().ok()) else {
        return HttpResponse::BadRequest().finish();
    };
    let sale = Sale {
        product,
        key,
        order: body.order_id,
        quantity: body.quantity,
    };
    match stores.sell(design, &sale).await {
        Ok(Some(remaining_stock)) => HttpResponse::Ok().json(StockAnswer {
            success: true,
            remaining_stock,
            message: "OK".to_owned(),
        }),
        Ok(None) => HttpResponse::BadRequest().json(serde_json::json!({ "error": "INSUFFICIENT_STOCK" })),
        Err(error) => {
            eprintln!("{}: {error:#}", design.word());
            HttpResponse::ServiceUnavailable().finish()
        }
    }
}

/// Makes the tables, and the product that is sold.
pub(crate) async fn prepare(
    design: Design,
    database: &str,
    redis: &str,
    product: i64,
    stock: i64,
) -> Result<()> {
    let client = connect(database).await?;
    client.batch_execute(SCHEMA).await?;
    let insert = "INSERT INTO products (id, stock) VALUES ($1, $2)";
    client.execute(insert, &[&product, &stock]).await?;
    if design.has_gate() {
        let () = redis_connection(redis)
            .await?
            .set(counter(product), stock)
            .await?;
    }
    Ok(())
}

/// Whether ledger, stock and counter agree with what the clients were told: `sold` for sure, `unknown` perhaps.
pub(crate) async fn check(
    design: Design,
    database: &str,
    redis: &str,
    product: i64,
    stock: i64,
    (sold, unknown): (i64, i64),
) -> Result<()> {
    if design == Design::Nothing {
        return Ok(());
    }
    let client = connect(database).await?;
    let ledger = one(
        &client,
        "SELECT coalesce(sum(quantity), 0)::bigint FROM ledger WHERE product_id = $1",
        product,
    )
    .await?;
    let left = one(&client, "SELECT stock FROM products WHERE id = $1", product).await?;
    ensure!(
        (sold..=sold + unknown).contains(&ledger) && left == stock - ledger,
        "{}: clients bought {sold}, ledger {ledger}, stock {left} of {stock}",
        design.word()
    );
    if design.has_gate() && unknown == 0 {
        let counter: i64 = redis_connection(redis).await?.get(counter(product)).await?;
        ensure!(
            counter == left,
            "{}: counter {counter}, stock {left}",
            design.word()
        );
    }
    Ok(())
}

async fn one(client: &Client, query: &str, product: i64) -> Result<i64> {
    let row = client.query_one(query, &[&product]).await;
    Ok(row.with_context(|| query.to_owned())?.try_get(0)?)
}

fn counter(product: i64) -> String {
    format!("rival:{product}")
}

/// What an earlier request with the same key was told.
const EARLIER: &str = "SELECT remaining_stock FROM ledger WHERE request_id = $1";

/// Writes the record of a sale, in the transaction that makes it, and commits both.
async fn commit(transaction: Transaction<'_>, sale: &Sale<'_>, remaining: i64) -> Sold {
    let insert = "INSERT INTO ledger (request_id, product_id, order_id, quantity, remaining_stock) \
                  VALUES ($1, $2, $3, $4, $5)";
    let insert = transaction.prepare_cached(insert).await?;
    transaction
        .execute(
            &insert,
            &[&sale.key, &sale.product, &sale.order, &sale.quantity, &remaining],
        )
        .await?;
    transaction.commit().await?;
    Ok(Some(remaining))
}
