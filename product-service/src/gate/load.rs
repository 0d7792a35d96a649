//! Load: opens the gate of a product, by the holder of its lease, from what the database says.
//!
//! The order matters: the lease first, then the database is read. Facts committed after the lease was granted are kept
//! by Redis until the load counts them; facts committed before it are in the balance that is read. If the loader dies,
//! its lease runs out and the next request takes a new one.

use redis::{FromRedisValue, Value};

use super::link::Link;
use super::reserve::{Lease, Reservation};
use super::scripts::{GateScript, LOAD, REMEMBER};
use super::{Gate, GateError};
use crate::domain::request::ProductId;
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

impl Gate {
    /// Asks for the lease of a product, as a request for no units would.
    ///
    /// # Errors
    /// [`GateError`] when Redis does not say.
    pub async fn lease(&self, link: &mut Link, product: ProductId) -> Result<Leased, GateError> {
        let empty = [Reservation {
            product,
            requests: Vec::new(),
        }];
        let reserved = self.reserve(link, &empty).await?.pop();
        let reserved = reserved.ok_or_else(|| GateError::Reply("nothing".to_owned()))??;
        Ok(match (reserved.lease, reserved.loaded) {
            (Some(lease), _) => Leased::Ours(lease),
            (None, true) => Leased::Loaded,
            (None, false) => Leased::Theirs,
        })
    }

    /// Puts a chunk of ids that got stock into the sold set, and renews the lease.
    ///
    /// # Errors
    /// [`GateError`] when Redis does not say.
    pub async fn remember(
        &self,
        link: &mut Link,
        product: ProductId,
        lease: &Lease,
        ids: &[String],
    ) -> Result<LoadStep, GateError> {
        let mut call = REMEMBER.call(product);
        call.arg(&lease.0).arg(self.config.lease_ms).arg(ids);
        step(link, &REMEMBER, call).await
    }

    /// Opens the gate with `stock` units as of ledger version `version`, read under the lease.
    ///
    /// # Errors
    /// [`GateError`] when Redis does not say; the product may be loaded then.
    pub async fn open(
        &self,
        link: &mut Link,
        product: ProductId,
        lease: &Lease,
        stock: i64,
        version: i64,
    ) -> Result<LoadStep, GateError> {
        let mut call = LOAD.call(product);
        call.arg(stock)
            .arg(version)
            .arg(&lease.0)
            .arg(self.config.key_ttl_s.saturating_mul(1000));
        step(link, &LOAD, call).await
    }
}

async fn step(link: &mut Link, script: &GateScript, call: redis::Cmd) -> Result<LoadStep, GateError> {
    let reply = script
        .run(link, vec![call])
        .await?
        .pop()
        .unwrap_or(Ok(Value::Nil))?;
    let word = Vec::<u8>::from_redis_value_ref(&reply).unwrap_or_default();
    LoadStep::from_word(&word).ok_or_else(|| GateError::Reply(format!("load: {reply:?}")))
}
