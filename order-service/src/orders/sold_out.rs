//! What is sold out, as product-service says: such orders are turned away at the door, without a row.
//!
//! A hint with an end: unless it is said again, it is forgotten after a moment, so that a lost word of new stock delays
//! nobody for longer than that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Products remembered at most; beyond it orders are decided by product-service, as ever.
const PRODUCTS_MAX: usize = 10_000;

/// The products that are sold out. Cheap to clone.
#[derive(Clone)]
pub struct SoldOut {
    until: Arc<Mutex<HashMap<i64, Instant>>>,
    ttl: Duration,
}

impl SoldOut {
    /// Nothing is. What will be is believed for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            until: Arc::default(),
            ttl,
        }
    }

    /// product-service says so.
    pub fn heard(&self, product: i64, sold_out: bool) {
        let now = Instant::now();
        let mut until = self.lock();
        if !sold_out {
            until.remove(&product);
            return;
        }
        if until.len() >= PRODUCTS_MAX {
            until.retain(|_, end| *end > now);
        }
        if until.len() < PRODUCTS_MAX || until.contains_key(&product) {
            until.insert(product, now + self.ttl);
        }
    }

    /// Whether orders of this product are turned away at the moment.
    #[must_use]
    pub fn contains(&self, product: i64) -> bool {
        self.lock().get(&product).is_some_and(|end| *end > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sold_out_is_believed_for_a_moment_and_forgotten_when_there_is_stock() {
        let sold_out = SoldOut::new(Duration::from_secs(60));
        assert!(!sold_out.contains(1));
        sold_out.heard(1, true);
        assert!(sold_out.contains(1) && !sold_out.contains(2));
        sold_out.heard(1, false);
        assert!(!sold_out.contains(1));
        let over_at_once = SoldOut::new(Duration::ZERO);
        over_at_once.heard(1, true);
        assert!(!over_at_once.contains(1));
    }
}
