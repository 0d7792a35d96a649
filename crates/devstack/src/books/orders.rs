//! The orders' side of the audit: the order database, held against the ledger of product-service.
//!
//! Read-only, like the rest of it. Orders, their open steps and their unsent messages are those of the products asked for.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use contracts::order::OrderStatus;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use tokio_postgres::Row;

use super::query_rows;
use crate::wait::wait_for;

const OPEN: &str = "-- audit: what is open
SELECT count(*) FILTER (WHERE o.status = 'PENDING'),
       count(*),
       (SELECT count(*) FROM outbox m JOIN orders o ON o.id = m.order_id
        WHERE o.product_id = ANY($1) AND m.status IN ('PENDING', 'FAILED'))
FROM saga s JOIN orders o ON o.id = s.order_id WHERE o.product_id = ANY($1)";

const ORDERS: &str = "-- audit: orders
SELECT id, product_id, quantity, status, fail_reason, idempotency_key,
       (extract(epoch FROM updated_at) * 1000000)::bigint
FROM orders WHERE product_id = ANY($1) ORDER BY id";

const TAKEN: &str = "-- audit: what orders took
SELECT product_id, order_id, sum(CASE direction WHEN 'OUT' THEN quantity ELSE -quantity END)::bigint
FROM stock_ledger
WHERE product_id = ANY($1) AND reason IN ('ORDER_DECREMENT', 'ORDER_INCREMENT')
GROUP BY product_id, order_id";

/// Faults of one kind that are named one by one.
const NAMED_MAX: usize = 5;

/// What is still to be done for some orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Orders that are PENDING: by their steps while somebody waits, by the orders themselves in an audit.
    pub pending: i64,
    /// Steps of the saga: stock to be taken or given back.
    pub steps: i64,
    /// Messages that the broker has not confirmed, DEAD ones left out.
    pub unsent: i64,
}

/// One order, as its table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Identity.
    pub id: i64,
    /// The product.
    pub product_id: i64,
    /// Units ordered.
    pub quantity: i64,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it failed, as a word.
    pub fail_reason: Option<String>,
    /// The client's key, if he gave one.
    pub key: Option<String>,
    /// When its status changed last, microseconds since 1970 by the clock of the database: the beginning of the
    /// transaction that changed it.
    pub updated_at_us: i64,
}

/// The orders of some products, and what they took by the ledger.
#[derive(Clone, Debug)]
pub struct OrderBooks {
    /// All of them, by id.
    pub orders: Vec<Order>,
    /// What is not done.
    pub open: Open,
    /// Units by product and order, taken and not given back. `None`: a ledger row that names no order.
    taken: HashMap<(i64, Option<i64>), i64>,
}

impl Open {
    /// Everything together; 0: all is done.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.pending + self.steps + self.unsent
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pending,
            steps,
            unsent,
        } = self;
        write!(
            f,
            "{pending} orders PENDING, {steps} steps open, {unsent} messages unsent"
        )
    }
}

impl Order {
    /// Units it has to own by the ledger.
    #[must_use]
    pub fn owns(&self) -> i64 {
        if self.status == OrderStatus::Confirmed {
            self.quantity
        } else {
            0
        }
    }
}

impl OrderBooks {
    /// What is wrong, in words; empty when every order is final, a confirmed one owns exactly its units by the ledger,
    /// any other nothing, and nobody else owns any.
    ///
    /// Unsent messages are no fault: an order can be final without its message.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.open.pending + self.open.steps > 0 {
            faults.push(self.open.to_string());
        }
        let mut nobodys = self.taken.clone();
        let mut wrong = Vec::new();
        for order in &self.orders {
            let taken = nobodys
                .remove(&(order.product_id, Some(order.id)))
                .unwrap_or_default();
            if taken != order.owns() {
                let Order {
                    id,
                    status,
                    quantity,
                    product_id,
                    ..
                } = order;
                wrong.push(format!(
                    "order {id} of {quantity} of product {product_id} is {status:?}, but took {taken}"
                ));
            }
        }
        nobodys.retain(|_, units| *units != 0);
        wrong.extend(
            nobodys
                .iter()
                .map(|((product_id, order_id), units)| match order_id {
                    Some(id) => format!("order {id} took {units} of product {product_id}, and is not there"),
                    None => format!("{units} of product {product_id} were taken for no order"),
                }),
        );
        faults.extend(first_few(wrong));
        faults
    }
}

/// The first few, and how many there are besides.
pub(crate) fn first_few(mut faults: Vec<String>) -> Vec<String> {
    if let Some(more) = faults.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        faults.truncate(NAMED_MAX);
        faults.push(format!("and {more} more like these"));
    }
    faults
}

/// What is not done: cheap, for whoever waits.
pub async fn open(orders_url: &str, product_ids: &[i64]) -> Result<Open> {
    let rows = query_rows(orders_url, OPEN, product_ids)
        .await
        .context("audit: reading what is open")?;
    let row = rows.first().context("audit: no answer")?;
    Ok(Open {
        pending: row.try_get(0)?,
        steps: row.try_get(1)?,
        unsent: row.try_get(2)?,
    })
}

/// Reads both databases, one after the other: while orders are under way they may differ by what happened in between.
pub async fn audit(orders_url: &str, product_url: &str, product_ids: &[i64]) -> Result<OrderBooks> {
    let open = open(orders_url, product_ids).await?;
    let orders = query_rows(orders_url, ORDERS, product_ids)
        .await
        .context("audit: reading the orders")?;
    let orders = orders.iter().map(parse_order).collect::<Result<Vec<_>>>()?;
    let pending = orders.iter().filter(|order| order.status == OrderStatus::Pending);
    let pending = i64::try_from(pending.count())?;
    let taken = query_rows(product_url, TAKEN, product_ids)
        .await
        .context("audit: reading what orders took")?;
    let taken = taken
        .iter()
        .map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?)));
    Ok(OrderBooks {
        orders,
        open: Open { pending, ..open },
        taken: taken.collect::<Result<_, tokio_postgres::Error>>()?,
    })
}

/// Audits until nothing is wrong any more: see [`OrderBooks::faults`]. Fails with what still is.
pub async fn wait_until_settled(
    orders_url: &str,
    product_url: &str,
    product_ids: &[i64],
    timeout: Duration,
) -> Result<OrderBooks> {
    wait_for(
        "the orders to be final and to own what they say",
        timeout,
        || async {
            let books = audit(orders_url, product_url, product_ids)
                .await
                .map_err(|error| format!("{error:#}"))?;
            let faults = books.faults();
            if faults.is_empty() {
                Ok(books)
            } else {
                Err(faults.join("; "))
            }
        },
    )
    .await
}

fn parse_order(row: &Row) -> Result<Order> {
    let status: &str = row.try_get(3)?;
    let word: StrDeserializer<'_, serde::de::value::Error> = status.into_deserializer();
    Ok(Order {
        id: row.try_get(0)?,
        product_id: row.try_get(1)?,
        quantity: row.try_get(2)?,
        status: OrderStatus::deserialize(word).with_context(|| format!("status {status:?}"))?,
        fail_reason: row.try_get(4)?,
        key: row.try_get(5)?,
        updated_at_us: row.try_get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: i64, status: OrderStatus) -> Order {
        Order {
            id,
            product_id: 7,
            quantity: 2,
            status,
            fail_reason: None,
            key: None,
            updated_at_us: 0,
        }
    }

    fn right() -> OrderBooks {
        OrderBooks {
            orders: vec![
                order(1, OrderStatus::Confirmed),
                order(2, OrderStatus::Failed),
                order(3, OrderStatus::Cancelled),
            ],
            open: Open::default(),
            taken: HashMap::from([((7, Some(1)), 2), ((7, Some(3)), 0)]),
        }
    }

    #[test]
    fn who_is_confirmed_owns_and_nobody_else_does() {
        assert_eq!(right().faults(), Vec::<String>::new());
        let wrong: [fn(&mut OrderBooks); 8] = [
            |books| books.taken.clear(),
            |books| books.taken.extend([((7, Some(1)), 4)]),
            |books| books.taken.extend([((7, Some(2)), 2)]),
            |books| books.taken.extend([((7, Some(3)), 1)]),
            |books| books.taken.extend([((8, Some(1)), 2)]),
            |books| books.taken.extend([((7, None), 1)]),
            |books| books.open.pending = 1,
            |books| books.open.steps = 1,
        ];
        for (index, change) in wrong.iter().enumerate() {
            let mut books = right();
            change(&mut books);
            assert_eq!(books.faults().len(), 1, "{index}: {:?}", books.faults());
        }
    }

    #[test]
    fn many_faults_are_a_few_and_a_number() {
        let mut books = right();
        books.taken = (1..=100).map(|id| ((7, Some(1000 + id)), 1)).collect();
        let faults = books.faults();
        assert_eq!(faults.len(), NAMED_MAX + 1);
        assert_eq!(faults[NAMED_MAX], "and 96 more like these");
    }
}
