//! Hostile connections.

use futures_util::future::join_all;
use platform::config::LimitsConfig;
use platform::http::auth::Auth;

use crate::server::{Client, Running, SHORT_MS, get, limits, post, post_head};

/// `{"quantity":3}` and 64 KiB of spaces.
const BOMB: [u8; 117] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc1, 0xb1, 0x0d, 0x00, 0x10, 0x10,
    0x00, 0xc0, 0x55, 0xc4, 0x0a, 0x3a, 0xdb, 0x28, 0x35, 0x12, 0xc9, 0x2b, 0x44, 0xec, 0xce, 0x20, 0x77,
    0x77, 0xf2, 0x5c, 0x6d, 0x44, 0x8f, 0x9d, 0x6b, 0xb9, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0xbe, 0x07, 0xc4, 0x53, 0xf2, 0x64, 0x0e, 0x00, 0x01, 0x00,
];

fn start() -> Running {
    Running::start(limits(), Auth::off())
}

fn impatient() -> Running {
    let limits = LimitsConfig {
        head_timeout_ms: SHORT_MS,
        body_timeout_ms: SHORT_MS,
        idle_timeout_ms: SHORT_MS,
        ..limits()
    };
    Running::start(limits, Auth::off())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_is_cut_off_and_so_is_one_who_says_nothing() {
    let server = impatient();
    let slow = ["", "GET / HT", "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "].map(async |begun| {
        let mut client = Client::to(server.public).await;
        client.send(begun).await;
        let said = client.rest().await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{begun:?}: {said}");
    });
    tokio::join!(join_all(slow), server.serves());
    let mut client = Client::to(server.public).await;
    client.send(get("/livez")).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(
        client.rest().await,
        "",
        "idle after an answer: closed without a word"
    );
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_refused_and_one_that_is_only_late_is_taken() {
    let server = impatient();
    let before = server.shed("body").await;
    let slow = [
        ("Content-Length: 14", ""),
        ("Content-Length: 14", r#"{"quan"#),
        ("Transfer-Encoding: chunked", "5\r\n{\"qua\r\n"),
    ];
    let slow = slow.map(async |(fields, begun)| {
        let mut client = Client::to(server.public).await;
        // The first one on this connection is normal.
        client.send(post("/items", r#"{"quantity":1}"#)).await;
        assert_eq!(client.answer().await.status, 200);
        client.send(post_head("/items", fields) + begun).await;
        let body = client.answer().await.is(408, "BAD_REQUEST");
        assert_eq!(body["message"], "The request did not arrive in time.");
        assert_eq!(client.rest().await, "", "closed");
    });
    tokio::join!(join_all(slow), server.serves());
    assert!(server.shed("body").await >= before + 3);
    let mut client = Client::to(server.public).await;
    client.send(post_head("/items", "Content-Length: 14")).await;
    for part in [r#"{"quan"#, r#"tity""#, ":3}"] {
        tokio::task::yield_now().await;
        client.send(part).await;
    }
    assert_eq!(client.answer().await.body, "3");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_with_and_without_its_length() {
    let server = start();
    let large = format!(r#"{{"quantity":3}}{}"#, " ".repeat(2_000));
    for (fields, body) in [
        ("Content-Length: 99999999999".to_owned(), String::new()),
        (format!("Content-Length: {}", large.len()), large.clone()),
        (
            "Transfer-Encoding: chunked".to_owned(),
            format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()),
        ),
    ] {
        let mut client = Client::to(server.public).await;
        client.send(post_head("/items", &fields) + &body).await;
        client.answer().await.is(413, "PAYLOAD_TOO_LARGE");
        server.serves().await;
    }
    // One that goes on for ever.
    let mut client = Client::to(server.public).await;
    client
        .send(
            post_head("/items", "Transfer-Encoding: chunked") + "400\r\n" + &" ".repeat(1024) + "\r\n1\r\n ",
        )
        .await;
    client.answer().await.is(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(client.rest().await, "", "closed");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_over_the_limit_is_refused() {
    let server = start();
    let head = |fields: String| format!("GET /livez HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let mut client = Client::to(server.public).await;
    client
        .send(head(format!("X-Large: {}\r\n", "a".repeat(16_000))))
        .await;
    assert_eq!(client.answer().await.status, 200, "within it");
    for large in [
        head(format!("X-Large: {}\r\n", "a".repeat(64 * 1024))),
        head((0..90).fold(String::new(), |all, at| {
            all + &format!("X-{at}: {}\r\n", "a".repeat(200))
        })),
        get(&format!("/livez?{}", "a".repeat(17_000))),
    ] {
        let mut client = Client::to(server.public).await;
        client.send(&large).await;
        let body = client.answer().await.is(431, "BAD_REQUEST");
        assert_eq!(body["message"], "The head of the request is too large.");
        server.serves().await;
    }
    // These the server below answers: with the status alone, and it closes.
    for huge in [
        head("X-Many: a\r\n".repeat(200)),
        head(format!("X-Huge: {}\r\n", "a".repeat(200 * 1024))),
    ] {
        let mut client = Client::to(server.public).await;
        client.send(&huge).await;
        let said = client.rest().await;
        assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
        server.serves().await;
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lengths_of_one_body_are_refused_and_nothing_is_smuggled() {
    let server = start();
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Transfer-Encoding: gzip, chunked",
    ] {
        let mut client = Client::to(server.public).await;
        client
            .send(post_head("/items", fields) + "0\r\n\r\n" + &get("/livez"))
            .await;
        let said = client.rest().await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{fields}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{fields}: {said}");
        server.serves().await;
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_not_unpacked() {
    let server = start();
    let fields = format!("Content-Length: {}\r\nContent-Encoding: gzip", BOMB.len());
    let mut client = Client::to(server.public).await;
    client
        .send([post_head("/items", &fields).as_bytes(), &BOMB].concat())
        .await;
    client.answer().await.is(400, "BAD_REQUEST");
    server.serves().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_and_the_others_are_served() {
    let server = Running::start(
        LimitsConfig {
            connections_max: 20,
            ..limits()
        },
        Auth::off(),
    );
    let before = server.shed("connection").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::to(server.public).await;
        client.send(get("/livez")).await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    for _ in 0..5 {
        let mut client = Client::to(server.public).await;
        client.send(get("/livez")).await;
        assert_eq!(client.rest().await, "", "closed without a word");
    }
    for client in &mut clients {
        client.send(get("/livez")).await;
        assert_eq!(client.answer().await.status, 200, "still served");
    }
    assert!(
        server.shed("connection").await >= before + 5,
        "the admin listener has its own"
    );
    clients.pop();
    devstack::wait_for("a place for another", crate::server::PATIENCE, async || {
        let mut client = Client::to(server.public).await;
        client.send(get("/livez")).await;
        let said = client.first_line().await;
        said.starts_with("HTTP/1.1 200").then_some(()).ok_or(said)
    })
    .await
    .unwrap();
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_who_say_nothing_keep_nobody_from_being_served_and_are_cut_off() {
    let server = Running::start(
        LimitsConfig {
            // This process has both ends of each, and gets descriptors for as many as it says.
            connections_max: 12_000,
            head_timeout_ms: 6_000,
            ..limits()
        },
        Auth::off(),
    );
    let mut idle = Vec::new();
    for at in 0..5_000 {
        idle.push(Client::to(server.public).await);
        if at % 1_000 == 999 {
            server.serves().await;
        }
    }
    for client in idle {
        let said = client.rest().await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }
    server.serves().await;
    server.end().await;
}
