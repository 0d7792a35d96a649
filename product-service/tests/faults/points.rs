//! Named points on the way of one order. The service knows nothing of them: the database holds the order up there until
//! the test lets it go.

use std::time::Duration;

use devstack::{TestStack, wait_for};
use diesel::sql_types::{Integer, Text};
use diesel::{ConnectionResult, OptionalExtension, QueryableByName};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::task::JoinHandle;

use crate::client::{Client, Told, decrease_key, fresh_order_id};
use crate::shop::{Shop, gate_key};

/// How long an order may take to get somewhere.
const SOON: Duration = Duration::from_secs(5);

/// One unit of a product that the other buyers leave alone.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) product: i64,
    id: i64,
}

impl Order {
    pub(crate) fn of(product: i64) -> Self {
        let id = fresh_order_id();
        Self { product, id }
    }

    pub(crate) fn key(&self) -> String {
        decrease_key(self.id)
    }

    /// Sends it to an instance; what that one says to it, some time.
    pub(crate) fn send(&self, shop: &Shop, instance: usize) -> JoinHandle<Told> {
        let mut client = Client::new(&shop.services[instance].url());
        let Self { product, id } = *self;
        tokio::spawn(async move { client.decrease(product, id, 1).await })
    }

    pub(crate) async fn ask(&self, shop: &Shop, instance: usize) -> Told {
        self.send(shop, instance).await.unwrap()
    }

    /// Whether the gate holds its unit.
    pub(crate) async fn is_held(&self, shop: &Shop) -> bool {
        let hold = format!("h:{}", self.key());
        let held: Option<String> = shop
            .redis(&["HGET", &gate_key(self.product, ":gate"), &hold])
            .await;
        held.is_some()
    }

    /// Whether it is in the ledger, for everybody to see.
    pub(crate) async fn is_committed(&self, shop: &Shop) -> bool {
        let ids = shop.stack.sold_request_ids(&[self.product]).await.unwrap();
        ids.contains(&self.key())
    }

    pub(crate) async fn wait_until_held(&self, shop: &Shop) {
        wait_for("the hold", SOON, || async {
            self.is_held(shop).await.then_some(()).ok_or("none".to_owned())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn wait_until_committed(&self, shop: &Shop) {
        wait_for("the ledger row", SOON, || async {
            self.is_committed(shop)
                .await
                .then_some(())
                .ok_or("none".to_owned())
        })
        .await
        .unwrap();
    }

    /// Waits until its hold has ended, as long as that may take when nobody is left to end it at once.
    pub(crate) async fn wait_until_let_go(&self, shop: &Shop, within: Duration) {
        wait_for("the end of the hold", within, || async {
            let is_held = self.is_held(shop).await;
            (!is_held).then_some(()).ok_or("held".to_owned())
        })
        .await
        .unwrap();
    }
}

/// Units gone from a product that the other buyers leave alone, once its books balance.
pub(crate) async fn units_sold(shop: &Shop, product: i64) -> i64 {
    let books = shop.stack.wait_until_balanced(&[product], SOON).await;
    books.unwrap()[0].units_sold
}

/// Where the transaction of an order is held up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Waiting for the row of its product. Let go, it has all locks, and nothing is decided.
    Locking,
    /// In COMMIT, before it counts.
    Committing,
}

/// The session that holds an order up.
pub(crate) struct HeldUp {
    session: AsyncPgConnection,
    /// What has the row of its product meanwhile. In a session of its own: what others are doing is seen as of the
    /// beginning of a transaction.
    locker: Option<AsyncPgConnection>,
}

impl HeldUp {
    /// The transaction of this order will stop at the point, whoever makes it.
    pub(crate) async fn order(stack: &TestStack, order: Order, point: Point) -> Self {
        let mut session = session(stack).await;
        let locker = match point {
            Point::Locking => Some(lock(stack, order.product).await),
            Point::Committing => {
                hold_up_commit(&mut session, &order.key()).await;
                None
            }
        };
        Self { session, locker }
    }

    /// Waits until it is there; which process of the database that is.
    pub(crate) async fn wait_until_there(&mut self) -> i32 {
        let which = match &mut self.locker {
            // Instances wait for one another's rows as well.
            Some(locker) => format!("{} = ANY (pg_blocking_pids(pid))", backend(locker).await),
            None => "wait_event = 'advisory' AND query LIKE 'COMMIT%'".to_owned(),
        };
        wait_for_session(&mut self.session, &which).await
    }

    /// Ends the session of that process.
    pub(crate) async fn end_session(&mut self, pid: i32) {
        let end = format!("SELECT pg_terminate_backend({pid})");
        self.session.batch_execute(&end).await.unwrap();
    }

    /// Lets it go; the session is at anybody's service.
    pub(crate) async fn let_go(mut self) -> AsyncPgConnection {
        match &mut self.locker {
            Some(locker) => locker.batch_execute("ROLLBACK").await,
            None => self.session.batch_execute("SELECT pg_advisory_unlock(1)").await,
        }
        .unwrap();
        self.session
    }
}

/// A session that has the row of a product.
async fn lock(stack: &TestStack, product: i64) -> AsyncPgConnection {
    let mut session = session(stack).await;
    let lock = format!("BEGIN; SELECT FROM products WHERE id = {product} FOR UPDATE");
    session.batch_execute(&lock).await.unwrap();
    session
}

/// The COMMIT of the request with this key will wait for this session.
async fn hold_up_commit(session: &mut AsyncPgConnection, key: &str) {
    let hold_up = format!(
        "CREATE OR REPLACE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$; \
         CREATE CONSTRAINT TRIGGER \"hold up {key}\" AFTER INSERT ON stock_ledger DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW WHEN (NEW.request_id = '{key}') EXECUTE FUNCTION hold_up(); \
         SELECT pg_advisory_lock(1)"
    );
    session.batch_execute(&hold_up).await.unwrap();
}

/// A session of the test's own.
pub(crate) async fn session(stack: &TestStack) -> AsyncPgConnection {
    connect(stack).await.unwrap()
}

/// Another one, if there is room.
pub(crate) async fn connect(stack: &TestStack) -> ConnectionResult<AsyncPgConnection> {
    AsyncPgConnection::establish(&stack.database_url).await
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// The process of the database that serves a session.
async fn backend(session: &mut AsyncPgConnection) -> i32 {
    let found: Found = diesel::sql_query("SELECT pg_backend_pid() AS pid")
        .get_result(session)
        .await
        .unwrap();
    found.pid
}

/// A session of an instance of which something is true, in words of `pg_stat_activity`.
pub(crate) async fn find_session(session: &mut AsyncPgConnection, which: &str) -> Option<i32> {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name LIKE 'instance-%' AND {which} LIMIT 1"
    );
    let found: Option<Found> = diesel::sql_query(query)
        .get_result(session)
        .await
        .optional()
        .unwrap();
    found.map(|found| found.pid)
}

/// Waits for such a session.
pub(crate) async fn wait_for_session(session: &mut AsyncPgConnection, which: &str) -> i32 {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        if let Some(pid) = find_session(session, which).await {
            return pid;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "no session with {which}: {}",
            activity(session).await
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the sessions of the instances are doing, for messages.
async fn activity(session: &mut AsyncPgConnection) -> String {
    #[derive(QueryableByName)]
    struct Activity {
        #[diesel(sql_type = Text)]
        line: String,
    }
    let query = "SELECT concat_ws(' ', application_name, state, wait_event_type, wait_event, query) AS line \
                 FROM pg_stat_activity WHERE datname = current_database()";
    let lines: Vec<Activity> = diesel::sql_query(query).load(session).await.unwrap();
    lines
        .iter()
        .map(|line| line.line.as_str())
        .collect::<Vec<_>>()
        .join("\n")
}
