//! Both services work with no more than the rights they are shipped with, and those are no more than they need.

use std::path::Path;

use anyhow::{Context, Result};
use devstack::{Postgres, Redis, RedisOptions, TestStack, shared_postgres};
use platform::config::Secret;
use platform::database::migrate;
use reqwest::Method;
use serde_json::json;
use tokio_postgres::NoTls;

use crate::shop::{ADMIN, CUSTOMER, SERVICE, Shop};

/// What the user of every day may not do in the product database.
const FORBIDDEN_TO_PRODUCT: [(&str, &str); 10] = [
    ("CREATE TABLE more (id int)", "permission denied"),
    ("ALTER TABLE products ADD COLUMN more int", "must be owner"),
    ("ALTER TABLE stock_ledger DISABLE TRIGGER ALL", "must be owner"),
    ("DROP TABLE stock_ledger", "must be owner"),
    (
        "DROP TRIGGER stock_ledger_append_only ON stock_ledger",
        "must be owner",
    ),
    ("TRUNCATE tombstones", "permission denied"),
    ("TRUNCATE stock_ledger CASCADE", "permission denied"),
    ("UPDATE stock_ledger SET quantity = 2", "append only"),
    ("DELETE FROM stock_ledger", "append only"),
    ("SET ROLE hotstock", "permission denied"),
];
const FORBIDDEN_TO_ORDERS: [(&str, &str); 3] = [
    ("CREATE TABLE more (id int)", "permission denied"),
    ("DROP TABLE orders", "must be owner"),
    ("TRUNCATE outbox", "permission denied"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_services_work_with_exactly_the_rights_that_are_shipped() -> Result<()> {
    let postgres = shared_postgres().await?;
    let redis = Redis::start(RedisOptions {
        gate_user: true,
        ..RedisOptions::default()
    })
    .await?;
    let name = |what: &str| format!("{what}_{}", std::process::id());
    let (product_name, orders_name) = (name("product"), name("orders"));
    let products = postgres.create_database_with_roles(&product_name).await?;
    let orders = postgres.create_database_with_roles(&orders_name).await?;
    let stack = TestStack {
        postgres: Postgres::clone(postgres),
        redis: redis.clone(),
        database_url: products.app.clone(),
        redis_url: redis.gate_url(),
    };
    let owners = [("product", &products.owner), ("order", &orders.owner)];
    let mut shop = Shop::owned(stack, orders.app.clone(), owners).await?;

    let product = shop.stocked(10).await?;
    let load = format!("/admin/products/{product}/load-stock-redis");
    let body = json!({ "productId": product, "quantity": 1 });
    let admin = shop.product.admin_url();
    let loaded = shop.request(&admin, Method::POST, &load, ADMIN).send().await?;
    assert_eq!(loaded.status(), 200);
    let placed = shop
        .order(Method::POST, "/v1/orders", CUSTOMER, Some(&body))
        .await?;
    assert_eq!(placed.status, 201, "{placed:?}");
    let later = shop
        .order(Method::POST, "/v2/orders", SERVICE, Some(&body))
        .await?;
    shop.confirmed(&later, SERVICE).await?;
    let cancel = format!("/v1/orders/{}/cancel", placed.body["id"]);
    let cancelled = shop.order(Method::POST, &cancel, CUSTOMER, None).await?;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let audits = shop
        .request(&admin, Method::GET, "/admin/stock/audit", ADMIN)
        .send()
        .await?;
    let audits: serde_json::Value = audits.json().await?;
    assert_eq!(audits[0]["gate"]["drift"], 0, "{audits}");
    // Judged with the rights of somebody who may look at everything.
    shop.orders_url = postgres.url(&orders_name);
    shop.stack.database_url = postgres.url(&product_name);
    shop.stack.redis_url = redis.url();
    shop.settled(product).await?;

    refuses(&products.app, &FORBIDDEN_TO_PRODUCT).await?;
    refuses(&orders.app, &FORBIDDEN_TO_ORDERS).await?;
    let (server, _) = products.app.rsplit_once('/').context("a database")?;
    let elsewhere = format!("{server}/{orders_name}");
    let error = tokio_postgres::connect(&elsewhere, NoTls)
        .await
        .err()
        .context("refused")?;
    assert!(format!("{error:?}").contains("permission denied"), "{error:?}");
    redis_refuses(&redis.gate_url(), product).await
}

/// A stack that was begun before there were roles goes on with them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_the_roles_is_theirs_as_well() -> Result<()> {
    let postgres = shared_postgres().await?;
    let name = format!("before_{}", std::process::id());
    let before = Secret::new(postgres.create_database(&name).await?);
    migrate(&before, Path::new(""), order_service::db::migrations()).await?;
    let roles = postgres.create_database_with_roles(&name).await?;
    let next = "SELECT nextval('orders_id_seq'); SELECT FROM orders; SELECT FROM outbox";
    connect(&roles.app).await?.batch_execute(next).await?;
    let change = "ALTER TABLE orders ADD COLUMN more int";
    connect(&roles.owner).await?.batch_execute(change).await?;
    refuses(&roles.app, &FORBIDDEN_TO_ORDERS).await
}

async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn refuses(url: &str, statements: &[(&str, &str)]) -> Result<()> {
    let client = connect(url).await?;
    for (statement, why) in statements {
        let error = client
            .batch_execute(statement)
            .await
            .err()
            .with_context(|| format!("{statement} is allowed"))?;
        assert!(format!("{error:?}").contains(why), "{statement}: {error:?}");
    }
    Ok(())
}

async fn redis_refuses(url: &str, product: i64) -> Result<()> {
    let mut gate = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    for command in [
        vec!["FLUSHALL"],
        vec!["FLUSHDB"],
        vec!["KEYS", "*"],
        vec!["CONFIG", "GET", "*"],
        vec!["ACL", "WHOAMI"],
        vec!["SHUTDOWN"],
        vec!["SCRIPT", "FLUSH"],
        vec!["EVAL", "return 1", "0"],
        vec!["PUBLISH", "a", "b"],
        vec!["GET", "another:key"],
    ] {
        let answer = redis::cmd(command[0])
            .arg(&command[1..])
            .query_async::<redis::Value>(&mut gate)
            .await;
        let error = answer.err().with_context(|| format!("{command:?} is allowed"))?;
        assert_eq!(error.code(), Some("NOPERM"), "{command:?}: {error}");
    }
    let key = format!("stock:{{{product}}}");
    let counter: Option<i64> = redis::cmd("GET").arg(key).query_async(&mut gate).await?;
    assert_eq!(counter, Some(9));
    Ok(())
}
