//! Owns Postgres: the ledger, the stock and the tombstones, and the two transactions that change them for a
//! request, [`decide`] and [`void`]. Each is one step: the row lock makes them so.

use crate::config::Config;
use crate::mutants::Mutant;
use crate::state::REQUESTS_MAX;

/// How many movements a run may have; versions are bits of a byte elsewhere.
pub const VERSIONS_MAX: u8 = 8;

/// The ledger of the product. Version 0 is the initial stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ledger {
    /// Movements so far = the newest version.
    pub rows: u8,
    /// The version at which a request id took its quantity; 0: it did not.
    pub taken: [u8; REQUESTS_MAX],
    /// The version at which a void gave it back; 0: it did not.
    pub given: [u8; REQUESTS_MAX],
    /// Versions that are negative adjustments. What is neither this nor taken nor given is a restock of one.
    pub adjusted: u8,
    /// Request ids that were voided.
    pub tombstones: u8,
}

/// What a committed row says about a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settles {
    /// Nothing: an adjustment.
    Nobody,
    /// This request id got its stock.
    Take(usize),
    /// What this request id had taken was given back.
    Give(usize),
}

/// A committed row, as it is handed to `apply`.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// The version of the row.
    pub version: u8,
    /// Its signed quantity.
    pub delta: i8,
    /// The request id it settles.
    pub settles: Settles,
}

impl Ledger {
    /// The row with this version.
    pub fn fact(&self, config: &Config, version: u8) -> Fact {
        for id in 0..config.quantities.len() {
            let quantity = config.quantities[id] as i8;
            if self.taken[id] == version {
                return Fact {
                    version,
                    delta: -quantity,
                    settles: Settles::Take(id),
                };
            }
            if self.given[id] == version {
                return Fact {
                    version,
                    delta: quantity,
                    settles: Settles::Give(id),
                };
            }
        }
        let delta = if self.adjusted & (1 << (version - 1)) != 0 {
            -1
        } else {
            1
        };
        Fact {
            version,
            delta,
            settles: Settles::Nobody,
        }
    }

    /// `balance_after` of the row with this version.
    pub fn balance(&self, config: &Config, version: u8) -> i8 {
        (1..=version).map(|n| self.fact(config, n).delta).sum::<i8>() + config.stock as i8
    }

    /// The stock now.
    pub fn stock(&self, config: &Config) -> i8 {
        self.balance(config, self.rows)
    }

    /// The request id took its quantity by this version and had not given it back.
    pub fn owns_at(&self, id: usize, version: u8) -> bool {
        self.knows_at(id, version) && !(self.given[id] != 0 && self.given[id] <= version)
    }

    /// The request id took its quantity by this version, given back since or not.
    pub fn knows_at(&self, id: usize, version: u8) -> bool {
        self.taken[id] != 0 && self.taken[id] <= version
    }

    /// The request id owns its quantity now.
    pub fn owns(&self, id: usize) -> bool {
        self.owns_at(id, self.rows)
    }

    /// Units of the limited buyer at this version.
    pub fn bought(&self, config: &Config, version: u8) -> i8 {
        config
            .limited_ids()
            .filter(|id| self.owns_at(*id, version))
            .map(|id| config.quantities[id] as i8)
            .sum()
    }

    /// A tombstone for the request id exists.
    pub fn is_voided(&self, id: usize) -> bool {
        self.tombstones & (1 << id) != 0
    }

    /// An adjustment by one.
    pub fn adjust(&mut self, up: bool) -> u8 {
        self.rows += 1;
        if !up {
            self.adjusted |= 1 << (self.rows - 1);
        }
        self.rows
    }
}

/// What the decision said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A new row with this version.
    Sold(u8),
    /// The id is in the ledger, with this version.
    Replay(u8),
    /// The id has a tombstone.
    Voided,
    /// The buyer's limit is reached.
    Limit,
    /// Not enough stock.
    Insufficient,
    /// Only mutants: the id took stock a second time.
    SecondEffect,
}

/// The one transaction that sells.
pub fn decide(config: &Config, ledger: &mut Ledger, id: usize, held: bool) -> Decision {
    let known = ledger.taken[id] != 0;
    let replay = Decision::Replay(ledger.taken[id]);
    if known && config.is(Mutant::LedgerBeforeTombstone) {
        return replay;
    }
    if ledger.is_voided(id) {
        return Decision::Voided;
    }
    if known && !config.is(Mutant::DecideIgnoresId) {
        return replay;
    }
    let quantity = config.quantities[id] as i8;
    let limited = config.limit > 0 && config.is_limited(id);
    if limited && ledger.bought(config, ledger.rows) + quantity > config.limit as i8 {
        return Decision::Limit;
    }
    let trusted = held && config.is(Mutant::DecideTrustsHold);
    if ledger.stock(config) < quantity && !trusted {
        return Decision::Insufficient;
    }
    if known {
        return Decision::SecondEffect;
    }
    ledger.rows += 1;
    ledger.taken[id] = ledger.rows;
    Decision::Sold(ledger.rows)
}

/// Gives up a request id for good. Answers the version of the row that gives back, if there is one.
pub fn void(config: &Config, ledger: &mut Ledger, id: usize) -> Result<Option<u8>, Decision> {
    let sold = ledger.taken[id] != 0;
    if sold || !config.is(Mutant::VoidWithoutTombstone) {
        ledger.tombstones |= 1 << id;
    }
    if !sold {
        return Ok(None);
    }
    if ledger.given[id] != 0 {
        return if config.is(Mutant::VoidTwiceGivesTwice) {
            Err(Decision::SecondEffect)
        } else {
            Ok(Some(ledger.given[id]))
        };
    }
    ledger.rows += 1;
    ledger.given[id] = ledger.rows;
    Ok(Some(ledger.rows))
}
