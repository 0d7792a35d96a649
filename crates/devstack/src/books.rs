//! The audit: whether the books of a product balance. Every test, bench and load run about stock ends with it.
//!
//! Read-only. It looks at the tables and keys themselves, not through the services it judges.

pub mod orders;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::FromRedisValue;
use tokio_postgres::Row;

use crate::tls;
use crate::wait::wait_for;

const AUDIT: &str = "\
-- audit_books
WITH ledger AS (
    SELECT product_id, stock_version, direction, quantity, balance_after, reason,
           row_number() OVER in_order AS position,
           sum(CASE direction WHEN 'IN' THEN quantity ELSE -quantity END) OVER in_order AS running_balance
    FROM stock_ledger
    WHERE product_id = ANY($1)
    WINDOW in_order AS (PARTITION BY product_id ORDER BY stock_version)
), sums AS (
    SELECT product_id,
           count(*) AS movements,
           max(stock_version) AS last_version,
           sum(quantity) FILTER (WHERE direction = 'IN') AS units_in,
           sum(quantity) FILTER (WHERE direction = 'OUT') AS units_out,
           sum(quantity) FILTER (WHERE reason = 'ORDER_DECREMENT') AS units_sold,
           sum(quantity) FILTER (WHERE reason = 'ORDER_INCREMENT') AS units_given_back,
           bool_and(stock_version = position AND balance_after = running_balance) AS follows
    FROM ledger GROUP BY product_id
)
SELECT p.id, p.stock, p.stock_version, p.stock_strategy = 'REDIS_FIRST',
       coalesce(s.movements, 0), coalesce(s.last_version, 0), coalesce(l.balance_after, 0),
       coalesce(s.units_in, 0)::bigint, coalesce(s.units_out, 0)::bigint,
       (coalesce(s.units_sold, 0) - coalesce(s.units_given_back, 0))::bigint,
       coalesce(s.follows, true)
FROM products p
LEFT JOIN sums s ON s.product_id = p.id
LEFT JOIN stock_ledger l ON l.product_id = p.id AND l.stock_version = s.last_version
WHERE p.id = ANY($1)
ORDER BY p.id";

/// What buyers own of products with a purchase limit.
const OWNED: &str = "-- audit: what buyers own
SELECT l.product_id, l.buyer_id, sum(CASE direction WHEN 'OUT' THEN quantity ELSE -quantity END)::bigint
FROM stock_ledger l JOIN products p ON p.id = l.product_id
WHERE p.id = ANY($1) AND p.purchase_limit IS NOT NULL AND l.buyer_id IS NOT NULL
GROUP BY l.product_id, l.buyer_id";

/// The books of one product, as found. All numbers are units unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductBooks {
    /// Identity.
    pub product_id: i64,
    /// `products.stock`.
    pub stock: i64,
    /// `products.stock_version`: number of movements.
    pub stock_version: i64,
    /// Whether its strategy is REDIS_FIRST.
    pub is_hot: bool,
    /// Number of ledger rows.
    pub movements: i64,
    /// Version of the last ledger row; 0 without rows.
    pub last_version: i64,
    /// `balance_after` of the last ledger row; 0 without rows.
    pub last_balance: i64,
    /// Everything that ever went in, the initial stock included.
    pub units_in: i64,
    /// Everything that ever went out.
    pub units_out: i64,
    /// Taken by orders, minus given back by orders.
    pub units_sold: i64,
    /// Whether versions run 1, 2, 3, … and every balance is the one before plus the movement.
    pub follows: bool,
    /// What each buyer owns, of a product with a purchase limit; buyers who own nothing are left out.
    pub owned: Owned,
    /// The gate, if the product is loaded there and Redis was asked.
    pub gate: Option<GateBooks>,
}

/// What buyers own: units by buyer. There may be many: it shows itself by their number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Owned(pub BTreeMap<String, i64>);

impl Owned {
    /// The first few who own otherwise in `other`, in words.
    fn difference(&self, other: &Self) -> String {
        let buyers = self.0.keys().chain(other.0.keys());
        let units = |owned: &Self, buyer: &String| owned.0.get(buyer).copied().unwrap_or(0);
        let differ = buyers.filter(|buyer| units(self, buyer) != units(other, buyer));
        let words =
            differ.map(|buyer| format!("{buyer} {}, not {}", units(other, buyer), units(self, buyer)));
        words.take(5).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Debug for Owned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} buyers", self.0.len())
    }
}

/// What the gate in Redis says about one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateBooks {
    /// `GET stock:{id}`: what may still be promised.
    pub counter: i64,
    /// Every movement up to this version is contained in the counter.
    pub version: i64,
    /// Number of holds: requests admitted and not settled.
    pub holds: usize,
    /// Units under hold.
    pub units_held: i64,
    /// Number of movements above `version` that arrived out of order.
    pub pending: usize,
    /// Their signed units.
    pub units_pending: i64,
    /// What each buyer owns or has on hold, of a product with a purchase limit.
    pub owned: Owned,
}

impl ProductBooks {
    /// What is wrong, in words; empty when the books balance.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |is_true: bool, fault: String| {
            if !is_true {
                faults.push(format!("product {}: {fault}", self.product_id));
            }
        };
        let Self {
            stock,
            stock_version,
            movements,
            last_version,
            last_balance,
            ..
        } = *self;
        let sum = self.units_in - self.units_out;
        check(stock >= 0, format!("stock is negative: {stock}"));
        check(
            stock == last_balance,
            format!("stock {stock}, but the ledger's last balance is {last_balance}"),
        );
        check(
            stock == sum,
            format!("stock {stock}, but the ledger's movements add up to {sum}"),
        );
        check(
            self.follows,
            String::from("a ledger row does not follow from the one before"),
        );
        check(
            stock_version == last_version && movements == last_version,
            format!("version {stock_version}, but the ledger has {movements} rows up to {last_version}"),
        );
        if let Some(gate) = &self.gate {
            let GateBooks {
                counter,
                version,
                holds,
                units_held,
                pending,
                units_pending,
                ref owned,
            } = *gate;
            check(
                counter == stock,
                format!("gate counter {counter}, but stock {stock}"),
            );
            check(
                holds == 0,
                format!("{holds} holds of {units_held} units are not settled"),
            );
            check(
                pending == 0,
                format!("{pending} movements of {units_pending} units wait for one before them"),
            );
            check(
                version == stock_version,
                format!("gate at version {version}, stock at {stock_version}"),
            );
            check(
                *owned == self.owned,
                format!(
                    "by the gate buyers own otherwise than by the ledger: {}",
                    self.owned.difference(owned)
                ),
            );
        }
        faults
    }
}

/// Reads the books of the given products, in the order of their ids. Fails if one does not exist.
///
/// Without `redis_url` the gate is not looked at. Gate and database are read one after the other: while requests are
/// under way they may differ by what happened in between.
pub async fn audit(
    database_url: &str,
    redis_url: Option<&str>,
    product_ids: &[i64],
) -> Result<Vec<ProductBooks>> {
    let mut gates = match redis_url {
        Some(url) => read_gates(url, product_ids)
            .await
            .context("audit: reading the gate")?,
        None => HashMap::new(),
    };
    let rows = query_rows(database_url, AUDIT, product_ids)
        .await
        .context("audit: reading the ledger")?;
    let mut books = rows.iter().map(parse_row).collect::<Result<Vec<_>, _>>()?;
    for product_id in product_ids {
        if !books.iter().any(|product| product.product_id == *product_id) {
            bail!("audit: there is no product {product_id}");
        }
    }
    let owned = query_rows(database_url, OWNED, product_ids)
        .await
        .context("audit: reading what buyers own")?;
    for row in owned {
        let (product_id, buyer, units): (i64, String, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let product = books.iter_mut().find(|product| product.product_id == product_id);
        if let Some(product) = product.filter(|_| units != 0) {
            product.owned.0.insert(buyer, units);
        }
    }
    for product in &mut books {
        product.gate = gates.remove(&product.product_id);
    }
    Ok(books)
}

/// Audits until the books of all products balance; settling is asynchronous. Fails with what is still wrong.
pub async fn wait_until_balanced(
    database_url: &str,
    redis_url: Option<&str>,
    product_ids: &[i64],
    timeout: Duration,
) -> Result<Vec<ProductBooks>> {
    wait_for("the books to balance", timeout, || async {
        let books = audit(database_url, redis_url, product_ids)
            .await
            .map_err(|error| format!("{error:#}"))?;
        let faults: Vec<String> = books.iter().flat_map(ProductBooks::faults).collect();
        if faults.is_empty() {
            Ok(books)
        } else {
            Err(faults.join("; "))
        }
    })
    .await
}

/// Request ids under which orders took units of these products, given back since or not.
pub async fn sold_request_ids(database_url: &str, product_ids: &[i64]) -> Result<HashSet<String>> {
    let query = "-- sold_request_ids\nSELECT request_id FROM stock_ledger \
                 WHERE product_id = ANY($1) AND reason = 'ORDER_DECREMENT'";
    let rows = query_rows(database_url, query, product_ids)
        .await
        .context("reading who bought")?;
    let ids = rows.iter().map(|row| row.try_get(0));
    Ok(ids.collect::<Result<_, _>>()?)
}

/// One row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The product.
    pub product_id: i64,
    /// The key under which it happened.
    pub request_id: String,
    /// Why: `INITIAL`, `ORDER_DECREMENT`, `ORDER_INCREMENT`, `MANUAL` or `ADJUST`.
    pub reason: String,
    /// Whether units went in.
    pub is_in: bool,
    /// Units, > 0.
    pub quantity: i64,
    /// Stock after it.
    pub balance_after: i64,
}

impl Movement {
    /// Signed units.
    #[must_use]
    pub fn units(&self) -> i64 {
        if self.is_in { self.quantity } else { -self.quantity }
    }
}

/// Every row of the ledger of these products.
pub async fn movements(database_url: &str, product_ids: &[i64]) -> Result<Vec<Movement>> {
    let query = "-- movements\nSELECT product_id, request_id, reason, direction = 'IN', quantity, balance_after \
                 FROM stock_ledger WHERE product_id = ANY($1)";
    let rows = query_rows(database_url, query, product_ids)
        .await
        .context("reading the ledger")?;
    let movement = |row: &Row| {
        Ok(Movement {
            product_id: row.try_get(0)?,
            request_id: row.try_get(1)?,
            reason: row.try_get(2)?,
            is_in: row.try_get(3)?,
            quantity: row.try_get(4)?,
            balance_after: row.try_get(5)?,
        })
    };
    rows.iter().map(movement).collect()
}

async fn query_rows(database_url: &str, query: &str, product_ids: &[i64]) -> Result<Vec<Row>> {
    let (client, connection) = tokio_postgres::connect(database_url, tls::postgres()).await?;
    let connection = tokio::spawn(connection);
    let rows = client.query(query, &[&product_ids]).await;
    drop(client);
    let _ = connection.await;
    Ok(rows?)
}

fn parse_row(row: &Row) -> Result<ProductBooks, tokio_postgres::Error> {
    Ok(ProductBooks {
        product_id: row.try_get(0)?,
        stock: row.try_get(1)?,
        stock_version: row.try_get(2)?,
        is_hot: row.try_get(3)?,
        movements: row.try_get(4)?,
        last_version: row.try_get(5)?,
        last_balance: row.try_get(6)?,
        units_in: row.try_get(7)?,
        units_out: row.try_get(8)?,
        units_sold: row.try_get(9)?,
        follows: row.try_get(10)?,
        owned: Owned::default(),
        gate: None,
    })
}

async fn read_gates(redis_url: &str, product_ids: &[i64]) -> Result<HashMap<i64, GateBooks>> {
    let mut connection = tls::redis(redis_url)?.get_multiplexed_async_connection().await?;
    let mut gates = HashMap::new();
    for product_ids in product_ids.chunks(PRODUCTS_PER_CALL) {
        let mut calls = redis::pipe();
        calls.atomic();
        for product_id in product_ids {
            calls.cmd("GET").arg(format!("stock:{{{product_id}}}"));
            calls.cmd("HGETALL").arg(format!("stock:{{{product_id}}}:gate"));
            calls.cmd("HGETALL").arg(format!("stock:{{{product_id}}}:buyers"));
        }
        let replies: Vec<redis::Value> = calls.query_async(&mut connection).await?;
        for (product_id, reply) in product_ids.iter().zip(replies.chunks_exact(3)) {
            let counter = Option::<i64>::from_redis_value_ref(&reply[0])?;
            let fields = HashMap::<String, String>::from_redis_value_ref(&reply[1])?;
            let mut owned = BTreeMap::<String, i64>::from_redis_value_ref(&reply[2])?;
            // The counter missing, or only a lease in the hash: not loaded.
            if let (Some(counter), Some(_)) = (counter, fields.get("v")) {
                let gate = parse_gate(counter, &fields).with_context(|| format!("product {product_id}"))?;
                owned.retain(|buyer, units| !buyer.is_empty() && *units != 0); // the empty one keeps the key in being
                gates.insert(
                    *product_id,
                    GateBooks {
                        owned: Owned(owned),
                        ..gate
                    },
                );
            }
        }
    }
    Ok(gates)
}

/// Products looked at in one round trip.
const PRODUCTS_PER_CALL: usize = 500;

/// Fields: `v`, `m:<version>` = signed units, `h:<request id>` = `units:deadline in ms`, where `:buyer` may follow; others
/// are of no concern.
fn parse_gate(counter: i64, fields: &HashMap<String, String>) -> Result<GateBooks> {
    let mut gate = GateBooks {
        counter,
        version: 0,
        holds: 0,
        units_held: 0,
        pending: 0,
        units_pending: 0,
        owned: Owned::default(),
    };
    for (field, value) in fields {
        let number = |text: &str| {
            let units = text.split(':').next().unwrap_or_default();
            units
                .parse::<i64>()
                .with_context(|| format!("field {field} holds {value:?}"))
        };
        if field == "v" {
            gate.version = number(value)?;
        } else if field.starts_with("m:") {
            gate.pending += 1;
            gate.units_pending += number(value)?;
        } else if field.starts_with("h:") {
            gate.holds += 1;
            gate.units_held += number(value)?;
        }
    }
    Ok(gate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> ProductBooks {
        ProductBooks {
            product_id: 7,
            stock: 60,
            stock_version: 3,
            is_hot: true,
            movements: 3,
            last_version: 3,
            last_balance: 60,
            units_in: 100,
            units_out: 40,
            units_sold: 40,
            follows: true,
            owned: Owned(BTreeMap::from([("ann".to_owned(), 40)])),
            gate: Some(GateBooks {
                counter: 60,
                version: 3,
                holds: 0,
                units_held: 0,
                pending: 0,
                units_pending: 0,
                owned: Owned(BTreeMap::from([("ann".to_owned(), 40)])),
            }),
        }
    }

    #[test]
    fn balanced_books_have_no_fault() {
        assert_eq!(balanced().faults(), Vec::<String>::new());
    }

    #[test]
    fn every_disagreement_is_a_fault() {
        let wrong: [fn(&mut ProductBooks); 8] = [
            |books| books.stock = 61,
            |books| books.follows = false,
            |books| books.units_out = 41,
            |books| books.movements = 4,
            |books| books.last_balance = 59,
            |books| books.gate.as_mut().unwrap().counter = 59,
            |books| books.gate.as_mut().unwrap().holds = 1,
            |books| books.gate.as_mut().unwrap().owned = Owned::default(),
        ];
        for change in wrong {
            let mut books = balanced();
            change(&mut books);
            assert_ne!(books.faults(), Vec::<String>::new(), "{books:?}");
        }
    }

    #[test]
    fn a_gate_is_read_field_by_field() {
        let fields = [
            ("v", "5"),
            ("m:7", "-2"),
            ("m:8", "3:ann"),
            ("h:DEC-1", "2:1700000000000:ann"),
            ("k", "9"),
        ]
        .map(|(field, value)| (field.to_owned(), value.to_owned()));
        let gate = parse_gate(11, &HashMap::from(fields)).unwrap();
        let expected = GateBooks {
            counter: 11,
            version: 5,
            holds: 1,
            units_held: 2,
            pending: 2,
            units_pending: 1,
            owned: Owned::default(),
        };
        assert_eq!(gate, expected);
    }
}
