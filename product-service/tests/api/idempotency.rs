//! One effect per key: replays, keys used twice, keys that are none.

use futures_util::future::try_join_all;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::fixture::{DB_ONLY, REDIS_FIRST, Reply, STRATEGIES, Shop, TestResult, new_order};

#[tokio::test]
async fn a_replay_answers_what_the_first_request_was_answered() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 10).await?;
        let (first, second) = (new_order(), new_order());
        let adjust = format!("ADJ-{first}");
        let took = shop.take(product, first, 3).await?;
        let adjusted = shop.adjust(product, &adjust, -1).await?;
        let gave_back = shop.give_back(product, first, 3).await?;
        shop.take(product, second, 5).await?.remaining();
        for reply in [&took, &adjusted, &gave_back] {
            assert!(reply.headers.get("Idempotency-Replayed").is_none(), "{reply:?}");
        }
        assert_eq!(
            (took.remaining(), adjusted.remaining(), gave_back.remaining()),
            (7, 6, 9)
        );
        // What was voided is no success any more, whatever came back for it; all else stands.
        shop.take(product, first, 3).await?.refused(400, "ORDER_VOIDED");
        for (again, before) in [
            (shop.adjust(product, &adjust, -1).await?, adjusted),
            (shop.give_back(product, first, 3).await?, gave_back),
        ] {
            assert!(again.is_replay(), "{again:?}");
            assert_eq!((again.status, again.body), (before.status, before.body));
        }
        let again = shop.take(product, second, 5).await?;
        assert!(again.is_replay() && again.remaining() == 4, "{again:?}");
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.movements), (4, 5));
    }
    Ok(())
}

#[tokio::test]
async fn a_sale_is_replayed_after_the_product_sold_out() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 3).await?;
        let orders = [new_order(), new_order(), new_order()];
        for order in orders {
            shop.take(product, order, 1).await?.remaining();
        }
        let details = shop.take(product, new_order(), 1).await?;
        let details = details.refused(400, "INSUFFICIENT_STOCK");
        assert_eq!(*details, json!({ "productId": product, "remainingStock": 0 }));
        for (order, remaining) in orders.into_iter().zip([2, 1, 0]) {
            for _ in 0..2 {
                let again = shop.take(product, order, 1).await?;
                assert!(again.is_replay() && again.remaining() == remaining, "{again:?}");
            }
        }
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.units_sold, books.movements), (0, 3, 4));
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_not_remembered() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 1).await?;
        let order = new_order();
        shop.take(product, order, 2)
            .await?
            .refused(400, "INSUFFICIENT_STOCK");
        shop.adjust(product, &format!("ADJ-{order}"), 1)
            .await?
            .remaining();
        shop.balanced(product).await?;
        let took = shop.take(product, order, 2).await?;
        assert!(took.remaining() == 0 && !took.is_replay(), "{took:?}");
        shop.balanced(product).await?;
    }
    Ok(())
}

#[tokio::test]
async fn mistake_key_not_bound_to_its_payload() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let (product, other) = (
            shop.product(strategy, 10).await?,
            shop.product(strategy, 10).await?,
        );
        let order = new_order();
        the_key_of_a_decrease_is_bound(&shop, product, other, order).await?;
        the_key_of_an_adjustment_is_bound(&shop, product, other, order).await?;
        the_key_of_an_increase_is_bound(&shop, product, other, order).await?;
        // A voided key belongs to its decrease for good.
        shop.adjust(product, &format!("DEC-{order}"), 4)
            .await?
            .refused(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(shop.balanced(product).await?.stock, 14);
        assert_eq!(shop.balanced(other).await?.stock, 10);
    }
    Ok(())
}

async fn the_key_of_a_decrease_is_bound(shop: &Shop, product: i64, other: i64, order: i64) -> TestResult {
    let key = format!("DEC-{order}");
    let body = json!({ "orderId": order, "quantity": 2, "buyerId": "ann" });
    let increase = json!({ "orderId": order, "quantity": 2, "reason": "ORDER_FAILED", "voids": "DEC-0" });
    shop.write(product, "decrease-by-order", &key, &body)
        .await?
        .remaining();
    let writes = [
        (other, "decrease-by-order", body.clone()),
        (product, "decrease-by-order", but(&body, "quantity", json!(1))),
        (
            product,
            "decrease-by-order",
            but(&body, "orderId", json!(new_order())),
        ),
        (product, "decrease-by-order", but(&body, "buyerId", json!("bob"))),
        (product, "decrease-by-order", but(&body, "buyerId", Value::Null)),
        (product, "increase-by-order", increase),
        (product, "adjust", json!({ "delta": -2, "reason": "MANUAL" })),
    ];
    refused_as_reused(shop, &key, &writes).await
}

async fn the_key_of_an_adjustment_is_bound(shop: &Shop, product: i64, other: i64, order: i64) -> TestResult {
    let key = format!("ADJ-{order}");
    let body = json!({ "delta": 4, "reason": "ADJUST", "note": "counted" });
    let increase = json!({ "orderId": order, "quantity": 4, "reason": "ORDER_FAILED", "voids": "DEC-0" });
    shop.write(product, "adjust", &key, &body).await?.remaining();
    let writes = [
        (other, "adjust", body.clone()),
        (product, "adjust", but(&body, "delta", json!(-4))),
        (product, "adjust", but(&body, "delta", json!(5))),
        (product, "adjust", but(&body, "reason", json!("MANUAL"))),
        (product, "adjust", but(&body, "note", json!("guessed"))),
        (
            product,
            "decrease-by-order",
            json!({ "orderId": order, "quantity": 4 }),
        ),
        (product, "increase-by-order", increase),
    ];
    refused_as_reused(shop, &key, &writes).await
}

async fn the_key_of_an_increase_is_bound(shop: &Shop, product: i64, other: i64, order: i64) -> TestResult {
    let key = format!("INC-{order}");
    let body = json!({ "orderId": order, "quantity": 2, "reason": "ORDER_FAILED" });
    shop.write(product, "increase-by-order", &key, &body)
        .await?
        .remaining();
    let writes = [
        (other, "increase-by-order", body.clone()),
        (product, "increase-by-order", but(&body, "quantity", json!(1))),
        (
            product,
            "increase-by-order",
            but(&body, "orderId", json!(new_order())),
        ),
        (
            product,
            "increase-by-order",
            but(&body, "reason", json!("ORDER_CANCELLED")),
        ),
        (
            product,
            "decrease-by-order",
            json!({ "orderId": order, "quantity": 2 }),
        ),
        (product, "adjust", json!({ "delta": 2, "reason": "MANUAL" })),
    ];
    refused_as_reused(shop, &key, &writes).await
}

/// A body with another value of one field.
fn but(body: &Value, field: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[field] = value;
    body
}

async fn refused_as_reused(shop: &Shop, key: &str, writes: &[(i64, &str, Value)]) -> TestResult {
    for (product, verb, body) in writes {
        let reply = shop.write(*product, verb, key, body).await?;
        assert_eq!(reply.status, 422, "{key} {verb} {body}: {reply:?}");
        reply.refused(422, "IDEMPOTENCY_KEY_REUSED");
    }
    Ok(())
}

#[tokio::test]
async fn a_quoted_key_is_the_bare_key() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 10).await?;
    let order = new_order();
    assert_eq!(shop.take(product, order, 1).await?.remaining(), 9);
    let body = json!({ "orderId": order, "quantity": 1, "requestId": format!("DEC-{order}") });
    let quoted = shop
        .write(product, "decrease-by-order", &format!("\"DEC-{order}\""), &body)
        .await?;
    assert!(quoted.is_replay() && quoted.remaining() == 9, "{quoted:?}");
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn a_key_is_required_and_has_1_to_128_visible_characters() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 10).await?;
    let too_long = "x".repeat(129);
    for (verb, body) in [
        ("decrease-by-order", json!({ "orderId": 1, "quantity": 1 })),
        (
            "increase-by-order",
            json!({ "orderId": 1, "quantity": 1, "reason": "ORDER_FAILED", "voids": "y" }),
        ),
        ("adjust", json!({ "delta": 1, "reason": "MANUAL" })),
    ] {
        let without = shop.writing(product, verb).json(&body);
        Reply::to(without).await?.refused(400, "VALIDATION_ERROR");
        let two = shop
            .writing(product, verb)
            .header("Idempotency-Key", "a")
            .header("Idempotency-Key", "b");
        Reply::to(two.json(&body)).await?.refused(400, "VALIDATION_ERROR");
        for key in [
            too_long.as_bytes(),
            b"",
            b"\"\"",
            b"a b",
            b"\"open",
            b"caf\xc3\xa9",
            b"\xff",
            b"a\tb",
        ] {
            let request = shop
                .writing(product, verb)
                .header("Idempotency-Key", HeaderValue::from_bytes(key)?);
            let reply = Reply::to(request.json(&body)).await?;
            reply.refused(400, "VALIDATION_ERROR");
        }
    }
    let longest = format!("{:x<128}", new_order());
    let body = json!({ "orderId": 1, "quantity": 1, "requestId": longest });
    assert_eq!(
        shop.write(product, "decrease-by-order", &longest, &body)
            .await?
            .remaining(),
        9
    );
    assert_eq!(shop.balanced(product).await?.movements, 2);
    Ok(())
}

#[tokio::test]
async fn header_and_body_agree_on_the_request_id() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 10).await?;
    let order = new_order();
    let key = format!("DEC-{order}");
    for request_id in ["DEC-0", "", "\"quoted\"", "dec-1"] {
        let body = json!({ "orderId": order, "quantity": 1, "requestId": request_id });
        shop.write(product, "decrease-by-order", &key, &body)
            .await?
            .refused(400, "VALIDATION_ERROR");
        let body =
            json!({ "orderId": order, "quantity": 1, "requestId": request_id, "reason": "ORDER_FAILED" });
        let back = shop
            .write(product, "increase-by-order", &format!("INC-{order}"), &body)
            .await?;
        back.refused(400, "VALIDATION_ERROR");
    }
    let body = json!({ "orderId": order, "quantity": 1, "requestId": key });
    assert_eq!(
        shop.write(product, "decrease-by-order", &key, &body)
            .await?
            .remaining(),
        9
    );
    assert_eq!(
        shop.balanced(product).await?.movements,
        2,
        "what disagreed left no tombstone"
    );
    Ok(())
}

#[tokio::test]
async fn mistake_key_checked_in_another_transaction_than_the_effect() -> TestResult {
    let shop = Shop::shared().await?;
    let other_instance = shop.another_instance().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 1000).await?;
        let order = new_order();
        let requests = (0..100).map(|index| {
            let instance = if index % 2 == 0 { &shop } else { &other_instance };
            instance.take(product, order, 7)
        });
        let replies = try_join_all(requests).await?;
        for reply in &replies {
            assert_eq!(reply.remaining(), 993);
        }
        let first = replies.iter().filter(|reply| !reply.is_replay()).count();
        assert_eq!(first, 1, "one effect, and all others say that they repeat it");
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.movements), (993, 2));
    }
    Ok(())
}

#[tokio::test]
async fn many_requests_with_one_key_have_one_effect_whatever_the_verb() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 5).await?;
        let order = new_order();
        shop.take(product, order, 5).await?.remaining();
        let key = format!("ADJ-{order}");
        let backs = try_join_all((0..100).map(|_| shop.give_back(product, order, 5))).await?;
        let adjusts = try_join_all((0..100).map(|_| shop.adjust(product, &key, -2))).await?;
        for (replies, remaining) in [(backs, 5), (adjusts, 3)] {
            assert!(
                replies.iter().all(|reply| reply.remaining() == remaining),
                "{replies:?}"
            );
            assert_eq!(replies.iter().filter(|reply| !reply.is_replay()).count(), 1);
        }
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.movements), (3, 4));
    }
    Ok(())
}

#[tokio::test]
async fn mistake_ledger_rows_doubled_or_missing_on_replay() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 4).await?;
        let orders: Vec<i64> = (0..4).map(|_| new_order()).collect();
        for _ in 0..3 {
            try_join_all(orders.iter().map(|order| shop.take(product, *order, 1))).await?;
        }
        // The other path answers the same.
        let verb = if strategy == DB_ONLY { "load" } else { "unload" };
        assert_eq!(shop.gate(product, verb).await?.status, 200);
        for order in &orders {
            let again = shop.take(product, *order, 1).await?;
            assert!(again.is_replay(), "{again:?}");
            let found = shop
                .get(&format!(
                    "/v1/products/{product}/stock/movements?requestId=DEC-{order}"
                ))
                .await?;
            assert_eq!(found.body["totalElements"], 1, "{found:?}");
            assert_eq!(found.body["content"][0]["balanceAfter"], again.remaining());
        }
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.units_sold, books.movements), (0, 4, 5));
    }
    Ok(())
}
