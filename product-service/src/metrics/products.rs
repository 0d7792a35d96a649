//! The gauges of hot products. Labelled by product only while it is hot, for so many products at most; what they are of
//! the others is added up as `other`, so that the number of series has a bound.

use metrics::{SharedString, gauge};

use crate::domain::request::ProductId;
use crate::stock::audit::StockAudit;
use crate::workers::readings::Account;

const HOT: &str = "hotstock_hot_products";
const LOADED: &str = "hotstock_product_gate_loaded";
const STOCK: &str = "hotstock_product_stock_units";
const PROMISABLE: &str = "hotstock_product_gate_units";
const HOLDS: &str = "hotstock_product_holds";
const HELD: &str = "hotstock_product_held_units";
const OVERDUE: &str = "hotstock_product_overdue_holds";
const DRIFT: &str = "hotstock_product_drift_units";
const SOLD: &str = "hotstock_product_sold_units";
const SUPPLIED: &str = "hotstock_product_supplied_units";
const OVERSOLD: &str = "hotstock_product_oversold_units";
const UNACCOUNTED: &str = "hotstock_product_unaccounted_units";

const HELP: &[(&str, &str)] = &[
    (HOT, "Products that are hot."),
    (
        LOADED,
        "Whether its gate is loaded and answers: 1 yes, 0 no; of `other`, how many are.",
    ),
    (STOCK, "Units in the database."),
    (
        PROMISABLE,
        "Units that the gate may still promise. Not a number while the gate says nothing.",
    ),
    (HOLDS, "Requests that were admitted and are not settled yet."),
    (HELD, "Units that are held for them."),
    (OVERDUE, "Holds past their deadline."),
    (
        DRIFT,
        "Units by which the gate differs from what the ledger says it has to be, whichever way. 0 in health.",
    ),
    (SOLD, "Units that orders own, by the ledger."),
    (
        SUPPLIED,
        "Units that were put in by hand or at the beginning, minus those taken out by hand.",
    ),
    (
        OVERSOLD,
        "Units that orders own beyond those that were ever there. Always 0.",
    ),
    (
        UNACCOUNTED,
        "Units by which the stock differs from what the ledger adds up to, whichever way. Always 0.",
    ),
];

pub(super) fn describe() {
    platform::metrics::describe(HELP);
    products(&[], &[], 0);
}

/// What of one product, or of all others together, is shown.
#[derive(Debug, Default, Clone, Copy)]
struct Shown {
    loaded: f64,
    stock: f64,
    promisable: f64,
    holds: f64,
    held: f64,
    overdue: f64,
    drift: f64,
    account: Option<Account>,
}

/// Shows the hot products, `audits` of which the last `labelled_max` have series of their own, and what their ledgers add
/// up to, as far as that is known.
pub fn products(audits: &[StockAudit], accounts: &[(ProductId, Account)], labelled_max: usize) {
    gauge!(HOT).set(number(i64::try_from(audits.len()).unwrap_or(i64::MAX)));
    let (others, labelled) = audits.split_at(audits.len().saturating_sub(labelled_max));
    show(
        "other".into(),
        others.iter().map(shown).fold(
            Shown {
                account: Some(Account::default()),
                ..Shown::default()
            },
            Shown::with,
        ),
    );
    for audit in labelled {
        let account = accounts
            .iter()
            .find(|(product, _)| *product == audit.product_id)
            .map(|(_, account)| *account);
        show(
            audit.product_id.to_string().into(),
            Shown {
                account,
                ..shown(audit)
            },
        );
    }
}

fn shown(audit: &StockAudit) -> Shown {
    let Some(gate) = &audit.gate else {
        // It says nothing, and nothing is known of it: that is not the same as nothing being wrong.
        return Shown {
            stock: number(audit.database_stock),
            promisable: f64::NAN,
            holds: f64::NAN,
            held: f64::NAN,
            overdue: f64::NAN,
            drift: f64::NAN,
            ..Shown::default()
        };
    };
    Shown {
        loaded: 1.0,
        stock: number(audit.database_stock),
        promisable: number(gate.counter),
        holds: number(gate.holds),
        held: number(gate.held_units),
        overdue: number(gate.overdue_holds),
        // Ahead of a database that has lost commits: everything it promises is more than there is.
        drift: number(gate.drift.unwrap_or(gate.counter)).abs(),
        account: None,
    }
}

impl Shown {
    fn with(self, other: Self) -> Self {
        let sum = |a: f64, b: f64| if b.is_nan() { a } else { a + b };
        Self {
            loaded: self.loaded + other.loaded,
            stock: self.stock + other.stock,
            promisable: sum(self.promisable, other.promisable),
            holds: sum(self.holds, other.holds),
            held: sum(self.held, other.held),
            overdue: sum(self.overdue, other.overdue),
            drift: sum(self.drift, other.drift),
            account: self.account,
        }
    }
}

fn show(product: SharedString, shown: Shown) {
    for (name, value) in [
        (LOADED, shown.loaded),
        (STOCK, shown.stock),
        (PROMISABLE, shown.promisable),
        (HOLDS, shown.holds),
        (HELD, shown.held),
        (OVERDUE, shown.overdue),
        (DRIFT, shown.drift),
    ] {
        gauge!(name, "product" => product.clone()).set(value);
    }
    let Some(account) = shown.account else { return };
    for (name, units) in [
        (SOLD, account.sold),
        (SUPPLIED, account.supplied),
        (OVERSOLD, (account.sold - account.supplied).max(0)),
        (UNACCOUNTED, account.unaccounted),
    ] {
        gauge!(name, "product" => product.clone()).set(number(units));
    }
}

#[expect(clippy::cast_precision_loss, reason = "units of stock are below 2^53")]
fn number(units: i64) -> f64 {
    units as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stock::audit::GateAudit;
    use metrics_exporter_prometheus::PrometheusBuilder;

    fn audit(product_id: ProductId, drift: Option<i64>) -> StockAudit {
        let gate = GateAudit {
            counter: 7,
            holds: 1,
            held_units: 2,
            overdue_holds: 0,
            version: 3,
            facts: 0,
            drift,
        };
        StockAudit {
            product_id,
            database_stock: 10,
            database_version: 3,
            gate: Some(gate),
        }
    }

    fn shown_as(audits: &[StockAudit], accounts: &[(ProductId, Account)], labelled_max: usize) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || products(audits, accounts, labelled_max));
        recorder.handle().render()
    }

    #[test]
    fn the_newest_products_have_names_and_the_others_are_one() {
        let audits: Vec<StockAudit> = (1..=5).map(|product| audit(product, Some(-2))).collect();
        let text = shown_as(&audits, &[], 2);
        for line in [
            "hotstock_hot_products 5",
            "hotstock_product_stock_units{product=\"5\"} 10",
            "hotstock_product_drift_units{product=\"4\"} 2",
            "hotstock_product_stock_units{product=\"other\"} 30",
            "hotstock_product_drift_units{product=\"other\"} 6",
            "hotstock_product_gate_loaded{product=\"other\"} 3",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
        assert!(!text.contains("product=\"3\""), "{text}");
    }

    #[test]
    fn a_gate_that_says_nothing_is_not_shown_as_right() {
        let silent = StockAudit {
            gate: None,
            ..audit(1, None)
        };
        let text = shown_as(&[silent], &[], 10);
        assert!(
            text.contains("hotstock_product_drift_units{product=\"1\"} NaN"),
            "{text}"
        );
        assert!(
            text.contains("hotstock_product_gate_loaded{product=\"1\"} 0"),
            "{text}"
        );
        // Ahead of the database: all it promises is too much.
        let text = shown_as(&[audit(1, None)], &[], 10);
        assert!(
            text.contains("hotstock_product_drift_units{product=\"1\"} 7"),
            "{text}"
        );
    }

    #[test]
    fn units_sold_beyond_those_there_were_are_oversold() {
        let account = Account {
            sold: 12,
            supplied: 10,
            ..Account::default()
        };
        let text = shown_as(&[audit(1, Some(0))], &[(1, account)], 10);
        assert!(
            text.contains("hotstock_product_oversold_units{product=\"1\"} 2"),
            "{text}"
        );
        // Of a ledger that is not caught up with nothing is said.
        let text = shown_as(&[audit(1, Some(0))], &[], 10);
        assert!(
            !text.contains("hotstock_product_oversold_units{product=\"1\"}"),
            "{text}"
        );
    }
}
