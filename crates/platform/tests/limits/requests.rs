//! More requests than there is room for.

use platform::config::{AuthConfig, LimitsConfig};
use platform::http::auth::Auth;
use serde_json::json;

use crate::server::{Client, PATIENCE, Running, get, limits, post, post_head};

/// Keys by their hashes: `printf %s ada-1 | sha256sum`.
const KEYS: [&str; 4] = [
    "customer 85c710b082731909225f7177f92d17f90be6f82b699483a50823212051609913 ada",
    "customer da4e00c8f69439f4a5c9d333c058f6fb7ad535f763230e74746a00fc5ff73680 ada",
    "customer a5fc3eac9107fe9b449965916d54b334233b8077a37f782d9b59e6e98e04def8 bob",
    "service 79326c2c826c3b015f06620651347b9b937294e0d9abb820bc090089a53776f3",
];

#[tokio::test(flavor = "multi_thread")]
async fn beyond_what_may_be_in_flight_requests_are_told_to_come_back_and_keep_their_connections() {
    let server = Running::start(
        LimitsConfig {
            in_flight_max: 2,
            ..limits()
        },
        Auth::off(),
    );
    let before = server.shed("in_flight").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = Client::to(server.public).await;
        client.send(get("/held")).await;
        held.push(client);
    }
    server.entered.acquire_many(2).await.unwrap().forget();
    let mut client = Client::to(server.public).await;
    for _ in 0..3 {
        client.send(post("/items", r#"{"quantity":3}"#)).await;
        let answer = client.answer().await;
        let body = answer.is(503, "RETRY_LATER");
        assert_eq!(body["details"]["reason"], "in_flight");
        assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    }
    assert!(
        server.shed("in_flight").await >= before + 3,
        "the admin listener goes on"
    );
    client.send(get("/livez")).await;
    assert_eq!(client.answer().await.status, 200, "health does not count");
    // A body that is slow to come takes no place of those who work.
    let mut slow = Client::to(server.public).await;
    slow.send(post_head("/items", "Content-Length: 14")).await;

    server.gate.add_permits(1);
    devstack::wait_for("a place", PATIENCE, async || {
        let mut client = Client::to(server.public).await;
        client.send(post("/items", r#"{"quantity":3}"#)).await;
        let answer = client.answer().await;
        (answer.status == 200).then_some(()).ok_or(answer.body)
    })
    .await
    .unwrap();
    // Who hangs up leaves his place.
    drop(held);
    devstack::wait_for("both places", PATIENCE, async || {
        // Held at the same time.
        let mut clients = [Client::to(server.public).await, Client::to(server.public).await];
        clients[0].send(get("/held")).await;
        clients[1].send(get("/held")).await;
        server.gate.add_permits(2);
        let both = [clients[0].answer().await.status, clients[1].answer().await.status];
        (both == [200; 2]).then_some(()).ok_or(format!("{both:?}"))
    })
    .await
    .unwrap();
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_beyond_its_rate_is_told_when_to_come_back_and_is_served_then() {
    let server = Running::start(
        LimitsConfig {
            requests_per_s: 1,
            burst: 3,
            ..limits()
        },
        Auth::off(),
    );
    let before = server.shed("rate").await;
    let mut client = Client::to(server.public).await;
    let mut told = Vec::new();
    for _ in 0..30 {
        // Another connection of the same client.
        let mut other = Client::to(server.public).await;
        other.send(post("/items", r#"{"quantity":3}"#)).await;
        let answer = other.answer().await;
        told.push(answer.status);
        if answer.status == 429 {
            answer.is(429, "TOO_MANY_REQUESTS");
            assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
        }
    }
    assert_eq!(told[..3], [200; 3], "a burst");
    assert!(
        told.iter().filter(|status| **status == 429).count() >= 20,
        "{told:?}"
    );
    assert!(server.shed("rate").await >= before + 20);
    for _ in 0..5 {
        client.send(get("/livez")).await;
        assert_eq!(client.answer().await.status, 200, "health has no rate");
    }
    devstack::wait_for("its turn", PATIENCE, async || {
        let mut client = Client::to(server.public).await;
        client.send(post("/items", r#"{"quantity":3}"#)).await;
        let answer = client.answer().await;
        (answer.status == 200).then_some(()).ok_or(answer.body)
    })
    .await
    .unwrap();
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_a_buyers_or_a_keys_own() {
    let config = json!({
        "mode": "on", "keys": KEYS, "keys_file": "", "metrics": "loopback",
        "jwt": { "algorithm": "none", "secret": "", "public_key_file": "", "issuer": "", "audience": "", "leeway_s": 0 },
    });
    let config: AuthConfig = serde_json::from_value(config).unwrap();
    let server = Running::start(
        LimitsConfig {
            requests_per_s: 1,
            burst: 1,
            ..limits()
        },
        Auth::load(&config).unwrap(),
    );
    let mut client = Client::to(server.public).await;
    let mut ask = async |key: &str| {
        let fields = format!("Content-Length: 14\r\nAuthorization: Bearer {key}");
        client
            .send(post_head("/items", &fields) + r#"{"quantity":3}"#)
            .await;
        client.answer().await.status
    };
    // All of them from one address. Ada has two keys and one rate.
    for (key, status) in [("ada-1", 200), ("bob-1", 200), ("shop-1", 200)] {
        assert_eq!(ask(key).await, status, "{key}");
    }
    let mut again = Vec::new();
    for _ in 0..5 {
        again.push(ask("ada-2").await);
    }
    assert!(again.contains(&429), "{again:?}");
    assert_eq!(ask("nobody's").await, 401, "not let in, so not counted");
    server.end().await;
}
