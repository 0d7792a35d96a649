//! A small reference: what the ledger says, and what the gate has to say about it.

use std::collections::{BTreeMap, BTreeSet};

use product_service::domain::books::Fact;
use product_service::domain::words::{Admission, LoadStep, Settled};

use crate::fixture::{adjustment, give_back, sale};

/// The database's side: movements without a gap, one sale and one void per id.
#[derive(Debug)]
pub(crate) struct Ledger {
    facts: Vec<Fact>,
    balances: Vec<i64>,
    sold: BTreeMap<String, i64>,
    voided: BTreeSet<String>,
}

impl Ledger {
    /// Version 1 is the initial stock.
    pub(crate) fn new(stock: i64) -> Self {
        Self {
            facts: vec![adjustment(1, stock)],
            balances: vec![0, stock],
            sold: BTreeMap::new(),
            voided: BTreeSet::new(),
        }
    }

    pub(crate) fn version(&self) -> i64 {
        i64::try_from(self.facts.len()).unwrap()
    }

    pub(crate) fn stock(&self) -> i64 {
        self.balances[self.facts.len()]
    }

    pub(crate) fn balance(&self, version: i64) -> i64 {
        self.balances[usize::try_from(version).unwrap()]
    }

    /// Fact number `index`, counted from the newest, round and round.
    pub(crate) fn fact(&self, index: usize) -> Fact {
        self.facts[self.facts.len() - 1 - index % self.facts.len()].clone()
    }

    pub(crate) fn sold_ids(&self) -> Vec<&str> {
        self.sold.keys().map(String::as_str).collect()
    }

    /// As `decide` does: sells unless the id was here before or there is too little.
    pub(crate) fn sell(&mut self, id: &str, quantity: i64) {
        if !self.sold.contains_key(id) && !self.voided.contains(id) && self.stock() >= quantity {
            self.sold.insert(id.to_owned(), quantity);
            self.record(sale(self.version() + 1, quantity, id));
        }
    }

    /// Gives back what the id took, once; and it takes nothing any more.
    pub(crate) fn void(&mut self, id: &str) {
        if self.voided.insert(id.to_owned())
            && let Some(quantity) = self.sold.get(id)
        {
            self.record(give_back(self.version() + 1, *quantity, id));
        }
    }

    pub(crate) fn adjust(&mut self, delta: i64) {
        if delta != 0 && self.stock() + delta >= 0 {
            self.record(adjustment(self.version() + 1, delta));
        }
    }

    fn record(&mut self, fact: Fact) {
        self.balances.push(self.stock() + fact.signed_quantity);
        self.facts.push(fact);
    }
}

/// The gate's side.
#[derive(Debug, Default)]
pub(crate) struct GateModel {
    /// Number of the lease in force.
    lease: Option<u32>,
    /// Facts kept during a load, or beyond `version`.
    facts: BTreeMap<i64, i64>,
    sold: BTreeSet<String>,
    open: Option<Open>,
}

/// What only a loaded gate has.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) counter: i64,
    pub(crate) version: i64,
    pub(crate) holds: BTreeMap<String, i64>,
}

impl GateModel {
    pub(crate) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    pub(crate) fn facts(&self) -> &BTreeMap<i64, i64> {
        &self.facts
    }

    pub(crate) fn sold(&self) -> &BTreeSet<String> {
        &self.sold
    }

    pub(crate) fn purge(&mut self) {
        *self = Self::default();
    }

    /// Admissions, and whether the lease `offered` was taken; `None` when the gate is not loaded.
    pub(crate) fn reserve(
        &mut self,
        offered: u32,
        requests: &[(&str, i64)],
    ) -> (Option<Vec<Admission>>, bool) {
        let Some(open) = &mut self.open else {
            let is_free = self.lease.is_none();
            self.lease.get_or_insert(offered);
            return (None, is_free);
        };
        let admissions = requests.iter().map(|(id, quantity)| {
            if open.holds.contains_key(*id) {
                Admission::Held
            } else if self.sold.contains(*id) {
                Admission::Replay
            } else if open.counter >= *quantity {
                open.counter -= quantity;
                open.holds.insert((*id).to_owned(), *quantity);
                Admission::Held
            } else {
                Admission::SoldOut
            }
        });
        (Some(admissions.collect()), false)
    }

    pub(crate) fn apply(&mut self, facts: &[Fact], releases: &[&str]) -> Settled {
        if self.open.is_none() && self.lease.is_none() {
            return Settled::Ignored;
        }
        // A batch enters all its sales first, then forgets what it gives back.
        for is_sale in [true, false] {
            for fact in facts.iter().filter(|fact| (fact.signed_quantity < 0) == is_sale) {
                let Some(id) = &fact.settles else { continue };
                if is_sale {
                    self.sold.insert(id.as_str().to_owned());
                } else {
                    self.sold.remove(id.as_str());
                }
            }
        }
        let Some(open) = &mut self.open else {
            self.facts
                .extend(facts.iter().map(|fact| (fact.version, fact.signed_quantity)));
            return Settled::Kept;
        };
        for fact in facts {
            if let Some(id) = &fact.settles {
                open.counter += open.holds.remove(id.as_str()).unwrap_or(0);
            }
            if fact.version > open.version && !self.facts.contains_key(&fact.version) {
                self.facts.insert(fact.version, fact.signed_quantity);
                open.counter += fact.signed_quantity;
            }
        }
        for id in releases {
            open.counter += open.holds.remove(*id).unwrap_or(0);
        }
        while self.facts.remove(&(open.version + 1)).is_some() {
            open.version += 1;
        }
        Settled::Applied
    }

    pub(crate) fn remember(&mut self, lease: u32, ids: &[&str]) -> LoadStep {
        if self.open.is_some() || self.lease != Some(lease) {
            return LoadStep::LeaseLost;
        }
        self.sold.extend(ids.iter().map(ToString::to_string));
        LoadStep::Remembered
    }

    pub(crate) fn load(&mut self, lease: u32, stock: i64, version: i64) -> LoadStep {
        if self.open.is_some() {
            return LoadStep::AlreadyLoaded;
        }
        if self.lease != Some(lease) {
            return LoadStep::LeaseLost;
        }
        self.lease = None;
        self.facts.retain(|kept, _| *kept > version);
        let mut open = Open {
            counter: stock + self.facts.values().sum::<i64>(),
            version,
            holds: BTreeMap::new(),
        };
        while self.facts.remove(&(open.version + 1)).is_some() {
            open.version += 1;
        }
        self.open = Some(open);
        LoadStep::Loaded
    }
}
