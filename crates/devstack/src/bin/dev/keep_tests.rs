//! On a real Redis and Postgres, without the services: they are servers like the others.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use devstack::{Postgres, PostgresOptions, Redis, RedisOptions, Signal, stack_file, wait_for};
use tokio::net::TcpListener;

use super::*;
use crate::control::{self, ADDRESS_KEY, Ongoing, Request};

const SOON: Duration = Duration::from_secs(20);

struct Stack {
    redis: Redis,
    file: PathBuf,
    written: Arc<AtomicU32>,
    /// Keeps it up, and serves askers, until dropped.
    _keeping: JoinSet<Infallible>,
    _dir: tempfile::TempDir,
}

async fn stack() -> Stack {
    let redis = Redis::start(RedisOptions::default()).await.unwrap();
    let postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let servers = Servers {
        redis: Some(redis.clone()),
        rabbitmq: None,
        database_url: postgres.url("postgres"),
        postgres: postgres.clone(),
        instances: Vec::new(),
    };
    let parts = vec![
        (String::from("Redis"), Server::clone(&redis)),
        (String::from("Postgres"), Server::clone(&postgres)),
    ];
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let file = dir.path().join("env");
    stack_file::write(&file, &[(ADDRESS_KEY.to_owned(), address)]).unwrap();
    let written = Arc::new(AtomicU32::new(0));
    let writes = Arc::clone(&written);
    let keeper = Keeper::new(servers, parts, move || {
        writes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let mut keeping = JoinSet::new();
    keeping.spawn(Arc::clone(&keeper).keep());
    keeping.spawn(control::serve(listener, keeper));
    Stack {
        redis,
        file,
        written,
        _keeping: keeping,
        _dir: dir,
    }
}

impl Stack {
    fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.redis.port())).is_ok()
    }

    async fn ask(&self, harm: Harm, for_ms: u64) -> Result<(Ongoing, String)> {
        let request = Request {
            harm,
            instance: 0,
            for_ms,
        };
        Ongoing::begin(&self.file, request).await
    }

    async fn wait_until_written(&self, times: u32) {
        wait_for("it to be written down", SOON, || async {
            match self.written.load(Ordering::Relaxed) {
                written if written >= times => Ok(()),
                written => Err(format!("written {written} times")),
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_is_started_again_on_its_port_and_written_down() {
    let stack = stack().await;
    let (pid, port) = (stack.redis.pid(), stack.redis.port());
    stack.redis.kill().unwrap();
    stack.wait_until_written(1).await;
    assert!(stack.answers());
    assert_eq!(stack.redis.port(), port);
    assert_ne!(stack.redis.pid(), pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_on_purpose_stays_down_for_its_time() {
    let stack = stack().await;
    let pid = stack.redis.pid();
    let begun = Instant::now();
    let (ongoing, what) = stack.ask(Harm::RedisKill, 2_500).await.unwrap();
    assert_eq!(what, format!("Redis (pid {pid}) is killed"));
    // Longer than what dies by itself would be down.
    while begun.elapsed() < Duration::from_millis(2_400) {
        assert!(!stack.answers(), "back after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let healed = ongoing.healed().await.unwrap();
    assert!(healed.contains("runs again, empty"), "{healed}");
    assert!(stack.answers());
    assert_eq!(stack.written.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asker_who_is_gone_leaves_nothing_broken() {
    let stack = stack().await;
    for harm in [Harm::RedisKill, Harm::RedisFreeze] {
        let written = stack.written.load(Ordering::Relaxed);
        let (ongoing, _) = stack.ask(harm, 600_000).await.unwrap();
        drop(ongoing);
        stack.wait_until_written(written + 1).await;
        let mut connection = redis::Client::open(stack.redis.url())
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
        let pong: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
        assert_eq!(pong, "PONG", "after {harm:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_broken_is_an_error_that_says_so() {
    let stack = stack().await;
    let refused = async |harm, for_ms| format!("{:#}", stack.ask(harm, for_ms).await.err().unwrap());
    assert!(
        refused(Harm::InstanceKill, 1)
            .await
            .contains("there is no instance 1")
    );
    assert!(refused(Harm::RabbitmqKill, 1).await.contains("without RabbitMQ"));
    assert!(refused(Harm::RedisFlush, 1).await.contains("Redis has no keys"));
    assert!(refused(Harm::RedisKill, 600_001).await.contains("at most 600 s"));
    std::fs::remove_file(&stack.file).unwrap();
    assert!(
        refused(Harm::RedisKill, 1)
            .await
            .contains("no stack is running here")
    );
    assert!(stack.answers());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_frozen_and_then_stopped_ends() {
    let redis = Redis::start(RedisOptions::default()).await.unwrap();
    redis.signal(Signal::STOP).unwrap();
    assert_eq!(redis.stop().await.unwrap(), Some(0));
    assert!(redis.restart().await.is_err(), "stopped is stopped");
}
