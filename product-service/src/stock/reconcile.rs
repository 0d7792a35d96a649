//! Reconcile: finds what the gate was not told, or has wrong, and puts it right from the ledger.
//!
//! Any instance, at any time, without a lock: everything it tells the gate is idempotent. The gate is looked at first,
//! then the ledger, so that whatever is found missing really is. In health it finds nothing; every find is counted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use platform::database::Pool;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::load::{LoadError, Loader};
use crate::domain::books::Fact;
use crate::domain::request::{ProductId, RequestId};
use crate::domain::words::Find;
use crate::gate::link::Link;
use crate::gate::load::Leased;
use crate::gate::peek::Peek;
use crate::gate::settle::Settlement;
use crate::gate::{Gate, GateError, rules};
use crate::ledger::standing::{self, Standing};
use crate::metrics;

/// What there was to put right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reconciled {
    /// Hot products looked at.
    pub products: usize,
    /// Nothing was changed: only counted.
    pub dry_run: bool,
    /// How much of each was found, by its word in the glossary. Empty in health.
    pub finds: HashMap<String, usize>,
}

/// What reconciling needs.
#[derive(Clone)]
pub struct Reconciler {
    /// Redis.
    pub gate: Arc<Gate>,
    /// The product database.
    pub pool: Pool,
    /// Loads what is not loaded.
    pub loader: Loader,
}

/// By then the gate has been told of a movement, in health.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(1);
/// Products per round trip.
const PRODUCTS_MAX: usize = 500;
/// Missed movements per round trip; more are found the next time. The script spreads two fields of each, and up to
/// [`NAMED_MAX`](crate::gate::peek::NAMED_MAX) holds likewise, over Lua's stack, which ends near 8000.
const FACTS_MAX: i64 = 2000;

impl Reconciler {
    /// Reconciles these products, some hundred per round trip. Movements younger than `settled_within` do not count as
    /// missed: they are on their way.
    ///
    /// # Errors
    /// [`LoadError`] when Redis or the database gave no answer; what was put right before stays so.
    pub async fn reconcile(
        &self,
        link: &mut Link,
        products: &[ProductId],
        dry_run: bool,
        settled_within: Duration,
    ) -> Result<Reconciled, LoadError> {
        let mut reconciled = Reconciled {
            products: products.len(),
            dry_run,
            ..Reconciled::default()
        };
        for products in products.chunks(PRODUCTS_MAX) {
            let found = self.look(link, products, settled_within).await?;
            for (_, find) in &found.finds {
                *reconciled.finds.entry(find.word().to_owned()).or_default() += 1;
            }
            if !dry_run {
                self.put_right(link, found).await?;
            }
        }
        Ok(reconciled)
    }

    async fn look(
        &self,
        link: &mut Link,
        products: &[ProductId],
        settled_within: Duration,
    ) -> Result<Found, LoadError> {
        let mut found = Found::default();
        let mut peeks = HashMap::new();
        for (product, peek) in products.iter().zip(self.gate.peek(link, products).await?) {
            match peek {
                Ok(Some(peek)) => drop(peeks.insert(*product, peek)),
                Ok(None) => found.load(*product, Find::NotLoaded),
                Err(GateError::Redis(_) | GateError::Reply(_)) => found.reload(*product, Find::Unreadable),
                Err(error) => return Err(error.into()),
            }
        }
        let (ids, versions): (Vec<_>, Vec<_>) = peeks
            .iter()
            .map(|(product, peek)| (*product, peek.version))
            .unzip();
        for standing in standing::standings(&self.pool, &ids, &versions).await? {
            if let Some(find) = peeks
                .get(&standing.product)
                .and_then(|peek| contradiction(peek, &standing))
            {
                peeks.remove(&standing.product);
                found.reload(standing.product, find);
            }
        }
        self.missed(&peeks, settled_within, &mut found).await?;
        self.overdue(&peeks, &mut found).await?;
        Ok(found)
    }

    /// Movements the gate should have been told of by now.
    async fn missed(
        &self,
        peeks: &HashMap<ProductId, Peek>,
        settled_within: Duration,
        found: &mut Found,
    ) -> Result<(), LoadError> {
        // A gate that names only some of its facts is told others again, which is harmless: the first one it has missed
        // is among them, and it alone keeps the rest waiting.
        let (ids, versions): (Vec<_>, Vec<_>) = peeks
            .iter()
            .map(|(product, peek)| (*product, peek.version))
            .unzip();
        for (product, fact) in
            standing::facts_after(&self.pool, &ids, &versions, settled_within, FACTS_MAX).await?
        {
            if peeks
                .get(&product)
                .is_some_and(|peek| !peek.fact_versions.contains(&fact.version))
            {
                found.tell(product, Find::Missed, fact);
            }
        }
        Ok(())
    }

    /// Holds past their deadline: the ledger says what became of their requests.
    async fn overdue(&self, peeks: &HashMap<ProductId, Peek>, found: &mut Found) -> Result<(), LoadError> {
        let ids: Vec<&str> = peeks
            .values()
            .flat_map(|peek| peek.overdue.iter().map(String::as_str))
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut settled = HashSet::new();
        for (product, fact) in standing::facts_of(&self.pool, &ids).await? {
            settled.extend(fact.settles.as_ref().map(|id| id.as_str().to_owned()));
            found.tell(product, Find::Settled, fact);
        }
        for (product, peek) in peeks {
            for id in peek.overdue.iter().filter(|id| !settled.contains(*id)) {
                if let Ok(id) = RequestId::new(id) {
                    found.finds.push((*product, Find::Released));
                    found.settlements.entry(*product).or_default().releases.push(id);
                }
            }
        }
        Ok(())
    }

    /// Counts what it puts right: what somebody else is loading already is no find of this instance.
    async fn put_right(&self, link: &mut Link, found: Found) -> Result<(), LoadError> {
        let mut times: HashMap<(ProductId, Find), u64> = HashMap::new();
        for find in found.finds.iter().filter(|(_, find)| *find != Find::NotLoaded) {
            *times.entry(*find).or_default() += 1;
        }
        for ((product, find), times) in times {
            metrics::found(product, find, times);
        }
        for product in &found.purge {
            self.gate.purge(*product).await?;
        }
        let settlements: Vec<(ProductId, Settlement)> = found.settlements.into_iter().collect();
        if !settlements.is_empty() {
            for settled in self.gate.settle(link, &settlements).await? {
                metrics::settled(&settled);
            }
        }
        if !found.load.is_empty() {
            for (product, leased) in found.load.iter().zip(self.gate.lease(link, &found.load).await?) {
                if let Leased::Ours(lease) = leased? {
                    if !found.purge.contains(product) {
                        metrics::found(*product, Find::NotLoaded, 1);
                    }
                    self.loader.submit(*product, lease);
                }
            }
        }
        Ok(())
    }
}

/// How a gate contradicts the ledger, if it does: then nothing it says can be used, and it has to be loaded anew.
fn contradiction(peek: &Peek, standing: &Standing) -> Option<Find> {
    match standing.balance_at {
        None => Some(Find::Ahead),
        Some(_) if peek.rules != rules::text(&standing.rules) => Some(Find::Rules),
        Some(balance) if peek.counter != balance + peek.facts_units - peek.held_units => Some(Find::Drift),
        Some(_) => (peek.sold < peek.sold_expected).then_some(Find::Forgetful),
    }
}

/// What one look has found.
#[derive(Default)]
struct Found {
    finds: Vec<(ProductId, Find)>,
    settlements: HashMap<ProductId, Settlement>,
    purge: Vec<ProductId>,
    load: Vec<ProductId>,
}

impl Found {
    fn load(&mut self, product: ProductId, find: Find) {
        self.finds.push((product, find));
        self.load.push(product);
    }

    fn reload(&mut self, product: ProductId, find: Find) {
        self.purge.push(product);
        self.load(product, find);
    }

    fn tell(&mut self, product: ProductId, find: Find, fact: Fact) {
        self.finds.push((product, find));
        self.settlements.entry(product).or_default().facts.push(fact);
    }
}
