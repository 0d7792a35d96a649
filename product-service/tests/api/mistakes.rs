//! Mistakes of the seed's code (section 9 of the specification) that no other module has a test named after.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;

use crate::fixture::{REDIS_FIRST, STRATEGIES, Shop, TestResult, new_order};

/// Runs `work`, and `meanwhile` again and again until it is done. Says how often.
async fn while_running<T>(
    work: impl Future<Output = Result<T>>,
    meanwhile: impl AsyncFn() -> Result<()>,
) -> Result<(T, usize)> {
    let running = AtomicBool::new(true);
    let work = async {
        let result = work.await;
        running.store(false, Ordering::Relaxed);
        result
    };
    let meanwhile = async {
        let mut times = 0;
        while running.load(Ordering::Relaxed) {
            meanwhile().await?;
            times += 1;
        }
        Ok(times)
    };
    tokio::try_join!(work, meanwhile)
}

#[tokio::test]
async fn mistake_decrby_then_incrby_in_two_round_trips() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 2).await?;
    let refused = try_join_all((0..20).map(|_| async {
        for _ in 0..10 {
            let reply = shop.take(product, new_order(), 3).await?;
            let details = reply.refused(400, "INSUFFICIENT_STOCK");
            ensure!(details["remainingStock"] == 2, "{details}");
        }
        Ok(())
    }));
    let watch = async || {
        let counter = shop.counter(product).await?;
        ensure!(
            counter == Some(2),
            "a refused request has moved the counter to {counter:?}"
        );
        Ok(())
    };
    let (_, looks) = while_running(refused, watch).await?;
    assert!(looks > 0);

    // Who asks for what there is gets it, however many ask for more at the same moment.
    let refused = try_join_all((0..50).map(|_| shop.take(product, new_order(), 3)));
    let buyers = try_join_all((0..2).map(|_| shop.take(product, new_order(), 1)));
    let (refused, buyers) = tokio::try_join!(refused, buyers)?;
    assert!(refused.iter().all(|reply| reply.status == 400));
    for reply in buyers {
        reply.remaining();
    }
    assert_eq!(shop.balanced(product).await?.units_sold, 2);
    Ok(())
}

#[tokio::test]
async fn mistake_patch_of_a_name_rewrites_a_stale_stock() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 200).await?;
        let sale = try_join_all((0..8).map(|_| async {
            for _ in 0..20 {
                shop.take(product, new_order(), 1).await?.remaining();
            }
            Ok(())
        }));
        let rename = async || {
            let name = format!("name {}", new_order());
            let reply = shop.patch(product, &json!({ "name": name })).await?;
            ensure!(reply.status == 200 && reply.body["name"] == name, "{reply:?}");
            Ok(())
        };
        let (_, renamed) = while_running(sale, rename).await?;
        assert!(renamed > 0);
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.movements), (40, 161));
    }
    Ok(())
}

#[tokio::test]
async fn mistake_resync_by_a_blind_set_racing_with_sales() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 300).await?;
    let lanes = (0..20).map(|_| async {
        let mut sold = 0;
        for _ in 0..25 {
            let reply = shop.take(product, new_order(), 1).await?;
            if reply.status == 200 {
                sold += 1;
            } else {
                reply.refused(400, "INSUFFICIENT_STOCK");
            }
        }
        Ok(sold)
    });
    let keys = ["", ":gate", ":sold"].map(|part| format!("stock:{{{product}}}{part}"));
    let forget = async || {
        shop.redis::<i64>(&["DEL", &keys[0], &keys[1], &keys[2]]).await?;
        // Loaded again, by whoever asks next.
        devstack::wait_for("a counter", crate::fixture::PATIENCE, || async {
            shop.gate(product, "load")
                .await
                .map_err(|error| error.to_string())?;
            shop.counter(product)
                .await
                .ok()
                .flatten()
                .context("none")
                .map_err(|error| error.to_string())
        })
        .await?;
        Ok(())
    };
    let (sold, forgotten) = while_running(try_join_all(lanes), forget).await?;
    assert!(forgotten > 0);
    assert_eq!(
        sold.iter().sum::<i64>(),
        300,
        "after {forgotten} losses of the gate"
    );
    shop.take(product, new_order(), 1)
        .await?
        .refused(400, "INSUFFICIENT_STOCK");
    let books = shop.balanced(product).await?;
    assert_eq!((books.stock, books.units_sold), (0, 300));
    Ok(())
}

#[tokio::test]
async fn mistake_resync_of_one_product_only() -> TestResult {
    let shop = Shop::alone().await?;
    let mut products = Vec::new();
    for stock in [3, 5, 8] {
        products.push(shop.product(REDIS_FIRST, stock).await?);
    }
    // Whether somebody asks for them or not.
    for buyers_come in [true, false] {
        shop.redis::<()>(&["FLUSHDB"]).await?;
        if buyers_come {
            for product in &products {
                shop.take(*product, new_order(), 1).await?.remaining();
            }
        }
        for product in &products {
            shop.balanced(*product).await?;
        }
    }
    Ok(())
}
