//! What the sale of a product is bound to, apart from how much there is.

use chrono::{DateTime, Utc};

/// Kept by the gate, which refuses early, and by the decision, which refuses for good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaleRules {
    /// Cannot be sold any more.
    pub discontinued: bool,
    /// First moment at which it may be sold.
    pub starts_at: Option<DateTime<Utc>>,
    /// First moment at which it may not be sold any more.
    pub ends_at: Option<DateTime<Utc>>,
    /// Units one buyer may own, over all his orders.
    pub purchase_limit: Option<i64>,
}

impl SaleRules {
    /// Whether `now` is within the sale window.
    #[must_use]
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.starts_at.is_none_or(|at| at <= now) && self.ends_at.is_none_or(|at| now < at)
    }
}
