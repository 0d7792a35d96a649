//! The pool and the migrations against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use devstack::{Postgres, PostgresOptions, Signal, shared_postgres};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use platform::config::{DatabaseConfig, Secret};
use platform::database::{DatabaseError, Pool, migrate, migrate_when_reachable, pending, ping, pool};
use platform::transaction::Transaction;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");
const BROKEN: EmbeddedMigrations = embed_migrations!("tests/broken_migrations");

fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: url.into(),
        owner_url: "".into(),
        ca_file: PathBuf::new(),
        pool_size: 2,
        pool_wait_ms: 100,
        lock_timeout_ms: 123,
        statement_timeout_ms: 400,
        connect_timeout_ms: 1_000,
    }
}

async fn fresh_url() -> String {
    shared_postgres()
        .await
        .unwrap()
        .create_unique_database("platform")
        .await
        .unwrap()
}

async fn fresh() -> Pool {
    pool("test", &config(&fresh_url().await)).unwrap()
}

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    word: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

async fn word(connection: &mut Object<AsyncPgConnection>, sql: &str) -> String {
    diesel::sql_query(sql)
        .get_result::<Word>(connection)
        .await
        .unwrap()
        .word
}

async fn number(connection: &mut Object<AsyncPgConnection>, sql: &str) -> i64 {
    diesel::sql_query(sql)
        .get_result::<Number>(connection)
        .await
        .unwrap()
        .number
}

const BACKEND: &str = "SELECT pg_backend_pid()::bigint AS number";

#[tokio::test]
async fn every_connection_has_its_limits_its_name_and_utc() {
    let pool = fresh().await;
    let (mut first, mut second) = (pool.get().await.unwrap(), pool.get().await.unwrap());
    for connection in [&mut first, &mut second] {
        for (setting, expected) in [
            ("lock_timeout", "123ms"),
            ("statement_timeout", "400ms"),
            ("idle_in_transaction_session_timeout", "2s"),
            ("TimeZone", "UTC"),
        ] {
            let sql = format!("SELECT current_setting('{setting}') AS word");
            assert_eq!(word(connection, &sql).await, expected, "{setting}");
        }
        let name = word(connection, "SELECT current_setting('application_name') AS word").await;
        assert!(
            name.starts_with("database"),
            "{name}, expected the name of this test program"
        );
    }
}

#[tokio::test]
async fn waiting_for_a_free_connection_is_bounded() {
    let pool = fresh().await;
    let _held = (pool.get().await.unwrap(), pool.get().await.unwrap());
    let started = Instant::now();
    let refused = ping(&pool).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::Pool(_)), "{refused}");
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_ended() {
    let pool = fresh().await;
    let error = pool
        .get()
        .await
        .unwrap()
        .batch_execute("SELECT pg_sleep(10)")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("statement timeout"), "{error}");
    ping(&pool).await.unwrap();
}

#[tokio::test]
async fn a_connection_the_server_closed_is_never_handed_out() {
    let pool = fresh().await;
    let (mut victim, mut killer) = (pool.get().await.unwrap(), pool.get().await.unwrap());
    let backend = number(&mut victim, BACKEND).await;
    drop(victim);
    killer
        .batch_execute(&format!("SELECT pg_terminate_backend({backend})"))
        .await
        .unwrap();
    // The end of the process is what closes the socket.
    let gone = format!("SELECT count(*) AS number FROM pg_stat_activity WHERE pid = {backend}");
    devstack::wait_for("the backend to end", Duration::from_secs(5), async || {
        let mut other = pool.get().await.map_err(|error| error.to_string())?;
        match diesel::sql_query(&gone).get_result::<Number>(&mut other).await {
            Ok(Number { number: 0 }) => Ok(()),
            Ok(_) => Err("still there".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    let mut fresh = pool.get().await.unwrap();
    assert_ne!(number(&mut fresh, BACKEND).await, backend);
}

#[tokio::test]
async fn a_connection_dropped_inside_a_transaction_is_replaced() {
    let pool = fresh().await;
    let mut connection = pool.get().await.unwrap();
    let backend = number(&mut connection, BACKEND).await;
    let halted = tokio::time::timeout(Duration::from_millis(50), async {
        diesel_async::AsyncConnection::transaction::<(), diesel::result::Error, _>(
            &mut connection,
            async |_| std::future::pending().await,
        )
        .await
    });
    assert!(halted.await.is_err());
    drop(connection);
    let mut next = pool.get().await.unwrap();
    assert_ne!(number(&mut next, BACKEND).await, backend);
}

#[test]
fn connections_outlive_the_runtime_that_asked_for_them() {
    let home = tokio::runtime::Runtime::new().unwrap();
    let pool = home.block_on(fresh());
    // As an HTTP worker does: a runtime of its own, gone before the pool.
    let backend = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async { number(&mut pool.get().await.unwrap(), BACKEND).await })
        });
        worker.join().unwrap()
    });
    let again = home.block_on(async { number(&mut pool.get().await.unwrap(), BACKEND).await });
    assert_eq!(again, backend);
}

#[tokio::test]
async fn a_frozen_or_dead_server_is_given_up_in_time() {
    let postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let url = postgres.create_unique_database("frozen").await.unwrap();
    let pool = pool(
        "test",
        &DatabaseConfig {
            connect_timeout_ms: 300,
            ..config(&url)
        },
    )
    .unwrap();
    postgres.signal(Signal::STOP).unwrap();
    let started = Instant::now();
    let error = ping(&pool).await.unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}: {error}",
        started.elapsed()
    );
    postgres.signal(Signal::CONT).unwrap();
    ping(&pool).await.unwrap();
    postgres.kill().unwrap();
    let error = ping(&pool).await.unwrap_err().to_string();
    assert!(error.contains("connect") || error.contains("closed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_instances_migrate_at_once_and_each_version_is_applied_once() {
    let url = fresh_url().await;
    let pool = pool("test", &config(&url)).unwrap();
    assert_eq!(
        pending(&pool, &MIGRATIONS).await.unwrap(),
        ["20261101000001", "20261101000002"]
    );
    let instances: Vec<_> = (0..4)
        .map(|_| {
            let url = Secret::new(&url);
            tokio::spawn(async move { migrate(&url, Path::new(""), MIGRATIONS).await.unwrap() })
        })
        .collect();
    let mut applied = Vec::new();
    for instance in instances {
        applied.extend(instance.await.unwrap());
    }
    assert_eq!(applied, ["20261101000001", "20261101000002"]);
    assert!(pending(&pool, &MIGRATIONS).await.unwrap().is_empty());
    let mut connection = pool.get().await.unwrap();
    assert_eq!(
        number(&mut connection, "SELECT count(*) AS number FROM things").await,
        1
    );
    assert!(
        migrate(&Secret::new(&url), Path::new(""), MIGRATIONS)
            .await
            .unwrap()
            .is_empty(),
        "a second run finds nothing"
    );
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing_of_itself_and_frees_the_lock() {
    // On the one-thread runtime on purpose: migrating works on any.
    let url = Secret::new(fresh_url().await);
    let error = migrate(&url, Path::new(""), BROKEN)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("2026-11-01-000002_broken") && error.contains("nowhere"),
        "{error}"
    );
    let pool = pool("test", &config(url.expose())).unwrap();
    assert_eq!(pending(&pool, &BROKEN).await.unwrap(), ["20261101000002"]);
    let mut connection = pool.get().await.unwrap();
    assert_eq!(
        word(
            &mut connection,
            "SELECT (to_regclass('half') IS NULL)::text AS word"
        )
        .await,
        "true"
    );
    let again = tokio::time::timeout(Duration::from_secs(5), migrate(&url, Path::new(""), BROKEN)).await;
    assert!(again.expect("the lock is free").is_err());
}

#[tokio::test]
async fn a_bad_url_and_an_unreachable_server_are_clear_errors() {
    let error = migrate(
        &Secret::new("postgres://u:pa55@h:x/db"),
        Path::new(""),
        MIGRATIONS,
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("not a Postgres URL") && !error.contains("pa55"),
        "{error}"
    );
    let port = devstack::ports::free_port().unwrap();
    let nobody = Secret::new(format!("postgres://u:pa55@127.0.0.1:{port}/db"));
    let error = migrate(&nobody, Path::new(""), MIGRATIONS)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("refused") && !error.contains("pa55"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_the_clear_where_tls_is_asked_for() {
    let postgres = shared_postgres().await.unwrap();
    for mode in ["require", "verify-full"] {
        let url = Secret::new(format!("{}?sslmode={mode}", postgres.url("postgres")));
        let error = migrate(&url, Path::new(""), MIGRATIONS)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("server does not support TLS"), "{error}");
        let nowhere = Path::new("/nowhere/ca.pem");
        let error = migrate(&url, nowhere, MIGRATIONS).await.unwrap_err().to_string();
        assert!(
            error.starts_with("key `database.ca_file` is `/nowhere/ca.pem`"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_start_before_its_database() {
    let postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let url = Secret::new(postgres.create_unique_database("late").await.unwrap());
    postgres.kill().unwrap();
    let waiting = {
        let url = url.clone();
        tokio::spawn(async move { migrate_when_reachable(&url, Path::new(""), || MIGRATIONS).await })
    };
    tokio::time::timeout(Duration::from_millis(300), async {
        while !waiting.is_finished() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect_err("it waits");
    postgres.restart().await.unwrap();
    assert_eq!(
        waiting.await.unwrap().unwrap(),
        ["20261101000001", "20261101000002"]
    );
    // What waiting cannot mend is an error at once.
    let empty = Secret::new(postgres.create_unique_database("empty").await.unwrap());
    let broken = migrate_when_reachable(&empty, Path::new(""), || BROKEN)
        .await
        .unwrap_err();
    assert!(matches!(broken, DatabaseError::Migration(_)), "{broken}");
}

/// For what is about order and not about limits, on a machine that is busy with other tests.
fn patient(url: &str) -> Pool {
    let config = DatabaseConfig {
        pool_wait_ms: 10_000,
        connect_timeout_ms: 10_000,
        statement_timeout_ms: 10_000,
        ..config(url)
    };
    pool("test", &config).unwrap()
}

/// A table that knows in which order, and in which transaction, its rows were written.
async fn turns(pool: &Pool) {
    let mut connection = pool.get().await.unwrap();
    let table = "CREATE TABLE turns (turn bigserial, what text, transaction bigint DEFAULT txid_current())";
    connection.batch_execute(table).await.unwrap();
}

async fn write(mut connection: &AsyncPgConnection, what: &str) -> diesel::QueryResult<usize> {
    diesel::sql_query("INSERT INTO turns (what) VALUES ($1)")
        .bind::<Text, _>(what)
        .execute(&mut connection)
        .await
}

#[tokio::test]
async fn what_is_joined_is_sent_in_its_order_even_where_nothing_is_prepared() {
    let url = fresh_url().await;
    turns(&patient(&url)).await;
    for _ in 0..25 {
        // A connection that has prepared nothing: all statements have to be prepared first, COMMIT too.
        let pool = patient(&url);
        let transaction = Transaction::on(&pool).await.unwrap();
        let c = transaction.connection();
        let written = futures_util::try_join!(
            transaction.begin(),
            write(c, "one"),
            write(c, "two"),
            transaction.commit()
        );
        assert_eq!(written.unwrap(), ((), 1, 1, ()));
        transaction.end();
        let mut connection = pool.get().await.unwrap();
        let written = "SELECT string_agg(what, ' ' ORDER BY turn) || ' in ' || count(DISTINCT transaction) AS word FROM turns";
        assert_eq!(word(&mut connection, written).await, "one two in 1");
        connection.batch_execute("TRUNCATE turns").await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_is_dropped_takes_its_connection_with_it() {
    let pool = patient(&fresh_url().await);
    turns(&pool).await;
    let transaction = Transaction::on(&pool).await.unwrap();
    let c = transaction.connection();
    let written = futures_util::try_join!(transaction.begin(), write(c, "never"));
    assert_eq!(written.unwrap(), ((), 1));
    drop(transaction);
    let mut connection = pool.get().await.unwrap();
    // Not inside of it: this sees no row, and what it writes is there for others at once.
    assert_eq!(
        number(&mut connection, "SELECT count(*) AS number FROM turns").await,
        0
    );
    let state =
        "SELECT CASE WHEN pg_current_xact_id_if_assigned() IS NULL THEN 'none' ELSE 'inside' END AS word";
    assert_eq!(word(&mut connection, state).await, "none");
}

#[tokio::test]
async fn after_a_failure_nothing_is_committed_and_the_connection_is_kept() {
    let pool = patient(&fresh_url().await);
    turns(&pool).await;
    let backend = number(&mut pool.get().await.unwrap(), BACKEND).await;
    let transaction = Transaction::on(&pool).await.unwrap();
    let mut c = transaction.connection();
    let refused = diesel::sql_query("SELECT 1 / 0");
    let (begun, written, refused, committed) = futures_util::join!(
        transaction.begin(),
        write(c, "never"),
        refused.execute(&mut c),
        transaction.commit()
    );
    assert!(begun.is_ok() && written.is_ok());
    assert!(
        refused.is_err() && committed.is_ok(),
        "COMMIT does not say that it rolled back"
    );
    transaction.roll_back().await;
    let mut connection = pool.get().await.unwrap();
    assert_eq!(number(&mut connection, BACKEND).await, backend);
    assert_eq!(
        number(&mut connection, "SELECT count(*) AS number FROM turns").await,
        0
    );
}
