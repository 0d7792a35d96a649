//! Readings: what the gauges of hot products say, read on a timer by one worker, never for a request and never for a scrape.
//!
//! Every instance reads all of it, so the gauges of several instances say the same and are not to be added up. If it dies
//! or the database is away, the gauges vanish after a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::database::Pool;

use crate::domain::request::ProductId;
use crate::domain::words::BreakerState;
use crate::gate::Gate;
use crate::ledger::accounts::{Stretch, stretches};
use crate::ledger::{LedgerError, standing};
use crate::metrics;
use crate::stock::audit::{StockAudit, audit_some, audit_without_gate};

/// The pause between two readings: four times as long as the last one took, within these bounds.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Products per round trip.
const CHUNK: usize = 500;
/// Ledger rows of one product that are added up per reading: after a start a long ledger is caught up with bit by bit.
const ROWS_MAX: i64 = 10_000;

/// What the ledger of a product adds up to, from its first row to the last one read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The last ledger version read.
    pub version: i64,
    /// Units that orders took, minus those given back.
    pub sold: i64,
    /// Units that came in otherwise, minus those taken out.
    pub supplied: i64,
    /// Units by which the balance there differs from what the rows add up to. Always 0.
    pub unaccounted: i64,
    /// Whether the last row read was the last one there.
    pub is_current: bool,
}

impl Account {
    fn and(self, stretch: &Stretch) -> Self {
        let (sold, supplied) = (self.sold + stretch.sold, self.supplied + stretch.supplied);
        let is_current = stretch.version >= stretch.stock_version;
        let balance = match stretch.balance {
            Some(balance) if !is_current => balance,
            _ => stretch.stock,
        };
        Self {
            version: stretch.version,
            sold,
            supplied,
            unaccounted: (balance - (supplied - sold)).abs(),
            is_current,
        }
    }
}

/// Reads, for ever. At most `labelled_max` products are shown by name, and only their ledgers are added up.
pub async fn run(pool: Pool, gate: Arc<Gate>, labelled_max: usize) {
    let mut accounts = HashMap::new();
    loop {
        let begun = Instant::now();
        match read(&pool, &gate, &mut accounts, labelled_max).await {
            Ok(audits) => {
                metrics::database_up(true);
                let current: Vec<(ProductId, Account)> = accounts
                    .iter()
                    .filter(|(_, account)| account.is_current || account.unaccounted != 0)
                    .map(|(product, account)| (*product, *account))
                    .collect();
                metrics::products::products(&audits, &current, labelled_max);
            }
            Err(error) => metrics::readings_failed(&error),
        }
        tokio::time::sleep((4 * begun.elapsed()).clamp(PAUSE, PAUSE_MAX)).await;
    }
}

async fn read(
    pool: &Pool,
    gate: &Gate,
    accounts: &mut HashMap<ProductId, Account>,
    labelled_max: usize,
) -> Result<Vec<StockAudit>, LedgerError> {
    let hot = standing::hot_products(pool).await?;
    let mut audits = Vec::with_capacity(hot.len());
    for products in hot.chunks(CHUNK) {
        // While it is not closed Redis is the prober's alone.
        audits.extend(if gate.breaker.state() == BreakerState::Closed {
            audit_some(gate, pool, products).await?
        } else {
            audit_without_gate(pool, products).await?
        });
    }
    audits.sort_by_key(|audit| audit.product_id);
    let labelled = &hot[hot.len().saturating_sub(labelled_max)..];
    accounts.retain(|product, _| labelled.contains(product));
    let above: Vec<i64> = labelled
        .iter()
        .map(|product| accounts.get(product).map_or(0, |account| account.version))
        .collect();
    for stretch in stretches(pool, labelled, &above, ROWS_MAX).await? {
        let account = accounts.entry(stretch.product).or_default();
        *account = account.and(&stretch);
    }
    Ok(audits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCH: Stretch = Stretch {
        product: 1,
        stock: 7,
        stock_version: 4,
        version: 4,
        balance: Some(7),
        sold: 3,
        supplied: 10,
    };

    #[test]
    fn an_account_that_adds_up_leaves_nothing_unaccounted() {
        let account = Account::default().and(&STRETCH);
        assert_eq!((account.sold, account.supplied, account.unaccounted), (3, 10, 0));
        assert!(account.is_current);
    }

    #[test]
    fn a_long_ledger_is_held_against_its_own_balance_until_it_is_caught_up_with() {
        let half = Stretch {
            version: 2,
            balance: Some(9),
            sold: 1,
            ..STRETCH
        };
        let account = Account::default().and(&half);
        assert_eq!((account.unaccounted, account.is_current), (0, false));
        let rest = Stretch {
            sold: 2,
            supplied: 0,
            ..STRETCH
        };
        let account = account.and(&rest);
        assert_eq!(
            (account.sold, account.unaccounted, account.is_current),
            (3, 0, true)
        );
    }

    #[test]
    fn a_stock_that_nobody_accounts_for_shows_whichever_way_it_differs() {
        for stock in [5, 9] {
            let account = Account::default().and(&Stretch { stock, ..STRETCH });
            assert_eq!(account.unaccounted, 2, "{stock}");
        }
    }
}
