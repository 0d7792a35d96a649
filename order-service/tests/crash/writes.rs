//! Writes held up by the database itself, of which the services know nothing: a trigger waits for an advisory lock that
//! the test has.

use anyhow::{Context, Result, ensure};
use devstack::proxy::{Fault, Proxy};
use devstack::wait_for;
use tokio_postgres::{Client, NoTls};

use crate::lane::{Lane, REACHED_WITHIN};

/// What is written, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// order-service: the order, PENDING; of v2 with its message.
    Placed,
    /// order-service: the message is SENT.
    Sent,
    /// order-service: the order has this status.
    Status(&'static str),
    /// order-service: a cancel has begun.
    CancelBegun,
    /// order-service: a void is done.
    VoidOver,
    /// product-service: the order's units are taken.
    Decided,
    /// product-service: the order's units are given back.
    Voided,
}

/// At which end of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// While it writes: nothing is committed, and never will be if the service dies.
    Writing,
    /// Behind it: committed, and the service has not heard of it.
    Committed,
}

/// A write that is held up.
pub(crate) struct HeldWrite {
    write: Write,
    end: End,
    product: i64,
    session: Client,
    is_locked: bool,
}

impl Write {
    /// Whether order-service does it.
    pub(crate) fn is_of_orders(self) -> bool {
        !matches!(self, Self::Decided | Self::Voided)
    }

    /// The event of the trigger, and its condition.
    fn trigger(self, product: i64) -> (&'static str, String) {
        match self {
            Self::Placed => ("INSERT ON orders", format!("NEW.product_id = {product}")),
            Self::Sent => (
                "UPDATE ON outbox",
                format!("NEW.status = 'SENT' AND NEW.payload LIKE '%\"productId\":{product},%'"),
            ),
            Self::Status(status) => (
                "UPDATE ON orders",
                format!("NEW.status = '{status}' AND NEW.product_id = {product}"),
            ),
            Self::CancelBegun => ("INSERT ON saga", "NEW.step = 'CANCEL'".to_owned()),
            Self::VoidOver => ("DELETE ON saga", "OLD.step = 'VOID'".to_owned()),
            Self::Decided => (
                "INSERT ON stock_ledger",
                format!("NEW.reason = 'ORDER_DECREMENT' AND NEW.product_id = {product}"),
            ),
            Self::Voided => ("INSERT ON tombstones", format!("NEW.product_id = {product}")),
        }
    }

    /// A query that says whether it is committed.
    fn is_committed(self, product: i64) -> String {
        let its_steps = format!("saga JOIN orders ON orders.id = order_id WHERE product_id = {product}");
        match self {
            Self::Placed => format!("SELECT EXISTS (SELECT FROM orders WHERE product_id = {product})"),
            Self::Sent => format!(
                "SELECT EXISTS (SELECT FROM outbox WHERE status = 'SENT' AND payload LIKE '%\"productId\":{product},%')"
            ),
            Self::Status(status) => format!(
                "SELECT EXISTS (SELECT FROM orders WHERE product_id = {product} AND status = '{status}')"
            ),
            Self::CancelBegun => format!("SELECT EXISTS (SELECT FROM {its_steps} AND step = 'CANCEL')"),
            Self::VoidOver => format!("SELECT NOT EXISTS (SELECT FROM {its_steps})"),
            Self::Decided => format!(
                "SELECT EXISTS (SELECT FROM stock_ledger WHERE product_id = {product} AND reason = 'ORDER_DECREMENT')"
            ),
            Self::Voided => format!("SELECT EXISTS (SELECT FROM tombstones WHERE product_id = {product})"),
        }
    }
}

impl HeldWrite {
    /// From now on this write for an order of this product is held up.
    pub(crate) async fn arm(lane: &Lane, write: Write, end: End, product: i64) -> Result<Self> {
        let session = connect(lane.database_of(write)).await?;
        let (event, condition) = write.trigger(product);
        let (constraint, when, deferred) = match end {
            End::Writing => ("", "BEFORE", ""),
            End::Committed => ("CONSTRAINT", "AFTER", "DEFERRABLE INITIALLY DEFERRED"),
        };
        // Steps of sagas do not say which product they are about.
        let concerns = if event.ends_with("saga") {
            format!(
                "EXISTS (SELECT FROM orders WHERE product_id = {product} \
                 AND id = (to_jsonb(coalesce(NEW, OLD)) ->> 'order_id')::bigint)"
            )
        } else {
            "true".to_owned()
        };
        let setup = format!(
            "CREATE FUNCTION hold_up_{product}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF {concerns} THEN PERFORM pg_advisory_xact_lock_shared({product}); END IF; \
             RETURN coalesce(NEW, OLD); END $$; \
             SELECT pg_advisory_lock({product}); \
             CREATE {constraint} TRIGGER hold_up_{product} {when} {event} {deferred} \
             FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION hold_up_{product}()"
        );
        session.batch_execute(&setup).await.context(setup)?;
        Ok(Self {
            write,
            end,
            product,
            session,
            is_locked: true,
        })
    }

    /// Waits until it is there: the proof that the kill hits this point.
    pub(crate) async fn reached(&mut self, way: &Proxy) -> Result<()> {
        wait_for("the write to be held up", REACHED_WITHIN, async || {
            match self.waiting().await {
                Ok(waiting) if !waiting.is_empty() => Ok(()),
                Ok(_) => Err("nobody waits".to_owned()),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await?;
        if self.end == End::Writing {
            return Ok(());
        }
        // It is in COMMIT. The word that it is committed does not come back.
        let swallowed = way.hits().bytes;
        way.set(Fault::DropReplies);
        self.unlock().await?;
        wait_for("the commit, unheard", REACHED_WITHIN, async || {
            let bytes = way.hits().bytes - swallowed;
            let committed = self.is_committed().await.map_err(|error| error.to_string())?;
            (committed && bytes > 0)
                .then_some(())
                .ok_or(format!("committed: {committed}, {bytes} bytes swallowed"))
        })
        .await
    }

    /// What must still be so right after the kill.
    pub(crate) async fn was_hit(&self) -> Result<()> {
        match self.end {
            End::Writing => {
                ensure!(!self.is_committed().await?, "it was committed before the kill");
                ensure!(!self.waiting().await?.is_empty(), "it was let go before the kill");
            }
            End::Committed => ensure!(self.is_committed().await?, "it was not committed"),
        }
        Ok(())
    }

    /// The database ends the sessions of a service that is dead, and with them their transactions.
    pub(crate) async fn end_sessions(&self) -> Result<()> {
        for pid in self.waiting().await? {
            self.session
                .batch_execute(&format!("SELECT pg_terminate_backend({pid}, 5000)"))
                .await?;
        }
        Ok(())
    }

    /// Lets it go, now and from now on.
    pub(crate) async fn let_go(mut self) -> Result<()> {
        self.unlock().await?;
        let product = self.product;
        self.session
            .batch_execute(&format!("DROP FUNCTION hold_up_{product} CASCADE"))
            .await?;
        Ok(())
    }

    async fn unlock(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_locked) {
            let unlock = format!("SELECT pg_advisory_unlock({})", self.product);
            self.session.batch_execute(&unlock).await?;
        }
        Ok(())
    }

    async fn is_committed(&self) -> Result<bool> {
        let query = self.write.is_committed(self.product);
        Ok(self.session.query_one(&query, &[]).await?.try_get(0)?)
    }

    /// The sessions that wait for our lock.
    async fn waiting(&self) -> Result<Vec<i32>> {
        let query = format!(
            "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database \
             WHERE locktype = 'advisory' AND NOT granted AND classid = 0 AND objid = {} \
             AND datname = current_database()",
            self.product
        );
        let rows = self.session.query(&query, &[]).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }
}

/// A session of the test's own.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
