//! The decision: the one place that can sell.
//!
//! [`Books`] is what the transaction has read, under the locks of the product rows, about one batch of requests. Each
//! request is decided against it in order of arrival and changes it, so that a twin in the same batch meets the same
//! books as a twin a day later. What was decided is then written in one go. Pure: nothing here reads or waits.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use contracts::limits::STOCK_MAX;
use contracts::stock::{AdjustReason, Direction, IncreaseReason, MovementReason};

use super::request::{Adjust, BuyerId, Decrease, Increase, ProductId, RequestId, StockRequest};
use super::rules::SaleRules;
use super::words::Verdict;

/// The columns of a locked product row that decide.
#[derive(Debug, Clone)]
pub struct ProductRow {
    /// Units available, >= 0.
    pub stock: i64,
    /// Version of the last movement; 0 before the first.
    pub stock_version: i64,
    /// What its sale is bound to.
    pub rules: SaleRules,
    /// When the row was locked, by the database's clock.
    pub locked_at: DateTime<Utc>,
    /// REDIS_FIRST: its gate is told every fact.
    pub hot: bool,
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The product.
    pub product: ProductId,
    /// Gapless per product.
    pub stock_version: i64,
    /// In or out.
    pub direction: Direction,
    /// Units, > 0.
    pub quantity: i64,
    /// Stock after it.
    pub balance_after: i64,
    /// Why.
    pub reason: MovementReason,
    /// The order, for movements by order.
    pub order_id: Option<i64>,
    /// The buyer, where known.
    pub buyer: Option<BuyerId>,
    /// The request that did it.
    pub request_id: RequestId,
    /// For the record.
    pub note: Option<String>,
}

/// The mark that a decrease is given up for good, and the idempotency record of the void that did so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Request id of the void.
    pub void_id: RequestId,
    /// Request id of the decrease.
    pub voided_id: RequestId,
    /// The product.
    pub product: ProductId,
    /// The order.
    pub order_id: i64,
    /// Units the decrease was for.
    pub quantity: i64,
    /// Why.
    pub reason: IncreaseReason,
    /// Units put back: `quantity` or 0.
    pub given_back: i64,
    /// Stock after it.
    pub stock_after: i64,
}

/// A committed ledger row as the gate is told of it: idempotent and free of order by its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Ledger version.
    pub version: i64,
    /// Units, negative for out.
    pub signed_quantity: i64,
    /// The decrease it settles (out) or voids (in); none for adjustments.
    pub settles: Option<RequestId>,
    /// Whose units it changes, where the request said so.
    pub buyer: Option<BuyerId>,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The status.
    pub verdict: Verdict,
    /// Stock after the movement (done, replay), or the stock there is.
    pub stock: i64,
    /// The product's purchase limit, where that was the reason.
    pub limit: Option<i64>,
    /// For the gate, when the product is hot.
    pub fact: Option<Fact>,
}

/// What one batch of requests is decided against, and what was decided.
#[derive(Debug, Default)]
pub struct Books {
    /// Locked products.
    pub products: HashMap<ProductId, ProductRow>,
    /// Units that buyers own, for products that limit purchases.
    pub owned: HashMap<(ProductId, BuyerId), i64>,
    ledger: HashMap<RequestId, LedgerRow>,
    voids: HashMap<RequestId, Tombstone>,
    voided: HashSet<RequestId>,
    given_back: HashSet<RequestId>,
    /// Rows to write, in order.
    pub new_rows: Vec<LedgerRow>,
    /// Tombstones to write.
    pub new_tombstones: Vec<Tombstone>,
}

impl Books {
    /// Empty books of these products.
    #[must_use]
    pub fn of(products: HashMap<ProductId, ProductRow>) -> Self {
        Self {
            products,
            ..Self::default()
        }
    }

    /// Enters a row read from the ledger.
    pub fn know_row(&mut self, row: LedgerRow) {
        self.ledger.insert(row.request_id.clone(), row);
    }

    /// Enters a tombstone read from the database.
    pub fn know_tombstone(&mut self, tombstone: Tombstone) {
        self.voided.insert(tombstone.voided_id.clone());
        if tombstone.given_back > 0 {
            self.given_back.insert(tombstone.voided_id.clone());
        }
        self.voids.insert(tombstone.void_id.clone(), tombstone);
    }

    /// Decides one request; whatever it moves is entered before the next one is decided.
    pub fn decide(&mut self, request: &StockRequest) -> Decision {
        match request {
            StockRequest::Decrease(decrease) => self.decrease(decrease),
            StockRequest::Increase(increase) => self.increase(increase),
            StockRequest::Adjust(adjust) => self.adjust(adjust),
        }
    }

    fn decrease(&mut self, decrease: &Decrease) -> Decision {
        let id = &decrease.request_id;
        if self.voids.contains_key(id) {
            return self.refused(decrease.product, Verdict::KeyReused);
        }
        // Before the ledger: a sale that was voided is no success any more.
        if self.voided.contains(id) {
            return self.refused(decrease.product, Verdict::Voided);
        }
        if let Some(row) = self.ledger.get(id) {
            let same = row.reason == MovementReason::OrderDecrement
                && row.product == decrease.product
                && row.quantity == decrease.quantity.units()
                && row.order_id == Some(decrease.order_id)
                && row.buyer == decrease.buyer;
            return if same {
                self.replay(row)
            } else {
                self.refused(decrease.product, Verdict::KeyReused)
            };
        }
        let Some(product) = self.products.get(&decrease.product) else {
            return self.refused(decrease.product, Verdict::NotFound);
        };
        if let Some(verdict) = self.not_for_sale(product, decrease) {
            return self.refused(decrease.product, verdict);
        }
        if product.stock < decrease.quantity.units() {
            return self.refused(decrease.product, Verdict::Insufficient);
        }
        self.record(LedgerRow {
            product: decrease.product,
            stock_version: product.stock_version + 1,
            direction: Direction::Out,
            quantity: decrease.quantity.units(),
            balance_after: product.stock - decrease.quantity.units(),
            reason: MovementReason::OrderDecrement,
            order_id: Some(decrease.order_id),
            buyer: decrease.buyer.clone(),
            request_id: id.clone(),
            note: None,
        })
    }

    /// Rules of the product that have nothing to do with how much there is.
    fn not_for_sale(&self, product: &ProductRow, decrease: &Decrease) -> Option<Verdict> {
        if product.rules.discontinued {
            return Some(Verdict::Discontinued);
        }
        if !product.rules.is_open(product.locked_at) {
            return Some(Verdict::NotOpen);
        }
        let limit = product.rules.purchase_limit?;
        let Some(buyer) = &decrease.buyer else {
            return Some(Verdict::BuyerRequired);
        };
        let owned = self
            .owned
            .get(&(decrease.product, buyer.clone()))
            .copied()
            .unwrap_or(0);
        (owned + decrease.quantity.units() > limit).then_some(Verdict::Limit)
    }

    fn increase(&mut self, increase: &Increase) -> Decision {
        let (id, voids) = (&increase.request_id, &increase.voids);
        if let Some(tombstone) = self.voids.get(id) {
            let same = tombstone.voided_id == *voids
                && tombstone.product == increase.product
                && tombstone.order_id == increase.order_id
                && tombstone.quantity == increase.quantity.units()
                && tombstone.reason == increase.reason;
            return if same {
                Decision {
                    verdict: Verdict::Replay,
                    stock: tombstone.stock_after,
                    limit: None,
                    fact: self.ledger.get(id).and_then(|row| self.fact(row)),
                }
            } else {
                self.refused(increase.product, Verdict::KeyReused)
            };
        }
        if self.ledger.contains_key(id) || self.voided.contains(id) {
            return self.refused(increase.product, Verdict::KeyReused);
        }
        let Some(product) = self.products.get(&increase.product).cloned() else {
            return self.refused(increase.product, Verdict::NotFound);
        };
        // A key that voids cannot be voided: it never takes stock.
        if self.voids.contains_key(voids) {
            return self.refused(increase.product, Verdict::Mismatch);
        }
        let decrease = self.ledger.get(voids);
        let matches = |row: &LedgerRow| {
            row.reason == MovementReason::OrderDecrement
                && row.product == increase.product
                && row.order_id == Some(increase.order_id)
                && row.quantity == increase.quantity.units()
        };
        if decrease.is_some_and(|row| !matches(row)) {
            return self.refused(increase.product, Verdict::Mismatch);
        }
        let given_back = match decrease {
            Some(row) if !self.given_back.contains(voids) => row.quantity,
            _ => 0,
        };
        if product.stock + given_back > STOCK_MAX {
            return self.refused(increase.product, Verdict::Overflow);
        }
        self.void(increase, &product, given_back)
    }

    /// Writes the tombstone, always; and the row that gives back, if there is something to give back.
    fn void(&mut self, increase: &Increase, product: &ProductRow, given_back: i64) -> Decision {
        let tombstone = Tombstone {
            void_id: increase.request_id.clone(),
            voided_id: increase.voids.clone(),
            product: increase.product,
            order_id: increase.order_id,
            quantity: increase.quantity.units(),
            reason: increase.reason,
            given_back,
            stock_after: product.stock + given_back,
        };
        self.new_tombstones.push(tombstone.clone());
        self.know_tombstone(tombstone);
        if given_back == 0 {
            return Decision {
                verdict: Verdict::Done,
                stock: product.stock,
                limit: None,
                fact: None,
            };
        }
        let buyer = self.ledger.get(&increase.voids).and_then(|row| row.buyer.clone());
        self.record(LedgerRow {
            product: increase.product,
            stock_version: product.stock_version + 1,
            direction: Direction::In,
            quantity: given_back,
            balance_after: product.stock + given_back,
            reason: MovementReason::OrderIncrement,
            order_id: Some(increase.order_id),
            buyer,
            request_id: increase.request_id.clone(),
            note: None,
        })
    }

    fn adjust(&mut self, adjust: &Adjust) -> Decision {
        let id = &adjust.request_id;
        let reason = match adjust.reason {
            AdjustReason::Manual => MovementReason::Manual,
            AdjustReason::Adjust => MovementReason::Adjust,
        };
        let direction = if adjust.delta < 0 {
            Direction::Out
        } else {
            Direction::In
        };
        if self.voids.contains_key(id) || self.voided.contains(id) {
            return self.refused(adjust.product, Verdict::KeyReused);
        }
        if let Some(row) = self.ledger.get(id) {
            let same = row.reason == reason
                && row.product == adjust.product
                && row.direction == direction
                && row.quantity == adjust.delta.abs()
                && row.note == adjust.note;
            return if same {
                self.replay(row)
            } else {
                self.refused(adjust.product, Verdict::KeyReused)
            };
        }
        let Some(product) = self.products.get(&adjust.product) else {
            return self.refused(adjust.product, Verdict::NotFound);
        };
        let stock = product.stock + adjust.delta;
        if stock < 0 {
            return self.refused(adjust.product, Verdict::Insufficient);
        }
        if stock > STOCK_MAX {
            return self.refused(adjust.product, Verdict::Overflow);
        }
        self.record(LedgerRow {
            product: adjust.product,
            stock_version: product.stock_version + 1,
            direction,
            quantity: adjust.delta.abs(),
            balance_after: stock,
            reason,
            order_id: None,
            buyer: None,
            request_id: id.clone(),
            note: adjust.note.clone(),
        })
    }

    /// Enters a new movement: the ledger row, the product's stock and version, what the buyer owns.
    fn record(&mut self, row: LedgerRow) -> Decision {
        if let Some(product) = self.products.get_mut(&row.product) {
            product.stock = row.balance_after;
            product.stock_version = row.stock_version;
        }
        if let Some(buyer) = &row.buyer {
            *self.owned.entry((row.product, buyer.clone())).or_default() -= signed(&row);
        }
        let decision = Decision {
            verdict: Verdict::Done,
            stock: row.balance_after,
            limit: None,
            fact: self.fact(&row),
        };
        self.new_rows.push(row.clone());
        self.know_row(row);
        decision
    }

    /// The stored answer, and the old fact once more: the gate may have missed it.
    fn replay(&self, row: &LedgerRow) -> Decision {
        Decision {
            verdict: Verdict::Replay,
            stock: row.balance_after,
            limit: None,
            fact: self.fact(row),
        }
    }

    fn refused(&self, product: ProductId, verdict: Verdict) -> Decision {
        let product = self.products.get(&product);
        Decision {
            verdict,
            stock: product.map_or(0, |product| product.stock),
            limit: product.and_then(|product| product.rules.purchase_limit),
            fact: None,
        }
    }

    fn fact(&self, row: &LedgerRow) -> Option<Fact> {
        let hot = self.products.get(&row.product).is_some_and(|product| product.hot);
        let settles = match row.reason {
            MovementReason::OrderDecrement => Some(row.request_id.clone()),
            MovementReason::OrderIncrement => {
                self.voids.get(&row.request_id).map(|void| void.voided_id.clone())
            }
            MovementReason::Initial | MovementReason::Manual | MovementReason::Adjust => None,
        };
        hot.then(|| Fact {
            version: row.stock_version,
            signed_quantity: signed(row),
            settles,
            buyer: row.buyer.clone(),
        })
    }
}

/// Units by which a row changes the stock.
fn signed(row: &LedgerRow) -> i64 {
    match row.direction {
        Direction::In => row.quantity,
        Direction::Out => -row.quantity,
    }
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
