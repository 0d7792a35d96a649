//! What buyers were told about their orders, held against the order database and the ledger.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use contracts::order::OrderStatus;

use super::buyer::Ending;
use super::purchase::order_key;
use super::sale::FlashSale;
use super::tally::Tally;
use super::verdict::row;
use crate::books::orders::{self, Open, Order, OrderBooks, first_few};
use crate::tls;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What one buyer asked for and was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Unique to the buyer: his key is made of it.
    pub(super) number: i64,
    /// The product, by its place in the list.
    pub(super) position: usize,
    /// When he meant to ask, from the start of the run.
    pub(super) asked_at: Duration,
    pub(super) ending: Ending,
    /// The order he was told of.
    pub(super) order_id: Option<i64>,
}

/// The judgement of the orders of one run.
#[derive(Clone, Debug)]
pub struct OrdersVerdict {
    /// Orders written, by where they stand in the end and why.
    pub states: BTreeMap<String, u64>,
    /// What was not done when everything else was, or when nothing happened any more.
    pub open: Open,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

impl OrdersVerdict {
    /// Whether every order is final, owns by the ledger what it says, is what its buyer was told, and no message waits.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.faults.is_empty() && self.open == Open::default()
    }

    /// Orders written.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.states.values().sum()
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (state, count) in &self.states {
            row(f, &format!("orders {state}"), count)?;
        }
        row(f, "left to be done", self.open)
    }
}

/// Waits until all orders are final and all messages sent, as long as there is progress; judges them; and tells the
/// tally what became of orders that were only accepted.
pub(super) async fn settle(
    sale: &FlashSale,
    orders_url: &str,
    product_url: &str,
    tally: &mut Tally,
) -> Result<OrdersVerdict> {
    wait_while_it_goes_on(orders_url, sale).await?;
    let books =
        match orders::wait_until_settled(orders_url, product_url, &sale.product_ids, sale.balanced_within)
            .await
        {
            Ok(books) => books,
            Err(_) => orders::audit(orders_url, product_url, &sale.product_ids).await?,
        };
    let started_us = started_us(orders_url, tally.started_at).await?;
    let mut faults = books.faults();
    faults.extend(first_few(disagreements(&books, &tally.lines)));
    credit(&books, started_us, tally);
    let mut states = BTreeMap::new();
    for order in &books.orders {
        *states.entry(state(order)).or_default() += 1;
    }
    Ok(OrdersVerdict {
        states,
        open: books.open,
        faults,
    })
}

/// Returns when nothing is open, or what is has not become less for as long as the books may take to balance.
async fn wait_while_it_goes_on(orders_url: &str, sale: &FlashSale) -> Result<()> {
    let (mut least, mut since) = (i64::MAX, Instant::now());
    loop {
        let total = orders::open(orders_url, &sale.product_ids).await?.total();
        if total < least {
            (least, since) = (total, Instant::now());
        }
        if total == 0 || since.elapsed() > sale.balanced_within {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Where answers and orders differ.
fn disagreements(books: &OrderBooks, lines: &[Line]) -> Vec<String> {
    let by_key = by_key(books);
    let told = lines.iter().filter_map(|line| {
        let order = by_key.get(order_key(line.number).as_str());
        disagreement(line, order.copied())
    });
    let mut found: Vec<String> = told.collect();
    if by_key.len() < books.orders.len() {
        found.push(String::from(
            "there are orders without a key, which nobody here has placed",
        ));
    }
    let asked = lines.iter().map(|line| order_key(line.number));
    let mut nobodys = by_key;
    for key in asked {
        nobodys.remove(key.as_str());
    }
    found.extend(
        nobodys
            .values()
            .map(|order| format!("order {} was placed by nobody here", order.id)),
    );
    found
}

fn disagreement(line: &Line, order: Option<&Order>) -> Option<String> {
    let number = line.number;
    let Some(order) = order else {
        return line
            .order_id
            .map(|id| format!("buyer {number} was told of order {id}, which is not there"));
    };
    if line.order_id.is_some_and(|id| id != order.id) {
        return Some(format!(
            "buyer {number} was told of order {:?}, but has {}",
            line.order_id, order.id
        ));
    }
    let is_as_told = match line.ending {
        Ending::Sold => order.status == OrderStatus::Confirmed,
        Ending::Refused => line.order_id.is_some() && order.status == OrderStatus::Failed,
        Ending::Accepted | Ending::Unknown => true,
    };
    (!is_as_told).then(|| {
        format!(
            "buyer {number} was told {:?} of order {:?}, but {} is {:?}",
            line.ending, line.order_id, order.id, order.status
        )
    })
}

/// An accepted order is sold when it is CONFIRMED, and unknown as long as it is PENDING.
fn credit(books: &OrderBooks, started_us: i64, tally: &mut Tally) {
    let by_key = by_key(books);
    for line in tally.lines.clone() {
        let order = by_key.get(order_key(line.number).as_str());
        let (Ending::Accepted, Some(order)) = (line.ending, order) else {
            continue;
        };
        match order.status {
            OrderStatus::Confirmed => {
                let at_us = u64::try_from(order.updated_at_us - started_us).unwrap_or(0);
                let at = Duration::from_micros(at_us);
                tally.record_sale(
                    line.position,
                    order.quantity,
                    at.saturating_sub(line.asked_at),
                    at,
                );
            }
            OrderStatus::Failed | OrderStatus::Cancelled => {
                let is_sold_out = order.fail_reason.as_deref() == Some("INSUFFICIENT_STOCK");
                tally.record_refusal(line.position, order.quantity, is_sold_out);
            }
            OrderStatus::Pending => tally.record_unknown(line.position, order.quantity),
        }
    }
}

fn by_key(books: &OrderBooks) -> HashMap<&str, &Order> {
    let keyed = books.orders.iter();
    keyed
        .filter_map(|order| Some((order.key.as_deref()?, order)))
        .collect()
}

fn state(order: &Order) -> String {
    let status = format!("{:?}", order.status).to_uppercase();
    match &order.fail_reason {
        Some(reason) => format!("{status} {reason}"),
        None => status,
    }
}

/// When the run began, by the clock of the database, microseconds since 1970: exact to half the way there and back.
async fn started_us(orders_url: &str, started_at: SystemTime) -> Result<i64> {
    let (client, connection) = tokio_postgres::connect(orders_url, tls::postgres()).await?;
    let connection = tokio::spawn(connection);
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let (asked_at, asked) = (SystemTime::now(), Instant::now());
    let answer = client.query_one(now, &[]).await;
    let there_at = asked_at + asked.elapsed() / 2;
    drop(client);
    let _ = connection.await;
    let database_us: i64 = answer.context("reading the clock of the database")?.try_get(0)?;
    let us = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    };
    Ok(us(started_at) + database_us - us(there_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(status: OrderStatus) -> Order {
        Order {
            id: 5,
            product_id: 1,
            quantity: 1,
            status,
            fail_reason: None,
            key: Some(order_key(9)),
            updated_at_us: 0,
        }
    }

    fn told(ending: Ending, order_id: Option<i64>) -> Line {
        Line {
            number: 9,
            position: 0,
            asked_at: Duration::ZERO,
            ending,
            order_id,
        }
    }

    #[test]
    fn what_a_buyer_was_told_has_to_be_in_the_table() {
        use Ending::{Accepted, Refused, Sold, Unknown};
        use OrderStatus::{Confirmed, Failed};
        let differ = |ending, order_id, status: Option<OrderStatus>| {
            disagreement(&told(ending, order_id), status.map(order).as_ref()).is_some()
        };
        for (ending, order_id, status) in [
            (Sold, Some(5), Some(Confirmed)),
            (Refused, Some(5), Some(Failed)),
            (Refused, None, None),
            (Accepted, Some(5), Some(Confirmed)),
            (Accepted, Some(5), Some(Failed)),
            (Unknown, None, Some(Confirmed)),
            (Unknown, None, None),
        ] {
            assert!(
                !differ(ending, order_id, status),
                "{ending:?} {order_id:?} {status:?}"
            );
        }
        for (ending, order_id, status) in [
            (Sold, Some(5), Some(Failed)),
            (Sold, Some(5), None),
            (Sold, Some(6), Some(Confirmed)),
            (Refused, Some(5), Some(Confirmed)),
            (Refused, None, Some(Confirmed)),
            (Refused, None, Some(Failed)),
            (Accepted, Some(5), None),
            (Accepted, Some(6), Some(Confirmed)),
        ] {
            assert!(
                differ(ending, order_id, status),
                "{ending:?} {order_id:?} {status:?}"
            );
        }
    }
}
