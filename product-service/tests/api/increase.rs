//! Increase by order: it gives back what the order took, once, and no late decrease takes it again.

use futures_util::future::try_join_all;
use serde_json::json;

use crate::fixture::{DB_ONLY, REDIS_FIRST, STRATEGIES, Shop, TestResult, new_order};

#[tokio::test]
async fn an_increase_before_its_decrease_gives_nothing_and_stops_it() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 5).await?;
        let order = new_order();
        let early = shop.give_back(product, order, 2).await?;
        assert!(early.remaining() == 5 && !early.is_replay(), "{early:?}");
        let again = shop.give_back(product, order, 2).await?;
        assert!(again.remaining() == 5 && again.is_replay(), "{again:?}");
        for quantity in [2, 1] {
            shop.take(product, order, quantity)
                .await?
                .refused(400, "ORDER_VOIDED");
        }
        shop.give_back(product, order, 3)
            .await?
            .refused(422, "IDEMPOTENCY_KEY_REUSED");
        let books = shop.balanced(product).await?;
        assert_eq!(
            (books.stock, books.movements),
            (5, 1),
            "no stock appears from nothing"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_decrease_and_its_void_at_once_leave_the_stock_as_it_was() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 50).await?;
        let orders: Vec<i64> = (0..40).map(|_| new_order()).collect();
        let takes = try_join_all(orders.iter().map(|order| shop.take(product, *order, 1)));
        let voids = try_join_all(orders.iter().map(|order| shop.give_back(product, *order, 1)));
        let (takes, voids) = tokio::try_join!(takes, voids)?;
        for reply in &voids {
            reply.remaining();
        }
        for reply in takes.iter().filter(|reply| reply.status != 200) {
            reply.refused(400, "ORDER_VOIDED");
        }
        for order in orders {
            shop.take(product, order, 1).await?.refused(400, "ORDER_VOIDED");
        }
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.units_sold), (50, 0));
    }
    Ok(())
}

#[tokio::test]
async fn a_second_void_of_one_decrease_gives_nothing_back() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 5).await?;
        let order = new_order();
        shop.take(product, order, 2).await?.remaining();
        assert_eq!(shop.give_back(product, order, 2).await?.remaining(), 5);
        assert!(shop.give_back(product, order, 2).await?.is_replay());
        let body = json!({ "orderId": order, "quantity": 2, "reason": "ORDER_FAILED", "voids": format!("DEC-{order}") });
        let other_key = shop
            .write(product, "increase-by-order", &format!("VOID-{order}"), &body)
            .await?;
        assert!(
            other_key.remaining() == 5 && !other_key.is_replay(),
            "{other_key:?}"
        );
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.units_sold, books.movements), (5, 0, 3));
    }
    Ok(())
}

#[tokio::test]
async fn an_increase_is_for_exactly_what_the_order_took() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let (product, other) = (shop.product(strategy, 5).await?, shop.product(strategy, 5).await?);
        let order = new_order();
        shop.take(product, order, 2).await?.remaining();
        shop.give_back(product, order, 3)
            .await?
            .refused(422, "IDEMPOTENCY_KEY_REUSED");
        shop.give_back(product, order, 1)
            .await?
            .refused(422, "IDEMPOTENCY_KEY_REUSED");
        shop.give_back(other, order, 2)
            .await?
            .refused(422, "IDEMPOTENCY_KEY_REUSED");
        let wrong_order = json!({ "orderId": new_order(), "quantity": 2, "reason": "ORDER_CANCELLED" });
        let key = format!("INC-{order}");
        let reply = shop
            .write(product, "increase-by-order", &key, &wrong_order)
            .await?;
        reply.refused(422, "IDEMPOTENCY_KEY_REUSED");
        // None of these has voided anything.
        assert!(shop.take(product, order, 2).await?.is_replay());
        assert_eq!(shop.give_back(product, order, 2).await?.remaining(), 5);
        assert_eq!(shop.balanced(product).await?.stock, 5);
        assert_eq!(shop.balanced(other).await?.movements, 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_of_another_form_names_what_it_voids() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 5).await?;
    let order = new_order();
    let (take, back) = (format!("take-{order}"), format!("back-{order}"));
    let body = json!({ "orderId": order, "quantity": 2 });
    shop.write(product, "decrease-by-order", &take, &body)
        .await?
        .remaining();

    let unnamed = json!({ "orderId": order, "quantity": 2, "reason": "ORDER_FAILED" });
    shop.write(product, "increase-by-order", &back, &unnamed)
        .await?
        .refused(400, "VALIDATION_ERROR");
    for named in [back.as_str(), "", "a b", &"x".repeat(129)] {
        let body = json!({ "orderId": order, "quantity": 2, "reason": "ORDER_FAILED", "voids": named });
        shop.write(product, "increase-by-order", &back, &body)
            .await?
            .refused(400, "VALIDATION_ERROR");
    }
    let other = json!({ "orderId": order, "quantity": 2, "reason": "ORDER_FAILED", "voids": take });
    let reply = shop
        .write(product, "increase-by-order", &format!("INC-{order}"), &other)
        .await?;
    reply.refused(400, "VALIDATION_ERROR");
    assert_eq!(
        shop.write(product, "increase-by-order", &back, &other)
            .await?
            .remaining(),
        5
    );
    shop.write(product, "decrease-by-order", &take, &body)
        .await?
        .refused(400, "ORDER_VOIDED");

    // A further try of the same order has keys of its own.
    let again = json!({ "orderId": order, "quantity": 2 });
    assert_eq!(
        shop.write(product, "decrease-by-order", &format!("DEC-{order}-2"), &again)
            .await?
            .remaining(),
        3
    );
    let back = shop
        .write(product, "increase-by-order", &format!("INC-{order}-2"), &unnamed)
        .await?;
    assert_eq!(back.remaining(), 5);
    let books = shop.balanced(product).await?;
    assert_eq!((books.stock, books.movements), (5, 5));
    Ok(())
}

#[tokio::test]
async fn only_a_decrease_can_be_voided() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 5).await?;
    let order = new_order();
    let (adjust, first) = (format!("ADJ-{order}"), format!("INC-{order}"));
    shop.adjust(product, &adjust, 2).await?.remaining();
    shop.take(product, order, 2).await?.remaining();
    shop.give_back(product, order, 2).await?.remaining();
    for voids in [adjust, first] {
        let body = json!({ "orderId": order, "quantity": 2, "reason": "ORDER_FAILED", "voids": voids });
        let key = format!("VOID-{voids}");
        shop.write(product, "increase-by-order", &key, &body)
            .await?
            .refused(422, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(shop.balanced(product).await?.stock, 7);
    Ok(())
}

#[tokio::test]
async fn mistake_compensation_replaying_the_decrease_key() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 5).await?;
        let order = new_order();
        shop.take(product, order, 2).await?.remaining();
        // The seed cancelled under the key of the decrease, was told of the decrease's success, and gave nothing back.
        let body = json!({ "orderId": order, "quantity": 2, "reason": "ORDER_CANCELLED", "voids": "DEC-0" });
        let reply = shop
            .write(product, "increase-by-order", &format!("DEC-{order}"), &body)
            .await?;
        reply.refused(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(shop.give_back(product, order, 2).await?.remaining(), 5);
        assert_eq!(shop.balanced(product).await?.stock, 5);
    }
    Ok(())
}

#[tokio::test]
async fn mistake_increase_never_reaching_redis() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 2).await?;
    for _ in 0..3 {
        let order = new_order();
        shop.take(product, order, 2).await?.remaining();
        shop.balanced(product).await?;
        assert_eq!(shop.counter(product).await?, Some(0));
        shop.take(product, new_order(), 1)
            .await?
            .refused(400, "INSUFFICIENT_STOCK");
        shop.give_back(product, order, 2).await?.remaining();
        let books = shop.balanced(product).await?;
        assert_eq!(
            books.gate.map(|gate| gate.counter),
            Some(2),
            "what came back is for sale again"
        );
    }
    shop.adjust(product, &format!("ADJ-{}", new_order()), 3)
        .await?
        .remaining();
    shop.balanced(product).await?;
    assert_eq!(shop.counter(product).await?, Some(5));
    Ok(())
}
