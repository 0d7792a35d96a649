//! No secret gets into a log, however much is logged.

use anyhow::{Context, Result};
use devstack::TestStack;
use reqwest::Method;
use serde_json::json;

use crate::shop::{ADMIN, CUSTOMER, SERVICE, Shop, TOKEN};

const DATABASE_PASSWORD: &str = "password-of-postgres-11";
const REDIS_PASSWORD: &str = "password-of-redis-22";
const BROKER_PASSWORD: &str = "broker-password";
const JWT_SECRET: &str = "secret-of-tokens-0123456789abcdef";

/// The url with another user, who has this password.
fn with_login(url: &str, login: &str) -> Result<String> {
    let (scheme, rest) = url.split_once("://").context("a url")?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    Ok(format!("{scheme}://{login}@{host}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_gets_into_a_log_even_at_trace_level() -> Result<()> {
    let mut stack = TestStack::shared().await?;
    let orders_url = stack.postgres.create_unique_database("orders").await?;
    let login = format!("hotstock:{DATABASE_PASSWORD}");
    stack.database_url = with_login(&stack.database_url, &login)?;
    let orders_url = with_login(&orders_url, &login)?;
    let redis = redis::Client::open(stack.redis_url.as_str())?;
    let mut connection = redis.get_multiplexed_async_connection().await?;
    let user = [
        "SETUSER",
        "gate",
        "on",
        &format!(">{REDIS_PASSWORD}"),
        "~*",
        "&*",
        "+@all",
    ];
    redis::cmd("ACL")
        .arg(&user)
        .query_async::<()>(&mut connection)
        .await?;
    stack.redis_url = with_login(&stack.redis_url, &format!("gate:{REDIS_PASSWORD}"))?;

    let shop = Shop::on(
        stack,
        orders_url,
        &[
            ("HOTSTOCK__LOG__FILTER", "trace"),
            ("HOTSTOCK__AUTH__JWT__SECRET", JWT_SECRET),
        ],
    )
    .await?;
    let product = shop.stocked(10).await?;
    let body = json!({ "productId": product, "quantity": 1 });
    for path in ["/v1/orders", "/v2/orders"] {
        for shown in [CUSTOMER, TOKEN, SERVICE, "key-of-nobody-at-all"] {
            shop.order(Method::POST, path, shown, Some(&body)).await?;
        }
    }
    shop.product(Method::DELETE, "/v1/products/1", "key-of-nobody-at-all", None)
        .await?;
    shop.settled(product).await?;
    for service in [&shop.product, &shop.order] {
        assert_eq!(service.terminate().await?, 0);
        let log = std::fs::read_to_string(service.log_path())?;
        // That there is something to find at all.
        assert!(
            log.contains("TRACE") && log.contains("gate") | log.contains("hotstock"),
            "{}",
            log.len()
        );
        for secret in [
            DATABASE_PASSWORD,
            REDIS_PASSWORD,
            BROKER_PASSWORD,
            JWT_SECRET,
            ADMIN,
            SERVICE,
            CUSTOMER,
            TOKEN.trim(),
            "key-of-nobody-at-all",
        ] {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{} logs a secret", service.name());
        }
    }
    Ok(())
}
