//! Load: opens the gates of products, by the holder of their leases, from what the database says.
//!
//! The order matters: the lease first, then the database is read. Facts committed after the lease was granted are kept
//! by Redis until the load counts them; facts committed before it are in the balance that is read. If the loader dies,
//! its leases run out and the next request takes a new one.

use redis::{Cmd, FromRedisValue, RedisResult, Value};

use super::link::Link;
use super::reserve::{Lease, Reservation};
use super::rules;
use super::scripts::{GateScript, LOAD, REMEMBER};
use super::{Gate, GateError};
use crate::domain::request::ProductId;
use crate::domain::rules::SaleRules;
use crate::domain::words::LoadStep;

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Leased {
    /// The caller loads.
    Ours(Lease),
    /// Somebody else is loading.
    Theirs,
    /// The product is loaded.
    Loaded,
}

/// A product with a chunk of the ids that got stock, or of what its buyers own.
pub struct Remembered<'a> {
    /// The product.
    pub product: ProductId,
    /// The right to load it.
    pub lease: &'a Lease,
    /// Request ids; none only renews the lease.
    pub ids: Vec<&'a str>,
    /// Buyers, with the units each owns at the version the gate will be opened with.
    pub owned: Vec<(&'a str, i64)>,
}

/// A product with its balance, read under the lease.
pub struct Opening<'a> {
    /// The product.
    pub product: ProductId,
    /// The right to load it.
    pub lease: &'a Lease,
    /// Units.
    pub stock: i64,
    /// Ledger version of that balance.
    pub version: i64,
    /// What the sale is bound to.
    pub rules: &'a SaleRules,
}

impl Gate {
    /// Asks for leases, as requests for no units would. One result per product, in their order.
    ///
    /// # Errors
    /// [`GateError`] when there was no answer at all.
    pub async fn lease(
        &self,
        link: &mut Link,
        products: &[ProductId],
    ) -> Result<Vec<Result<Leased, GateError>>, GateError> {
        let empty: Vec<Reservation<'_>> = products
            .iter()
            .map(|product| Reservation {
                product: *product,
                requests: Vec::new(),
            })
            .collect();
        let reserved = self.reserve(link, &empty).await?;
        Ok(reserved
            .into_iter()
            .map(|reserved| {
                let reserved = reserved?;
                Ok(match (reserved.lease, reserved.loaded) {
                    (Some(lease), _) => Leased::Ours(lease),
                    (None, true) => Leased::Loaded,
                    (None, false) => Leased::Theirs,
                })
            })
            .collect())
    }

    /// Puts ids that got stock into the sold sets, and what buyers own beside them; renews the leases. One result per product, in their order.
    ///
    /// # Errors
    /// [`GateError`] when there was no answer at all.
    pub async fn remember(
        &self,
        link: &mut Link,
        chunks: &[Remembered<'_>],
    ) -> Result<Vec<Result<LoadStep, GateError>>, GateError> {
        let call = |chunk: &Remembered<'_>| {
            let mut call = REMEMBER.call(chunk.product);
            call.arg(&chunk.lease.0)
                .arg(self.config.lease_ms)
                .arg(chunk.ids.len())
                .arg(&chunk.ids)
                .arg(&chunk.owned);
            call
        };
        steps(link, &REMEMBER, chunks.iter().map(call).collect()).await
    }

    /// Opens gates. One result per product, in their order.
    ///
    /// # Errors
    /// [`GateError`] when there was no answer at all; products may be loaded then.
    pub async fn open(
        &self,
        link: &mut Link,
        openings: &[Opening<'_>],
    ) -> Result<Vec<Result<LoadStep, GateError>>, GateError> {
        let life_ms = self.config.key_ttl_s.saturating_mul(1000);
        let call = |opening: &Opening<'_>| {
            let mut call = LOAD.call(opening.product);
            call.arg(opening.stock)
                .arg(opening.version)
                .arg(&opening.lease.0)
                .arg(rules::text(opening.rules))
                .arg(life_ms);
            call
        };
        steps(link, &LOAD, openings.iter().map(call).collect()).await
    }
}

async fn steps(
    link: &mut Link,
    script: &GateScript,
    calls: Vec<Cmd>,
) -> Result<Vec<Result<LoadStep, GateError>>, GateError> {
    Ok(script.run(link, calls).await?.into_iter().map(step).collect())
}

fn step(reply: RedisResult<Value>) -> Result<LoadStep, GateError> {
    let reply = reply?;
    let word = Vec::<u8>::from_redis_value_ref(&reply).unwrap_or_default();
    LoadStep::from_word(&word).ok_or_else(|| GateError::Reply(format!("load: {reply:?}")))
}
