//! Which products are hot, as this instance knows it.
//!
//! A copy of a database column, refreshed in the background and at most about a second old. It decides only whether a
//! request asks the gate first. Being wrong costs a round trip or the gate's filter, never a unit: the decision reads
//! the column itself.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use crate::domain::request::ProductId;

/// See the module.
#[derive(Debug, Default)]
pub struct HotProducts(RwLock<HashSet<ProductId>>);

impl HotProducts {
    /// Whether requests for this product ask the gate first.
    #[must_use]
    pub fn contains(&self, product: ProductId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&product)
    }

    /// Takes over what the database said.
    pub fn replace(&self, products: HashSet<ProductId>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = products;
    }

    /// This instance has made a product hot.
    pub fn insert(&self, product: ProductId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(product);
    }

    /// This instance has found a product not to be hot.
    pub fn remove(&self, product: ProductId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&product);
    }

    /// All of them, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<ProductId> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .copied()
            .collect()
    }
}
