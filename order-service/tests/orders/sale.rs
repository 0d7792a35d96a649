//! The load tool by way of orders: its verdict holds both databases against what the buyers were told.

use devstack::load::{FlashSale, Via, flash_sale};
use serde_json::json;

use crate::fixture::{PATIENCE, TestResult, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_sale_by_orders_leaves_both_books_right() -> TestResult {
    let world = World::with_broker(&[]).await?;
    for via in [Via::V1, Via::V2] {
        let product = world
            .stocked_with(50, &json!({ "stockStrategy": "REDIS_FIRST" }))
            .await?;
        let sale = FlashSale {
            via,
            concurrency: 32,
            balanced_within: PATIENCE,
            ..FlashSale::new(vec![world.order.url()], vec![product], 120)
        };
        let verdict = flash_sale(&sale, &world.stores()).await?;
        assert!(verdict.is_true(), "{via:?}\n{verdict}");
        let orders = verdict.orders.as_ref().expect("orders were placed");
        assert_eq!(orders.states.get("CONFIRMED"), Some(&50), "{via:?}\n{verdict}");
        assert_eq!(verdict.tally.sales(), 50, "{via:?}\n{verdict}");
        world.settled(product).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_whose_messages_nobody_takes_is_no_true_sale() -> TestResult {
    let settings = [("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "200")];
    let world = World::with(&settings).await?;
    let product = world.stocked(50).await?;
    let sale = FlashSale {
        via: Via::V2,
        concurrency: 4,
        balanced_within: std::time::Duration::from_secs(5),
        ..FlashSale::new(vec![world.order.url()], vec![product], 10)
    };
    let verdict = flash_sale(&sale, &world.stores()).await?;
    assert!(!verdict.is_true(), "{verdict}");
    let open = verdict.orders.as_ref().expect("orders were placed").open;
    assert_eq!(open.unsent, 10, "{verdict}");
    world.settled(product).await
}
