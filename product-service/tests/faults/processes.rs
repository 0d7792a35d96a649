//! An instance killed in the middle of a sale: what it held is settled or released by the other.

use std::time::Duration;

use devstack::wait_for;

use crate::shop::{HOLD_TTL, Shop};
use crate::trial::{Plan, trial};

/// Beyond the life of a hold.
const RECONCILED: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_killed_and_started_again() {
    let shop = Shop::direct().await;
    let plan = Plan::new("one instance killed", 0, |seen| {
        // Whichever the other one finds first: the hold, or the movement that ends it.
        let finds = ["released", "settled", "missed"];
        finds
            .iter()
            .any(|find| seen.sum(&format!("reconcile_finds {find}")) > 0)
    })
    .of_a_process();
    let kill = async |product| {
        // With holds of its own at that moment, which nobody will settle.
        wait_for("holds left behind", Duration::from_secs(20), || async {
            shop.services[0].kill().unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let gate = shop.stack.audit(&[product]).await.unwrap().remove(0).gate;
            let holds = gate.map_or(0, |gate| gate.holds);
            if holds > 0 {
                return Ok(holds);
            }
            shop.services[0].restart().await.unwrap();
            Err("it left none".to_owned())
        })
        .await
        .unwrap();
        // While the other one goes on selling, so that there are always some: those that are overdue have to go.
        wait_for("no overdue holds", HOLD_TTL + RECONCILED, || async {
            match overdue(&shop, product).await {
                0 => Ok(()),
                overdue => Err(format!("{overdue} overdue")),
            }
        })
        .await
        .unwrap();
    };
    trial(&shop, plan, kill, async || {
        shop.services[0].restart().await.unwrap()
    })
    .await;
}

/// Holds past their deadline, as the other instance sees them.
async fn overdue(shop: &Shop, product: i64) -> i64 {
    let url = format!("{}/admin/stock/audit", shop.services[1].admin_url());
    let audits: Vec<product_service::stock::audit::StockAudit> =
        reqwest::get(url).await.unwrap().json().await.unwrap();
    let audit = audits.into_iter().find(|audit| audit.product_id == product);
    audit.unwrap().gate.unwrap().overdue_holds
}
