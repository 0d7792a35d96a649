//! The ordinary design, well done: a Redis script takes the units, then one transaction per request writes the record
//! and the stock; a failed transaction puts the units back. Here only to be measured against.
//!
//! It gets what a careful team would give it: a script instead of two round trips, pooled connections to both stores,
//! prepared statements, a conditional update instead of a held lock, the idempotency record in the same transaction,
//! and tables with no index or trigger beyond what it needs.

use std::net::SocketAddr;
use std::sync::LazyLock;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use contracts::stock::{DecreaseByOrder, StockAnswer};
use deadpool_redis::redis::Script;
use diesel::prelude::*;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

/// Tables of the ordinary design.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE ordinary_products (id bigint PRIMARY KEY, stock bigint NOT NULL CHECK (stock >= 0)) \
        WITH (fillfactor = 50);\
    CREATE TABLE ordinary_ledger (request_id text PRIMARY KEY, product_id bigint NOT NULL, order_id bigint NOT NULL, \
        quantity bigint NOT NULL, remaining_stock bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now())";

diesel::table! {
    ordinary_products (id) {
        id -> BigInt,
        stock -> BigInt,
    }
}

diesel::table! {
    ordinary_ledger (request_id) {
        request_id -> Text,
        product_id -> BigInt,
        order_id -> BigInt,
        quantity -> BigInt,
        remaining_stock -> BigInt,
    }
}

/// Takes the units if there are enough, in one round trip: the counter after it, or -1.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local stock = tonumber(redis.call('GET', KEYS[1]) or '0') \
         if stock < tonumber(ARGV[1]) then return -1 end \
         return redis.call('DECRBY', KEYS[1], ARGV[1])",
    )
});

struct Stores {
    database: Pool<AsyncPgConnection>,
    redis: deadpool_redis::Pool,
}

/// Connections to each store. More made it slower here: they queue for one row.
const CONNECTIONS: usize = 32;

/// Serves `PATCH /v1/products/{id}/stock/decrease-by-order` until it is ended.
pub(crate) async fn serve(bind: SocketAddr, database: &str, redis: &str) -> anyhow::Result<()> {
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(database);
    let stores = web::Data::new(Stores {
        database: Pool::builder(manager).max_size(CONNECTIONS).build()?,
        redis: deadpool_redis::Pool::builder(deadpool_redis::Manager::new(redis)?)
            .max_size(CONNECTIONS)
            .build()?,
    });
    HttpServer::new(move || {
        App::new()
            .app_data(stores.clone())
            .route("/readyz", web::get().to(HttpResponse::Ok))
            .route(
                "/v1/products/{id}/stock/decrease-by-order",
                web::patch().to(decrease),
            )
    })
    .backlog(4096)
    .bind(bind)?
    .run()
    .await?;
    Ok(())
}

async fn decrease(
    stores: web::Data<Stores>,
    product: web::Path<i64>,
    request: HttpRequest,
    body: web::Json<DecreaseByOrder>,
) -> HttpResponse {
    let Some(key) = request
        .headers()
        .get("Idempotency-Key")
        .and_then(|key| key.to_str().ok())
    else {
        return HttpResponse::BadRequest().finish();
    };
    match sell(&stores, *product, key, &body).await {
        Ok(Some(remaining_stock)) => HttpResponse::Ok().json(StockAnswer {
            success: true,
            remaining_stock,
            message: "OK".to_owned(),
        }),
        Ok(None) => HttpResponse::BadRequest().json(serde_json::json!({ "error": "INSUFFICIENT_STOCK" })),
        Err(error) => {
            eprintln!("ordinary: {error:#}");
            HttpResponse::ServiceUnavailable().finish()
        }
    }
}

async fn sell(
    stores: &Stores,
    product: i64,
    key: &str,
    body: &DecreaseByOrder,
) -> anyhow::Result<Option<i64>> {
    let mut redis = stores.redis.get().await?;
    let counter = format!("ordinary:{product}");
    let taken: i64 = TAKE
        .key(&counter)
        .arg(body.quantity)
        .invoke_async(&mut redis)
        .await?;
    drop(redis);
    if taken < 0 {
        return Ok(None);
    }
    let sold = record(stores, product, key, body).await;
    if !matches!(sold, Ok(Some(_))) {
        let mut redis = stores.redis.get().await?;
        let () = redis::cmd("INCRBY")
            .arg(&counter)
            .arg(body.quantity)
            .query_async(&mut redis)
            .await?;
    }
    sold
}

async fn record(
    stores: &Stores,
    product: i64,
    key: &str,
    body: &DecreaseByOrder,
) -> anyhow::Result<Option<i64>> {
    let mut connection = stores.database.get().await?;
    let sold = connection
        .transaction(async |c| {
            let earlier = ordinary_ledger::table
                .filter(ordinary_ledger::request_id.eq(key))
                .select(ordinary_ledger::remaining_stock)
                .get_result::<i64>(c)
                .await
                .optional()?;
            if earlier.is_some() {
                return Ok(earlier);
            }
            let enough = ordinary_products::table
                .filter(ordinary_products::id.eq(product))
                .filter(ordinary_products::stock.ge(body.quantity));
            let remaining = diesel::update(enough)
                .set(ordinary_products::stock.eq(ordinary_products::stock - body.quantity))
                .returning(ordinary_products::stock)
                .get_result::<i64>(c)
                .await
                .optional()?;
            let Some(remaining) = remaining else {
                return Ok(None);
            };
            diesel::insert_into(ordinary_ledger::table)
                .values((
                    ordinary_ledger::request_id.eq(key),
                    ordinary_ledger::product_id.eq(product),
                    ordinary_ledger::order_id.eq(body.order_id),
                    ordinary_ledger::quantity.eq(body.quantity),
                    ordinary_ledger::remaining_stock.eq(remaining),
                ))
                .execute(c)
                .await?;
            Ok::<_, diesel::result::Error>(Some(remaining))
        })
        .await?;
    Ok(sold)
}
