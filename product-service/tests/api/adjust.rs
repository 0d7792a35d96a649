//! Adjust: stock corrected by hand.

use serde_json::json;

use crate::fixture::{DB_ONLY, REDIS_FIRST, STRATEGIES, Shop, TestResult, new_order};

#[tokio::test]
async fn stock_is_never_adjusted_below_zero() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 5).await?;
        let key = format!("ADJ-{}", new_order());
        for delta in [-6, -1_000_000_000_000] {
            let reply = shop.adjust(product, &key, delta).await?;
            let details = reply.refused(400, "INSUFFICIENT_STOCK");
            assert_eq!(*details, json!({ "productId": product, "remainingStock": 5 }));
        }
        assert_eq!(
            shop.adjust(product, &key, -5).await?.remaining(),
            0,
            "a refusal does not use the key up"
        );
        shop.balanced(product).await?;
        shop.take(product, new_order(), 1)
            .await?
            .refused(400, "INSUFFICIENT_STOCK");
        assert_eq!(shop.adjust(product, &format!("{key}-2"), 1).await?.remaining(), 1);
        shop.balanced(product).await?;
        assert_eq!(shop.take(product, new_order(), 1).await?.remaining(), 0);
        shop.balanced(product).await?;
    }
    Ok(())
}

#[tokio::test]
async fn stock_is_never_adjusted_beyond_the_most_a_product_may_have() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 999_999_999_999).await?;
    let order = new_order();
    let key = |n: i64| format!("ADJ-{order}-{n}");
    shop.adjust(product, &key(1), 2)
        .await?
        .refused(400, "VALIDATION_ERROR");
    shop.adjust(product, &key(2), 1_000_000_000_000)
        .await?
        .refused(400, "VALIDATION_ERROR");
    assert_eq!(
        shop.adjust(product, &key(3), 1).await?.remaining(),
        1_000_000_000_000
    );
    // Giving back would be too much as well; it can once there is room.
    shop.take(product, order, 1).await?.remaining();
    shop.adjust(product, &key(4), 1).await?.remaining();
    shop.give_back(product, order, 1)
        .await?
        .refused(400, "VALIDATION_ERROR");
    shop.adjust(product, &key(5), -1).await?.remaining();
    assert_eq!(
        shop.give_back(product, order, 1).await?.remaining(),
        1_000_000_000_000
    );
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn an_adjustment_that_is_none_is_refused() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 5).await?;
    let long = "x".repeat(501);
    for (body, error) in [
        (r#"{"delta":0,"reason":"MANUAL"}"#, "VALIDATION_ERROR"),
        (r#"{"delta":-0,"reason":"MANUAL"}"#, "BAD_REQUEST"),
        (r#"{"delta":1000000000001,"reason":"MANUAL"}"#, "VALIDATION_ERROR"),
        (
            r#"{"delta":-9223372036854775808,"reason":"MANUAL"}"#,
            "VALIDATION_ERROR",
        ),
        (
            r#"{"delta":9223372036854775808,"reason":"MANUAL"}"#,
            "BAD_REQUEST",
        ),
        (r#"{"delta":1.0,"reason":"MANUAL"}"#, "BAD_REQUEST"),
        (r#"{"delta":"1","reason":"MANUAL"}"#, "BAD_REQUEST"),
        (r#"{"delta":null,"reason":"MANUAL"}"#, "BAD_REQUEST"),
        (r#"{"delta":1}"#, "BAD_REQUEST"),
        (r#"{"delta":1,"reason":"INITIAL"}"#, "BAD_REQUEST"),
        (r#"{"delta":1,"reason":"MANUAL","orderId":1}"#, "BAD_REQUEST"),
        (r#"{"delta":1,"delta":2,"reason":"MANUAL"}"#, "BAD_REQUEST"),
        (r#"[1,"MANUAL"]"#, "BAD_REQUEST"),
        (
            r#"{"delta":1,"reason":"MANUAL","note":"a\u0000b"}"#,
            "VALIDATION_ERROR",
        ),
        (
            &format!(r#"{{"delta":1,"reason":"MANUAL","note":"{long}"}}"#),
            "VALIDATION_ERROR",
        ),
    ] {
        let request = shop
            .writing(product, "adjust")
            .header("Idempotency-Key", format!("ADJ-{}", new_order()));
        let request = request
            .header("Content-Type", "application/json")
            .body(body.to_owned());
        let reply = crate::fixture::Reply::to(request).await?;
        assert_eq!(reply.body["error"], error, "{body}: {reply:?}");
        reply.refused(400, error);
    }
    assert_eq!(shop.balanced(product).await?.movements, 1);
    Ok(())
}

#[tokio::test]
async fn a_note_is_kept_for_the_record() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 5).await?;
    let note = "재고 조사 ✓ 'quoted' \\ %_".repeat(20);
    let key = format!("ADJ-{}", new_order());
    let body = json!({ "delta": -2, "reason": "ADJUST", "note": note });
    shop.write(product, "adjust", &key, &body).await?.remaining();
    let movements = shop
        .get(&format!("/v1/products/{product}/stock/movements"))
        .await?;
    let row = &movements.body["content"][0];
    for (field, value) in [
        ("note", json!(note)),
        ("reason", json!("ADJUST")),
        ("direction", json!("OUT")),
        ("quantity", json!(2)),
        ("balanceAfter", json!(3)),
        ("requestId", json!(key)),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    shop.balanced(product).await?;
    Ok(())
}
