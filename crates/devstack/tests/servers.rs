//! Private servers on real binaries: they answer, live side by side, come back, and end with their owner.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use devstack::{
    Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, Redis, RedisOptions, Service, ServiceOptions,
    Signal, shared_postgres, shared_redis, wait_for,
};

fn is_running(pid: u32) -> bool {
    // A zombie has ended; it only waits for its parent.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

async fn until_gone(pid: u32) {
    wait_for("the process to end", Duration::from_secs(2), || async move {
        if is_running(pid) {
            Err(format!("{pid} runs"))
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
}

async fn query(url: &str, sql: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let row = client.query_one(sql, &[]).await?;
    Ok(row.get(0))
}

async fn redis_get(url: &str, key: &str) -> redis::RedisResult<Option<String>> {
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    redis::cmd("GET").arg(key).query_async(&mut connection).await
}

async fn redis_set(url: &str, key: &str, value: &str) {
    let mut connection = redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    redis::cmd("SET")
        .arg(key)
        .arg(value)
        .exec_async(&mut connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn postgres_starts_and_keeps_its_data_over_a_kill_and_a_restart() {
    let postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let url = postgres.create_database("order").await.unwrap();
    assert_eq!(
        postgres.create_database("order").await.unwrap(),
        url,
        "creating twice is creating once"
    );
    query(&url, "WITH t AS (SELECT 1) SELECT 'x'::text")
        .await
        .unwrap();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE t AS SELECT 'kept'::text AS c")
        .await
        .unwrap();

    let (pid, port) = (postgres.pid(), postgres.port());
    postgres.kill().unwrap();
    assert!(!is_running(pid));
    assert_eq!(postgres.exit_code(), Some(137));
    assert!(query(&url, "SELECT c FROM t").await.is_err());

    postgres.restart().await.unwrap();
    assert_eq!(postgres.port(), port);
    assert_eq!(query(&url, "SELECT c FROM t").await.unwrap(), "kept");

    let data_dir = postgres.data_dir().to_path_buf();
    let pid = postgres.pid();
    postgres.stop().await.unwrap();
    assert!(!is_running(pid));
    assert!(!data_dir.exists(), "the temporary folder is gone");
}

#[tokio::test]
async fn redis_servers_live_side_by_side() {
    let (one, two) = tokio::join!(
        Redis::start(RedisOptions::default()),
        Redis::start(RedisOptions::default())
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    redis_set(&one.url(), "k", "one").await;
    assert_eq!(redis_get(&one.url(), "k").await.unwrap().as_deref(), Some("one"));
    assert_eq!(redis_get(&two.url(), "k").await.unwrap(), None);
    let other = one.create_database().unwrap();
    assert_eq!(
        redis_get(&other, "k").await.unwrap(),
        None,
        "a database of its own"
    );
}

#[tokio::test]
async fn a_frozen_redis_comes_back_or_ends_as_told() {
    let redis = Redis::start(RedisOptions::default()).await.unwrap();
    redis.signal(Signal::STOP).unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(200), redis_get(&redis.url(), "k")).await;
    assert!(answer.is_err() || answer.unwrap().is_err(), "frozen");
    redis.signal(Signal::CONT).unwrap();
    assert_eq!(redis_get(&redis.url(), "k").await.unwrap(), None);
    redis.signal(Signal::STOP).unwrap();
    redis.restart().await.unwrap();
    assert_eq!(redis_get(&redis.url(), "k").await.unwrap(), None);
    redis.signal(Signal::STOP).unwrap();
    let pid = redis.pid();
    drop(redis);
    until_gone(pid).await;
}

#[tokio::test]
async fn a_kept_folder_keeps_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let options = PostgresOptions {
        dir: Some(dir.path().join("postgres")),
        ..Default::default()
    };
    let postgres = Postgres::start(options.clone()).await.unwrap();
    let is_kept = postgres
        .data_dir()
        .starts_with(dir.path().canonicalize().unwrap());
    postgres.create_database("shop").await.unwrap();
    postgres.stop().await.unwrap();
    let again = Postgres::start(options).await.unwrap();
    // Below a folder that only its owner may enter (a root user's), a temporary one is used instead.
    assert_eq!(
        query(&again.url("shop"), "SELECT 'there'::text").await.is_ok(),
        is_kept
    );
}

#[tokio::test]
async fn shared_servers_are_started_once() {
    let (one, two) = tokio::join!(shared_postgres(), shared_postgres());
    assert_eq!(one.unwrap().pid(), two.unwrap().pid());
    let first = one_database().await;
    assert_ne!(first, one_database().await);
    assert_eq!(
        shared_redis().await.unwrap().pid(),
        shared_redis().await.unwrap().pid()
    );
}

async fn one_database() -> String {
    let url = shared_postgres()
        .await
        .unwrap()
        .create_unique_database("product")
        .await
        .unwrap();
    query(&url, "SELECT current_database()::text").await.unwrap()
}

#[tokio::test]
async fn what_does_not_start_says_why() {
    let options = RedisOptions {
        args: vec!["--no-such-setting".into(), "1".into()],
        ..Default::default()
    };
    let error = Redis::start(options).await.err().unwrap().to_string();
    assert!(error.contains("ended while starting (exit status 1)"), "{error}");
    assert!(
        error.contains("no-such-setting"),
        "the last lines of the log are in it: {error}"
    );

    let missing = ServiceOptions::new("ghost-service", "/no/such/program");
    let error = Service::start(missing).await.err().unwrap().to_string();
    assert!(
        error.contains("ghost-service ended while starting (exit status 127)"),
        "{error}"
    );
    assert!(error.contains("/no/such/program"), "{error}");
}

#[tokio::test]
async fn a_killed_owner_leaves_no_server_behind() {
    let program = env!("CARGO_BIN_EXE_devstack-owner");
    let mut owner = Command::new(program).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let (redis, postgres): (u32, u32) = (words[0].parse().unwrap(), words[1].parse().unwrap());
    let data_dir = Path::new(words[2]);
    assert!(is_running(redis) && is_running(postgres) && data_dir.exists());

    owner.kill().unwrap();
    owner.wait().unwrap();
    let killed = Instant::now();
    until_gone(redis).await;
    until_gone(postgres).await;
    assert!(killed.elapsed() < Duration::from_secs(2));
    wait_for("the folder to be removed", Duration::from_secs(2), || async {
        if data_dir.exists() {
            Err("it is there")
        } else {
            Ok(())
        }
        .map_err(String::from)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn rabbitmq_comes_back_after_a_kill_and_leaves_no_epmd_behind() {
    let (first, second) = tokio::try_join!(
        RabbitMq::start(RabbitMqOptions::default()),
        RabbitMq::start(RabbitMqOptions::default())
    )
    .unwrap();
    assert_ne!(first.url(), second.url(), "side by side");
    assert_ne!(
        first.create_virtual_host().unwrap(),
        first.create_virtual_host().unwrap()
    );
    let (port, epmd) = (first.port(), first.epmd_pid());
    first.kill().unwrap();
    first.restart().await.unwrap();
    assert_eq!((first.port(), first.epmd_pid()), (port, epmd));
    let pids = [first.pid(), epmd, second.pid(), second.epmd_pid()];
    assert!(pids.into_iter().all(is_running));
    drop((first, second));
    for pid in pids {
        until_gone(pid).await;
    }
}
