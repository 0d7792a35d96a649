//! Settle: tells the gate what the database committed and which holds came to nothing. In the background, batched;
//! nobody waits for it. What is lost here, the reconciler finds: the ledger has every fact.

use redis::{Cmd, FromRedisValue};

use super::link::Link;
use super::scripts::APPLY;
use super::{Gate, GateError};
use crate::domain::books::Fact;
use crate::domain::request::{BuyerId, ProductId, RequestId};
use crate::domain::words::Settled;

/// What there is to tell about one product.
#[derive(Debug, Default)]
pub struct Settlement {
    /// Committed movements.
    pub facts: Vec<Fact>,
    /// Requests that may hold units and will not get them.
    pub releases: Vec<RequestId>,
}

impl Gate {
    /// Applies facts and releases, for any number of products. One result per product, in their order.
    ///
    /// # Errors
    /// [`GateError`] when there was no answer at all. Repeating is harmless.
    pub async fn settle(
        &self,
        link: &mut Link,
        settlements: &[(ProductId, Settlement)],
    ) -> Result<Vec<Result<Settled, GateError>>, GateError> {
        let calls = settlements
            .iter()
            .map(|(product, settlement)| call(*product, settlement))
            .collect();
        let replies = APPLY.run(link, calls).await?;
        Ok(replies
            .into_iter()
            .map(|reply| {
                let reply = reply?;
                let word = Vec::<u8>::from_redis_value_ref(&reply).unwrap_or_default();
                Settled::from_word(&word).ok_or_else(|| GateError::Reply(format!("apply: {reply:?}")))
            })
            .collect())
    }
}

fn call(product: ProductId, settlement: &Settlement) -> Cmd {
    let mut call = APPLY.call(product);
    call.arg(settlement.facts.len());
    for fact in &settlement.facts {
        call.arg(fact.version)
            .arg(fact.signed_quantity)
            .arg(fact.settles.as_ref().map_or("", RequestId::as_str))
            .arg(fact.buyer.as_ref().map_or("", BuyerId::as_str));
    }
    for request_id in &settlement.releases {
        call.arg(request_id.as_str());
    }
    call
}
