//! What the buyers were told, held against the books.

use std::fmt;

use hdrhistogram::Histogram;

use super::orders::OrdersVerdict;
use super::tally::{ProductTally, Tally, per_second};
use crate::books::ProductBooks;

/// The judgement of one run.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// One entry per product, by id.
    pub products: Vec<ProductVerdict>,
    /// What is wrong inside the books themselves.
    pub faults: Vec<String>,
    /// Why the gate could not be asked, if it was to be and could not.
    pub gate_fault: Option<String>,
    /// Units that the buyer with most of them owns of one product; `None` where no purchase is limited.
    pub owned_most: Option<i64>,
    /// The orders, if buyers placed any.
    pub orders: Option<OrdersVerdict>,
    /// What the buyers were told.
    pub tally: Tally,
}

/// The judgement of one product, in units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductVerdict {
    /// Identity.
    pub product_id: i64,
    /// Stock before the run.
    pub initial: i64,
    /// Stock after it.
    pub remaining: i64,
    /// Units of buyers who were told that they got them, and not that they gave them back.
    pub sold_to_clients: i64,
    /// Units of buyers who do not know.
    pub unknown: i64,
    /// Units of buyers who do not know whether they gave them back.
    pub perhaps_back: i64,
    /// Units sold by the ledger's account.
    pub sold_by_ledger: i64,
    /// Units sold by the gate's account; `None` where no gate is loaded or asked.
    pub sold_by_gate: Option<i64>,
    /// Units left although a buyer who wanted that many, or fewer, was told it is sold out. Legitimate only while
    /// something fails: Redis may refuse too early then, never sell too much.
    pub left_though_refused: i64,
}

impl ProductVerdict {
    pub(super) fn new(before: &ProductBooks, after: &ProductBooks, tally: &ProductTally) -> Self {
        // Where units come back, they may have come back too late for him.
        let come_back = tally.units_given_back + tally.units_perhaps_back > 0;
        let could_have_had = tally
            .smallest_sold_out
            .is_some_and(|quantity| quantity <= after.stock && !come_back);
        Self {
            product_id: after.product_id,
            initial: before.stock,
            remaining: after.stock,
            sold_to_clients: tally.units_sold - tally.units_given_back,
            unknown: tally.units_unknown,
            perhaps_back: tally.units_perhaps_back,
            sold_by_ledger: after.units_sold - before.units_sold,
            sold_by_gate: after.gate.as_ref().map(|gate| before.stock - gate.counter),
            left_though_refused: if could_have_had { after.stock } else { 0 },
        }
    }

    /// Units promised beyond what there was, by whichever account says most. Always 0.
    #[must_use]
    pub fn oversold(&self) -> i64 {
        (self.sold_to_clients - self.perhaps_back)
            .max(self.sold_by_ledger)
            .max(self.sold_by_gate.unwrap_or(0))
            .max(self.initial)
            - self.initial
    }

    /// Whether all accounts agree and nothing was oversold.
    #[must_use]
    pub fn is_true(&self) -> bool {
        let ledger = self.sold_by_ledger;
        // A buyer who does not know may have got his units or not; everybody else's have to be found exactly.
        (self.sold_to_clients - self.perhaps_back..=self.sold_to_clients + self.unknown).contains(&ledger)
            && self.initial - self.remaining == ledger
            && self.sold_by_gate.is_none_or(|gate| gate == ledger)
            && self.oversold() == 0
    }
}

impl Verdict {
    /// Whether the books are right.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.faults.is_empty()
            && self.products.iter().all(ProductVerdict::is_true)
            && self.orders.as_ref().is_none_or(OrdersVerdict::is_true)
    }

    fn sum(&self, units: impl Fn(&ProductVerdict) -> i64) -> i64 {
        self.products.iter().map(units).sum()
    }

    fn write_books(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let initial = self.sum(|product| product.initial);
        let remaining = self.sum(|product| product.remaining);
        row(
            f,
            "sold, told the clients",
            self.sum(|product| product.sold_to_clients),
        )?;
        let given_back = self.tally.products.iter().map(|product| product.units_given_back);
        let given_back: i64 = given_back.sum();
        if given_back > 0 {
            row(f, "besides, sold and given back", given_back)?;
        }
        let perhaps_back = self.sum(|product| product.perhaps_back);
        if perhaps_back > 0 {
            row(f, "of it, perhaps given back", perhaps_back)?;
        }
        let unknown = self.sum(|product| product.unknown);
        if unknown > 0 {
            row(f, "unknown to the clients", unknown)?;
        }
        row(
            f,
            "sold, by the ledger",
            self.sum(|product| product.sold_by_ledger),
        )?;
        row(
            f,
            "initial - remaining",
            format!("{} = {initial} - {remaining}", initial - remaining),
        )?;
        if self.products.iter().any(|product| product.sold_by_gate.is_some()) {
            row(
                f,
                "sold, by the gate",
                self.sum(|product| product.sold_by_gate.unwrap_or(product.sold_by_ledger)),
            )?;
        } else {
            let why = self.gate_fault.as_deref().unwrap_or("no gate loaded");
            row(f, "sold, by the gate", format!("({why})"))?;
        }
        row(f, "oversold", self.sum(ProductVerdict::oversold))?;
        if let Some(most) = self.owned_most {
            row(f, "most that one buyer owns", most)?;
        }
        let left = self.sum(|product| product.left_though_refused);
        if left > 0 {
            row(f, "left though refused", left)?;
        }
        Ok(())
    }

    fn write_answers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (answer, count) in &self.tally.answers {
            row(f, &format!("answered {answer}"), count)?;
        }
        for (fault, count) in &self.tally.faults {
            row(f, &format!("attempts: {fault}"), count)?;
        }
        if self.tally.replays > 0 {
            row(f, "of them replayed", self.tally.replays)?;
        }
        if self.tally.dropped > 0 {
            row(f, "turned away, too many waiting", self.tally.dropped)?;
        }
        Ok(())
    }

    fn write_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        row(f, "latency, all", latency(&tally.latency_us))?;
        if !tally.sale_latency_us.is_empty() {
            let what = match self.orders {
                Some(_) => "latency, to CONFIRMED",
                None => "latency, sales",
            };
            row(f, what, latency(&tally.sale_latency_us))?;
        }
        if let Some(orders) = &self.orders {
            row(
                f,
                "orders accepted/s",
                format!("{:.0}", per_second(orders.accepted(), tally.wall_time)),
            )?;
        }
        row(f, "answers/s", format!("{:.0}", tally.answers_per_second()))?;
        let sale_ms = tally.sale_time.as_secs_f64() * 1e3;
        let what = match self.orders {
            Some(_) => "confirmed/s",
            None => "sales/s",
        };
        row(
            f,
            what,
            format!(
                "{:.0} until the last sale, at {sale_ms:.1} ms",
                tally.sales_per_second()
            ),
        )?;
        row(
            f,
            "wall time",
            format!("{:.1} ms", tally.wall_time.as_secs_f64() * 1e3),
        )?;
        self.write_effort(f)
    }

    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    fn write_effort(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let lateness_us = &tally.effort.lateness_us;
        if !lateness_us.is_empty() {
            row(f, "lateness of the load tool", latency(lateness_us))?;
        }
        if let Some(cpu) = tally.effort.cpu() {
            let each_us = cpu.as_secs_f64() * 1e6 / tally.latency_us.len().max(1) as f64;
            let busy = tally.effort.busy_ratio(tally.wall_time) * 100.0;
            row(
                f,
                "the load tool's own processor time",
                format!("{each_us:.1} us per buyer, busy {busy:.0} % of the time"),
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    /// The table for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "products", self.products.len())?;
        row(f, "buyers", self.tally.latency_us.len())?;
        writeln!(f, "{}", "-".repeat(64))?;
        self.write_books(f)?;
        writeln!(f, "{}", "-".repeat(64))?;
        self.write_answers(f)?;
        writeln!(f, "{}", "-".repeat(64))?;
        if let Some(orders) = &self.orders {
            orders.write(f)?;
            writeln!(f, "{}", "-".repeat(64))?;
        }
        self.write_times(f)?;
        writeln!(f, "{}", "-".repeat(64))?;
        if let Some(warning) = self.tally.warning() {
            row(f, "WARNING", warning)?;
        }
        if self.is_true() {
            return row(f, "verdict", "all true: the books balance");
        }
        row(f, "verdict", "FALSE: the books are wrong")?;
        for product in self.products.iter().filter(|product| !product.is_true()) {
            writeln!(f, "  {product:?}")?;
        }
        let orders = self.orders.iter().flat_map(|orders| &orders.faults);
        for fault in self.faults.iter().chain(orders) {
            writeln!(f, "  {fault}")?;
        }
        Ok(())
    }
}

pub(super) fn row(f: &mut fmt::Formatter<'_>, what: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{what:<34}  {value}")
}

#[expect(clippy::cast_precision_loss, reason = "a time for people")]
fn latency(histogram: &Histogram<u64>) -> String {
    let ms = |us: u64| us as f64 / 1e3;
    format!(
        "p50 {:.1} ms   p99 {:.1} ms   max {:.1} ms",
        ms(histogram.value_at_quantile(0.5)),
        ms(histogram.value_at_quantile(0.99)),
        ms(histogram.max())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> ProductVerdict {
        ProductVerdict {
            product_id: 1,
            initial: 100,
            remaining: 40,
            sold_to_clients: 60,
            unknown: 0,
            perhaps_back: 0,
            sold_by_ledger: 60,
            sold_by_gate: Some(60),
            left_though_refused: 0,
        }
    }

    #[test]
    fn all_accounts_have_to_agree() {
        assert!(right().is_true());
        assert!(
            !ProductVerdict {
                sold_to_clients: 61,
                ..right()
            }
            .is_true(),
            "a success without a ledger row"
        );
        assert!(
            !ProductVerdict {
                sold_to_clients: 59,
                ..right()
            }
            .is_true(),
            "a ledger row nobody was told of"
        );
        assert!(
            !ProductVerdict {
                remaining: 41,
                ..right()
            }
            .is_true()
        );
        assert!(
            !ProductVerdict {
                sold_by_gate: Some(61),
                ..right()
            }
            .is_true()
        );
        assert!(
            ProductVerdict {
                sold_by_gate: None,
                ..right()
            }
            .is_true()
        );
    }

    #[test]
    fn who_does_not_know_may_or_may_not_have_bought() {
        let unknown = ProductVerdict {
            sold_to_clients: 58,
            unknown: 3,
            ..right()
        };
        assert!(unknown.is_true());
        assert!(
            ProductVerdict {
                sold_to_clients: 57,
                ..unknown.clone()
            }
            .is_true()
        );
        assert!(
            !ProductVerdict {
                sold_to_clients: 56,
                ..unknown
            }
            .is_true()
        );
    }

    #[test]
    fn who_does_not_know_whether_he_gave_back_may_or_may_not_have() {
        let perhaps = ProductVerdict {
            sold_to_clients: 62,
            perhaps_back: 3,
            ..right()
        };
        assert!(perhaps.is_true());
        for sold_to_clients in [59, 64] {
            let wrong = ProductVerdict {
                sold_to_clients,
                ..perhaps.clone()
            };
            assert!(!wrong.is_true(), "{sold_to_clients}");
        }
    }

    #[test]
    fn more_than_there_was_is_oversold() {
        let oversold = ProductVerdict {
            remaining: -1,
            sold_to_clients: 101,
            sold_by_ledger: 101,
            sold_by_gate: Some(101),
            ..right()
        };
        assert_eq!(oversold.oversold(), 1);
        assert!(!oversold.is_true());
        assert_eq!(right().oversold(), 0);
    }
}
