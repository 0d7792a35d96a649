//! Rules of a sale that have nothing to do with how much there is: its window, and what one buyer may own.

use anyhow::Result;
use chrono::{TimeDelta, Utc};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::fixture::{DB_ONLY, STRATEGIES, Shop, TestResult, new_order};

/// A moment this many seconds from now.
fn in_seconds(seconds: i64) -> Value {
    json!(Utc::now() + TimeDelta::seconds(seconds))
}

#[tokio::test]
async fn a_product_is_sold_within_its_sale_window_only() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let window = json!({ "saleStartsAt": in_seconds(3600), "saleEndsAt": in_seconds(7200) });
        let product = shop.product_with(strategy, 10, &window).await?;
        let order = new_order();
        let early = shop.take(product, order, 1).await?;
        assert_eq!(early.refused(400, "SALE_NOT_OPEN")["productId"], product);

        for (window, open) in [
            (json!({ "saleStartsAt": in_seconds(-60) }), true),
            (json!({ "saleStartsAt": null }), true),
            (json!({ "saleEndsAt": in_seconds(-1) }), false),
            (json!({ "saleStartsAt": in_seconds(-7200) }), false),
            (json!({ "saleEndsAt": null }), true),
            (json!({ "saleStartsAt": in_seconds(3600) }), false),
        ] {
            let patched = shop.patch(product, &window).await?;
            assert_eq!(patched.status, 200, "{patched:?}");
            let reply = shop.take(product, new_order(), 1).await?;
            if open {
                reply.remaining();
            } else {
                reply.refused(400, "SALE_NOT_OPEN");
            }
        }
        let books = shop.balanced(product).await?;
        assert_eq!(books.units_sold, 3);
    }
    Ok(())
}

#[tokio::test]
async fn what_was_sold_can_be_replayed_and_cancelled_after_the_sale() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 10).await?;
        let order = new_order();
        shop.take(product, order, 4).await?.remaining();
        shop.patch(product, &json!({ "saleEndsAt": in_seconds(-1) }))
            .await?;
        shop.take(product, new_order(), 1)
            .await?
            .refused(400, "SALE_NOT_OPEN");
        assert!(shop.take(product, order, 4).await?.is_replay());
        assert_eq!(shop.give_back(product, order, 4).await?.remaining(), 10);
        shop.balanced(product).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_buyer_owns_no_more_than_the_purchase_limit_over_all_his_orders() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop
            .product_with(strategy, 10, &json!({ "purchaseLimit": 3 }))
            .await?;
        let (first, second) = (new_order(), new_order());
        shop.take_for(product, first, 2, "ann").await?.remaining();
        let refused = shop.take_for(product, second, 2, "ann").await?;
        let details = refused.refused(400, "PURCHASE_LIMIT_EXCEEDED");
        assert_eq!(*details, json!({ "productId": product, "purchaseLimit": 3 }));
        assert!(
            shop.take_for(product, first, 2, "ann").await?.is_replay(),
            "a replay takes nothing"
        );
        assert_eq!(shop.take_for(product, second, 1, "ann").await?.remaining(), 7);
        shop.take_for(product, new_order(), 1, "ann")
            .await?
            .refused(400, "PURCHASE_LIMIT_EXCEEDED");
        shop.take_for(product, new_order(), 4, "bob")
            .await?
            .refused(400, "PURCHASE_LIMIT_EXCEEDED");
        assert_eq!(
            shop.take_for(product, new_order(), 3, "Ann").await?.remaining(),
            4,
            "another buyer"
        );

        // What he gives back he may buy again, on whichever path.
        assert_eq!(shop.give_back(product, first, 2).await?.remaining(), 6);
        let verb = if strategy == DB_ONLY { "load" } else { "unload" };
        assert_eq!(shop.gate(product, verb).await?.status, 200);
        shop.take_for(product, new_order(), 3, "ann")
            .await?
            .refused(400, "PURCHASE_LIMIT_EXCEEDED");
        assert_eq!(
            shop.take_for(product, new_order(), 2, "ann").await?.remaining(),
            4
        );
        shop.take_for(product, new_order(), 1, "ann")
            .await?
            .refused(400, "PURCHASE_LIMIT_EXCEEDED");
        shop.balanced(product).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_product_with_a_purchase_limit_needs_to_know_the_buyer() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop
            .product_with(strategy, 10, &json!({ "purchaseLimit": 3 }))
            .await?;
        shop.take(product, new_order(), 1)
            .await?
            .refused(400, "VALIDATION_ERROR");
        shop.patch(product, &json!({ "purchaseLimit": null })).await?;
        shop.take(product, new_order(), 4).await?.remaining();
        shop.take_for(product, new_order(), 2, "ann").await?.remaining();
        // A limit set later counts what was bought before.
        shop.patch(product, &json!({ "purchaseLimit": 2 })).await?;
        shop.take_for(product, new_order(), 1, "ann")
            .await?
            .refused(400, "PURCHASE_LIMIT_EXCEEDED");
        shop.balanced(product).await?;
    }
    Ok(())
}

#[tokio::test]
async fn orders_of_one_buyer_at_the_same_moment_do_not_pass_the_limit() -> TestResult {
    let shop = Shop::shared().await?;
    let other_instance = shop.another_instance().await?;
    for strategy in STRATEGIES {
        let product = shop
            .product_with(strategy, 100, &json!({ "purchaseLimit": 5 }))
            .await?;
        let replies = try_join_all((0..40).map(|index| {
            let instance = if index % 2 == 0 { &shop } else { &other_instance };
            instance.take_for(product, new_order(), 1, "ann")
        }))
        .await?;
        let (sold, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
        assert_eq!(sold.len(), 5);
        for reply in refused {
            reply.refused(400, "PURCHASE_LIMIT_EXCEEDED");
        }
        assert_eq!(shop.balanced(product).await?.units_sold, 5);
    }
    Ok(())
}

#[tokio::test]
async fn what_the_rules_refuse_leaves_its_units_to_others() -> Result<()> {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop
            .product_with(strategy, 1, &json!({ "purchaseLimit": 1 }))
            .await?;
        shop.take(product, new_order(), 1)
            .await?
            .refused(400, "VALIDATION_ERROR");
        shop.balanced(product).await?;
        shop.patch(product, &json!({ "saleStartsAt": in_seconds(3600) }))
            .await?;
        shop.take_for(product, new_order(), 1, "ann")
            .await?
            .refused(400, "SALE_NOT_OPEN");
        shop.balanced(product).await?;
        shop.patch(product, &json!({ "saleStartsAt": null })).await?;
        assert_eq!(
            shop.take_for(product, new_order(), 1, "ann").await?.remaining(),
            0
        );
        shop.balanced(product).await?;
    }
    Ok(())
}
