//! The program as an operator sees it: it starts, answers, refuses bad configuration, and ends cleanly.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use devstack::{Postgres, PostgresOptions, Service, ServiceOptions, Signal, shared_postgres, wait_for};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_order-service");

async fn fresh_database() -> String {
    shared_postgres()
        .await
        .unwrap()
        .create_unique_database("orders")
        .await
        .unwrap()
}

fn options(database_url: &str) -> ServiceOptions {
    ServiceOptions::new("order-service", PROGRAM).database_url(database_url)
}

async fn get(url: String) -> (u16, Value) {
    let response = reqwest::get(&url).await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{url}: {status} {text}")),
    )
}

/// Runs the program to its end with nothing of ours in its environment but what is given.
fn program(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let ours = std::env::vars_os().map(|(name, _)| name);
    let mut command = Command::new(PROGRAM);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("HOTSTOCK__")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_answers_and_ends_with_zero_on_sigterm() {
    let service = Service::start(options(&fresh_database().await)).await.unwrap();
    for url in [service.url(), service.admin_url()] {
        assert_eq!(
            get(format!("{url}/livez")).await,
            (200, json!({ "status": "ok" }))
        );
        let (status, ready) = get(format!("{url}/readyz")).await;
        // There is no RabbitMQ here, and it is not needed.
        let checks = json!({ "postgres": "ok", "migrations": "ok", "rabbitmq": "unavailable" });
        assert_eq!(
            (status, ready),
            (200, json!({ "status": "degraded", "checks": checks }))
        );
    }
    let (status, body) = get(format!("{}/v1/nothing", service.url())).await;
    let expected =
        json!({ "error": "NOT_FOUND", "message": "There is nothing at this path.", "details": null });
    assert_eq!((status, body), (404, expected));
    let metrics = reqwest::get(format!("{}/metrics", service.admin_url()))
        .await
        .unwrap();
    assert_eq!(metrics.status(), 200);
    assert_eq!(service.terminate().await.unwrap(), 0, "{}", service.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_again_on_a_migrated_database() {
    let database = fresh_database().await;
    let first = Service::start(options(&database)).await.unwrap();
    assert_eq!(first.terminate().await.unwrap(), 0);
    let second = Service::start(options(&database)).await.unwrap();
    assert_eq!(second.terminate().await.unwrap(), 0);
    let migrated = program(&["migrate", "--set", &format!("database.url={database}")], &[]);
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
    assert_eq!(text(&migrated.stdout), "applied: nothing new\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_instances_start_on_an_empty_database_at_once() {
    let database = fresh_database().await;
    let (first, second, third) = tokio::join!(
        Service::start(options(&database)),
        Service::start(options(&database)),
        Service::start(options(&database)),
    );
    for service in [first, second, third] {
        assert_eq!(service.unwrap().terminate().await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_ends_the_service_and_says_which() {
    let database = fresh_database().await;
    let mut connection = AsyncPgConnection::establish(&database).await.unwrap();
    connection
        .batch_execute("CREATE TABLE orders (in_the_way int)")
        .await
        .unwrap();
    let free = ["server.bind=127.0.0.1:0", "server.admin_bind=127.0.0.1:0"];
    let url = format!("database.url={database}");
    let output = program(&["serve", "--set", free[0], "--set", free[1], "--set", &url], &[]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("000001_orders") && message.contains("already exists"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_database_and_liveness_does_not() {
    let postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let database = postgres.create_unique_database("orders").await.unwrap();
    let service = Service::start(options(&database)).await.unwrap();
    let becomes = async |expected: u16| {
        let url = format!("{}/readyz", service.url());
        wait_for("the state of readiness", Duration::from_secs(10), async || {
            let (status, body) = get(url.clone()).await;
            if status == expected {
                Ok(body)
            } else {
                Err(format!("{status} {body}"))
            }
        })
        .await
        .unwrap()
    };
    postgres.kill().unwrap();
    let body = becomes(503).await;
    assert_eq!(
        (&body["error"], &body["details"]["status"]),
        (&json!("RETRY_LATER"), &json!("unavailable"))
    );
    assert_eq!(get(format!("{}/livez", service.url())).await.0, 200);
    postgres.restart().await.unwrap();
    becomes(200).await;
    assert_eq!(service.terminate().await.unwrap(), 0);
}

#[test]
fn an_unknown_key_or_a_bad_value_refuses_to_start_and_names_the_key() {
    for (arguments, environment, key) in [
        (vec!["serve", "--set", "server.port=1"], vec![], "server.port"),
        (
            vec!["serve"],
            vec![("HOTSTOCK__REDIS__URL", "redis://x")],
            "redis.url",
        ),
        (
            vec!["serve"],
            vec![("HOTSTOCK__DATABASE__POOL_SIZE", "many")],
            "database.pool_size",
        ),
        (
            vec!["serve", "--set", "database.pool_size=0"],
            vec![],
            "database.pool_size",
        ),
        (vec!["serve", "--set", "log.filter=a=b=c"], vec![], "log.filter"),
        (
            vec!["migrate", "--set", "database.url=nonsense"],
            vec![],
            "database.url",
        ),
        (
            vec!["config", "--config", "/nonexistent.toml"],
            vec![],
            "/nonexistent.toml",
        ),
    ] {
        let output = program(&arguments, &environment);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
        assert!(
            message.starts_with("order-service: configuration: ") && message.contains(key),
            "{message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = format!("server.bind={}", taken.local_addr().unwrap());
    let output = program(&["serve", "--set", &bind], &[]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        message.contains("server.bind") && message.to_lowercase().contains("in use"),
        "{message}"
    );
}

#[test]
fn the_effective_configuration_is_printed_with_its_secrets_masked() {
    let url = "postgres://orders:pa55word@db/orders";
    let arguments = ["config", "--set", "server.workers=3"];
    let output = program(&arguments, &[("HOTSTOCK__DATABASE__URL", url)]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("postgres://orders:***@db/orders"), "{printed}");
    assert!(
        printed.contains("workers = 3") && !printed.contains("pa55word"),
        "{printed}"
    );
}

#[test]
fn without_keys_it_serves_this_machine_only_and_says_so() {
    for key in ["server.bind", "server.admin_bind"] {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let exposed = format!("{key}={address}");
            let output = program(&["serve", "--set", &exposed], &[]);
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{message}");
            assert!(
                message.contains(key) && message.contains("auth.mode"),
                "{message}"
            );
        }
    }
    let output = program(&["config", "--set", "auth.mode=on"], &[]);
    let message = text(&output.stderr);
    assert!(
        !output.status.success() && message.contains("auth.keys"),
        "{message}"
    );
}

#[test]
fn keys_that_go_over_the_wire_in_the_clear_are_warned_of() {
    let hash = "5f142fcff08388c655d3962208547735c800265e7659462887985a56fc2aed92";
    let keys = format!("auth.keys=[\"admin {hash}\"]");
    // It listens, warns, and ends for want of this file.
    let nowhere = "rabbitmq.ca_file=/nowhere/ca.pem";
    for (address, is_warned) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let bind = format!("server.bind={address}");
        let arguments = [
            "auth.mode=on",
            &keys,
            &bind,
            "server.admin_bind=127.0.0.1:0",
            "rabbitmq.url=amqps://127.0.0.1:1",
            nowhere,
        ];
        let arguments = arguments.iter().flat_map(|set| ["--set", set]);
        let arguments: Vec<&str> = std::iter::once("serve").chain(arguments).collect();
        let output = program(&arguments, &[]);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(
            said.contains("key `rabbitmq.ca_file` is `/nowhere/ca.pem`"),
            "{said}"
        );
        assert_eq!(
            said.contains("KEYS GO OVER THE WIRE IN THE CLEAR"),
            is_warned,
            "{said}"
        );
        assert_eq!(said.contains("server.bind"), is_warned, "{said}");
    }
}

#[test]
fn secrets_of_callers_are_masked_where_the_configuration_is_printed() {
    let secret = "0123456789abcdef0123456789abcdef";
    let environment = [
        ("HOTSTOCK__AUTH__JWT__SECRET", secret),
        ("HOTSTOCK__PRODUCT__KEY", secret),
        (
            "HOTSTOCK__DATABASE__OWNER_URL",
            "postgres://owner:pa55word@db/orders",
        ),
    ];
    let output = program(&["config"], &environment);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        !printed.contains(secret) && !printed.contains("pa55word"),
        "{printed}"
    );
    assert_eq!(printed.matches("\"***\"").count(), 2, "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let options = options(&fresh_database().await).env("HOTSTOCK__SERVER__SHUTDOWN_DELAY_MS", "600000");
    let service = Service::start(options).await.unwrap();
    service.signal(Signal::TERM).unwrap();
    let url = format!("{}/readyz", service.url());
    wait_for("draining", Duration::from_secs(10), async || {
        match get(url.clone()).await {
            (503, body) if body["details"]["status"] == "draining" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(service.exit_code(), None, "it serves on for ten minutes");
    service.signal(Signal::INT).unwrap();
    let code = wait_for("its end", Duration::from_secs(5), async || {
        service.exit_code().ok_or_else(|| "it runs".to_owned())
    })
    .await
    .unwrap();
    assert_eq!(code, 130, "{}", service.log_tail());
}
