//! Which products are hot, as this instance knows it.
//!
//! A copy of a database column, refreshed in the background and at most about a second old. It decides only whether a
//! request asks the gate first. Being wrong costs a round trip or the gate's filter, never a unit: the decision reads
//! the column itself.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::domain::request::ProductId;

/// See the module.
#[derive(Debug, Default)]
pub struct HotProducts(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    products: HashSet<ProductId>,
    /// What this instance has made hot (true) or found not to be (false) since the column was last asked for. The
    /// answer may be older than that.
    changed: HashMap<ProductId, bool>,
}

impl HotProducts {
    /// Whether requests for this product ask the gate first.
    #[must_use]
    pub fn contains(&self, product: ProductId) -> bool {
        self.read().products.contains(&product)
    }

    /// The database is about to be asked; [`Self::replace`] takes over the answer.
    pub fn refresh(&self) {
        self.write().changed.clear();
    }

    /// Takes over what the database said, except for what this instance has changed since it was asked.
    pub fn replace(&self, products: HashSet<ProductId>) {
        let mut known = self.write();
        let Known {
            products: old,
            changed,
        } = &mut *known;
        *old = products;
        for (product, is_hot) in changed.iter() {
            if *is_hot {
                old.insert(*product);
            } else {
                old.remove(product);
            }
        }
    }

    /// This instance has made a product hot.
    pub fn insert(&self, product: ProductId) {
        let mut known = self.write();
        known.products.insert(product);
        known.changed.insert(product, true);
    }

    /// This instance has found a product not to be hot.
    pub fn remove(&self, product: ProductId) {
        let mut known = self.write();
        known.products.remove(&product);
        known.changed.insert(product, false);
    }

    /// All of them, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<ProductId> {
        self.read().products.iter().copied().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_while_the_database_was_asked_is_not_undone_by_its_answer() {
        let hot = HotProducts::default();
        hot.insert(1);
        hot.refresh();
        hot.insert(2); // created: the answer, read before, does not have it
        hot.remove(1); // unloaded: the answer still has it
        hot.replace([1, 3].into());
        assert_eq!(
            [1, 2, 3].map(|product| hot.contains(product)),
            [false, true, true]
        );
    }

    #[test]
    fn the_next_answer_is_believed_again() {
        let hot = HotProducts::default();
        hot.insert(1);
        hot.remove(2);
        hot.refresh();
        hot.replace([2].into());
        assert_eq!(hot.all(), [2]);
    }
}
