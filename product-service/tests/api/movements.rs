//! Movements: the ledger as it is shown.

use anyhow::Result;
use serde_json::{Value, json};

use crate::fixture::{DB_ONLY, REDIS_FIRST, STRATEGIES, Shop, TestResult, new_order};

async fn movements(shop: &Shop, product: i64, query: &str) -> Result<Value> {
    let reply = shop
        .get(&format!("/v1/products/{product}/stock/movements?{query}"))
        .await?;
    assert_eq!(reply.status, 200, "{query}: {reply:?}");
    Ok(reply.body)
}

fn column(page: &Value, field: &str) -> Vec<Value> {
    let rows = page["content"].as_array().into_iter().flatten();
    rows.map(|row| row[field].clone()).collect()
}

#[tokio::test]
async fn movements_are_listed_newest_first() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 10).await?;
        let order = new_order();
        shop.take_for(product, order, 3, "ann").await?.remaining();
        shop.give_back(product, order, 3).await?.remaining();
        shop.adjust(product, &format!("ADJ-{order}"), -4)
            .await?
            .remaining();
        shop.take(product, new_order(), 11)
            .await?
            .refused(400, "INSUFFICIENT_STOCK");
        shop.give_back(product, new_order(), 1).await?.remaining();

        let page = movements(&shop, product, "").await?;
        for (field, expected) in [
            ("stockVersion", json!([4, 3, 2, 1])),
            (
                "reason",
                json!(["MANUAL", "ORDER_INCREMENT", "ORDER_DECREMENT", "INITIAL"]),
            ),
            ("direction", json!(["OUT", "IN", "OUT", "IN"])),
            ("quantity", json!([4, 3, 3, 10])),
            ("balanceAfter", json!([6, 10, 7, 10])),
            ("orderId", json!([null, order, order, null])),
            ("buyerId", json!([null, "ann", "ann", null])),
            ("productId", json!([product, product, product, product])),
        ] {
            assert_eq!(Value::Array(column(&page, field)), expected, "{field}");
        }
        assert_eq!(
            (&page["totalElements"], &page["totalPages"]),
            (&json!(4), &json!(1))
        );
        shop.balanced(product).await?;
    }
    Ok(())
}

#[tokio::test]
async fn movements_are_filtered_and_paged() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 10).await?;
    let (order, other) = (new_order(), new_order());
    shop.take(product, order, 1).await?.remaining();
    shop.take(product, other, 1).await?.remaining();
    shop.give_back(product, order, 1).await?.remaining();
    for (query, versions) in [
        (format!("orderId={order}"), json!([4, 2])),
        (format!("requestId=DEC-{other}"), json!([3])),
        (format!("requestId=INC-{order}"), json!([4])),
        (format!("requestId=INC-{order}&orderId={order}"), json!([4])),
        (format!("requestId=INC-{order}&orderId={other}"), json!([])),
        ("requestId=DEC-0".to_owned(), json!([])),
        ("orderId=-5".to_owned(), json!([])),
        ("page=0&size=3".to_owned(), json!([4, 3, 2])),
        ("page=1&size=3".to_owned(), json!([1])),
        ("page=2&size=3".to_owned(), json!([])),
    ] {
        let page = movements(&shop, product, &query).await?;
        assert_eq!(Value::Array(column(&page, "stockVersion")), versions, "{query}");
    }
    let page = movements(&shop, product, "size=3").await?;
    assert_eq!(
        (&page["totalElements"], &page["totalPages"]),
        (&json!(4), &json!(2))
    );
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn movements_of_nothing_are_refused_or_empty() -> TestResult {
    let shop = Shop::shared().await?;
    let empty = shop.product(DB_ONLY, 0).await?;
    assert_eq!(movements(&shop, empty, "").await?["content"], json!([]));
    shop.get("/v1/products/999999999/stock/movements")
        .await?
        .refused(404, "PRODUCT_NOT_FOUND");
    for query in [
        "size=0",
        "size=101",
        "page=-1",
        "orderId=x",
        "requestId=",
        "requestId=a%20b",
        "colour=red",
    ] {
        let reply = shop
            .get(&format!("/v1/products/{empty}/stock/movements?{query}"))
            .await?;
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
        reply.refused(400, "VALIDATION_ERROR");
    }
    Ok(())
}
