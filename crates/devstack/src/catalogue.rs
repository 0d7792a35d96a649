//! Products made through the HTTP API, for the launcher's seed and the load tool.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use contracts::product::{CreateProduct, StockStrategy};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::http::{Answer, HttpClient};

const TIMEOUT: Duration = Duration::from_secs(10);

/// `POST /v1/products`; returns the new product's id.
pub async fn create_product(
    product_url: &str,
    name: &str,
    price: i64,
    stock: i64,
    is_hot: bool,
) -> Result<i64> {
    let strategy = if is_hot {
        StockStrategy::RedisFirst
    } else {
        StockStrategy::DbOnly
    };
    let body = CreateProduct {
        name: name.to_owned(),
        price,
        stock,
        stock_strategy: Some(strategy),
        purchase_limit: None,
        sale_starts_at: None,
        sale_ends_at: None,
    };
    let answer = ask(
        product_url,
        Method::POST,
        "/v1/products",
        serde_json::to_vec(&body)?,
    )
    .await?;
    let product = expect(&answer, StatusCode::CREATED, "POST /v1/products")?;
    product["id"]
        .as_i64()
        .with_context(|| format!("the new product has no id: {product}"))
}

/// `PATCH /v1/products/{id}`: no buyer may own more units than `limit`.
pub async fn limit_purchases(product_url: &str, product_id: i64, limit: i64) -> Result<()> {
    let path = format!("/v1/products/{product_id}");
    let body = serde_json::to_vec(&serde_json::json!({ "purchaseLimit": limit }))?;
    let answer = ask(product_url, Method::PATCH, &path, body).await?;
    expect(&answer, StatusCode::OK, &format!("PATCH {path}")).map(drop)
}

/// How many products there are.
pub async fn count_products(product_url: &str) -> Result<i64> {
    let path = "/v1/products?page=0&size=1";
    let answer = ask(product_url, Method::GET, path, Vec::new()).await?;
    let page = expect(&answer, StatusCode::OK, "GET /v1/products")?;
    page["totalElements"]
        .as_i64()
        .with_context(|| format!("the page has no totalElements: {page}"))
}

/// `POST /admin/products/{id}/load-stock-redis`: the gate is loaded and the product hot afterwards.
pub async fn load_gate(product_admin_url: &str, product_id: i64) -> Result<()> {
    let path = format!("/admin/products/{product_id}/load-stock-redis");
    let answer = ask(product_admin_url, Method::POST, &path, Vec::new()).await?;
    if !answer.status.is_success() {
        expect(&answer, StatusCode::OK, &format!("POST {path}"))?;
    }
    Ok(())
}

async fn ask(base_url: &str, method: Method, path: &str, body: Vec<u8>) -> Result<Answer> {
    let mut client = HttpClient::new(base_url, TIMEOUT).map_err(anyhow::Error::msg)?;
    let what = format!("{method} {base_url}{path}");
    client
        .request(method, path, &[], body)
        .await
        .with_context(|| what)
}

fn expect(answer: &Answer, status: StatusCode, what: &str) -> Result<Value> {
    if answer.status != status {
        bail!(
            "{what} answered {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
    }
    serde_json::from_slice(&answer.body).with_context(|| format!("{what} answered no JSON"))
}
