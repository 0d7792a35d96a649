//! A small reference: what the ledger says, and what the gate has to say about it.

use std::collections::{BTreeMap, BTreeSet};

use product_service::domain::books::Fact;
use product_service::domain::words::{Admission, LoadStep, Settled};

use crate::fixture::{adjustment, buyer_of, give_back, sale};

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

    /// What buyers own, as of a version.
    pub(crate) fn owned(&self, version: i64) -> Vec<(String, i64)> {
        let mut owned = BTreeMap::new();
        for fact in self.facts.iter().filter(|fact| fact.version <= version) {
            if let Some(buyer) = &fact.buyer {
                *owned.entry(buyer.as_str().to_owned()).or_default() -= fact.signed_quantity;
            }
        }
        owned.into_iter().collect()
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
    /// Units per buyer, if limited.
    limit: Option<i64>,
    /// Of each buyer: units he owns or has on hold.
    buyers: BTreeMap<String, i64>,
    /// Number of the lease in force.
    lease: Option<u32>,
    /// Facts kept during a load, or beyond `version`.
    facts: BTreeMap<i64, Fact>,
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
    pub(crate) fn new(limit: Option<i64>) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Of each buyer with any: units he owns or has on hold.
    pub(crate) fn buyers(&self) -> BTreeMap<String, i64> {
        let mut buyers = self.buyers.clone();
        buyers.retain(|_, units| *units != 0);
        buyers
    }

    fn buys(&mut self, id: &str, units: i64) {
        if let Some(buyer) = buyer_of(id)
            && self.limit.is_some()
        {
            *self.buyers.entry(buyer.as_str().to_owned()).or_default() += units;
        }
    }

    pub(crate) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    pub(crate) fn facts(&self) -> &BTreeMap<i64, Fact> {
        &self.facts
    }

    pub(crate) fn sold(&self) -> &BTreeSet<String> {
        &self.sold
    }

    pub(crate) fn purge(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Admissions, and whether the lease `offered` was taken; `None` when the gate is not loaded.
    pub(crate) fn reserve(
        &mut self,
        offered: u32,
        requests: &[(&str, i64)],
    ) -> (Option<Vec<Admission>>, bool) {
        if self.open.is_none() {
            let is_free = self.lease.is_none();
            self.lease.get_or_insert(offered);
            if is_free {
                self.buyers.clear();
            }
            return (None, is_free);
        }
        let admissions = requests.iter().map(|(id, quantity)| self.admit(id, *quantity));
        (Some(admissions.collect()), false)
    }

    fn admit(&mut self, id: &str, quantity: i64) -> Admission {
        let Some(open) = &mut self.open else {
            return Admission::Cold;
        };
        if open.holds.contains_key(id) {
            return Admission::Held;
        }
        if self.sold.contains(id) {
            return Admission::Replay;
        }
        if let Some(limit) = self.limit {
            let Some(buyer) = buyer_of(id) else {
                return Admission::BuyerRequired;
            };
            if self.buyers.get(buyer.as_str()).copied().unwrap_or(0) + quantity > limit {
                return Admission::Limit;
            }
        }
        if open.counter < quantity {
            return Admission::SoldOut;
        }
        open.counter -= quantity;
        open.holds.insert(id.to_owned(), quantity);
        self.buys(id, quantity);
        Admission::Held
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
        if self.open.is_none() {
            self.facts
                .extend(facts.iter().map(|fact| (fact.version, fact.clone())));
            return Settled::Kept;
        }
        for fact in facts {
            if let Some(id) = &fact.settles {
                self.end_hold(id.as_str());
            }
            let is_new = self.open.as_ref().is_some_and(|open| fact.version > open.version);
            if is_new && !self.facts.contains_key(&fact.version) {
                self.facts.insert(fact.version, fact.clone());
                self.count(fact);
            }
        }
        releases.iter().for_each(|id| self.end_hold(id));
        self.move_up();
        Settled::Applied
    }

    fn end_hold(&mut self, id: &str) {
        if let Some(open) = &mut self.open
            && let Some(units) = open.holds.remove(id)
        {
            open.counter += units;
            self.buys(id, -units);
        }
    }

    fn count(&mut self, fact: &Fact) {
        if let Some(open) = &mut self.open {
            open.counter += fact.signed_quantity;
        }
        if let Some(id) = &fact.settles {
            self.buys(id.as_str(), -fact.signed_quantity);
        }
    }

    fn move_up(&mut self) {
        if let Some(open) = &mut self.open {
            while self.facts.remove(&(open.version + 1)).is_some() {
                open.version += 1;
            }
        }
    }

    pub(crate) fn remember(&mut self, lease: u32, ids: &[&str], owned: &[(&str, i64)]) -> LoadStep {
        if self.open.is_some() || self.lease != Some(lease) {
            return LoadStep::LeaseLost;
        }
        self.sold.extend(ids.iter().map(ToString::to_string));
        let owned = owned.iter().map(|(buyer, units)| ((*buyer).to_owned(), *units));
        self.buyers.extend(owned);
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
        self.open = Some(Open {
            counter: stock,
            version,
            holds: BTreeMap::new(),
        });
        for fact in self.facts.clone().values() {
            self.count(fact);
        }
        self.move_up();
        LoadStep::Loaded
    }
}
