//! Both listeners over real sockets: what is where, and how they stop.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "serve/tls.rs"]
mod tls;

use actix_web::{HttpResponse, web};
use platform::config::{LimitsConfig, ServerConfig, ServerTlsConfig};
use platform::http::auth::Auth;
use platform::http::health::Health;
use platform::serve::{Listeners, ServeError, run};
use platform::telemetry::install_metrics;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn config() -> ServerConfig {
    ServerConfig {
        bind: ([127, 0, 0, 1], 0).into(),
        admin_bind: ([127, 0, 0, 1], 0).into(),
        workers: 2,
        body_limit_bytes: 1024,
        request_deadline_ms: 1_000,
        shutdown_delay_ms: 0,
        shutdown_grace_ms: 5_000,
        limits: LimitsConfig {
            connections_max: 10_000,
            head_timeout_ms: 5_000,
            body_timeout_ms: 5_000,
            idle_timeout_ms: 75_000,
            head_limit_bytes: 16_384,
            in_flight_max: 100,
            requests_per_s: 0,
            burst: 100,
        },
        tls: ServerTlsConfig::off(),
    }
}

struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    stop: CancellationToken,
    entered: Arc<Semaphore>,
    gate: Arc<Semaphore>,
    ended: JoinHandle<Result<(), ServeError>>,
}

/// `GET /held` tells that it was entered and answers once the gate has a permit.
fn start(config: &ServerConfig, health: Health) -> Running {
    let listeners = Listeners::bind(config, Auth::off(), &[]).unwrap();
    let (public, admin) = (listeners.public(), listeners.admin());
    let (stop, entered, gate) = (
        CancellationToken::new(),
        Arc::new(Semaphore::new(0)),
        Arc::new(Semaphore::new(0)),
    );
    let (config, token) = (config.clone(), stop.clone());
    let shared = (entered.clone(), gate.clone());
    let public_routes = move |cfg: &mut web::ServiceConfig| {
        let (entered, gate) = shared.clone();
        let held = move || {
            let (entered, gate) = (entered.clone(), gate.clone());
            async move {
                entered.add_permits(1);
                let _permit = gate.acquire().await.unwrap();
                HttpResponse::Ok().body("held")
            }
        };
        cfg.service(web::resource("/held").route(web::get().to(held)));
        cfg.service(web::resource("/panics").route(web::get().to(panics)));
    };
    let admin_routes = |cfg: &mut web::ServiceConfig| {
        cfg.service(web::resource("/admin/thing").route(web::get().to(HttpResponse::NoContent)));
    };
    let ended = tokio::spawn(async move {
        let metrics = install_metrics().unwrap();
        run(
            &config,
            listeners,
            health,
            metrics,
            public_routes,
            admin_routes,
            token,
        )
        .await
    });
    Running {
        public,
        admin,
        stop,
        entered,
        gate,
        ended,
    }
}

async fn panics() -> HttpResponse {
    panic!("on purpose")
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn get_json(address: SocketAddr, path: &str) -> (u16, Value) {
    let (status, text) = get(address, path).await;
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status} {text}")),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_listener_has_its_own_routes_and_both_have_health() {
    let running = start(&config(), Health::builder().build());
    for address in [running.public, running.admin] {
        assert_eq!(
            get_json(address, "/livez").await,
            (200, json!({ "status": "ok" }))
        );
        assert_eq!(
            get_json(address, "/readyz").await,
            (200, json!({ "status": "ok", "checks": {} }))
        );
    }
    metrics::counter!("scraped_total").absolute(3);
    let (status, text) = get(running.admin, "/metrics").await;
    assert!(status == 200 && text.contains("scraped_total 3"), "{text}");
    assert_eq!(get(running.admin, "/admin/thing").await.0, 204);
    for path in ["/metrics", "/admin/thing"] {
        let (status, body) = get_json(running.public, path).await;
        assert_eq!((status, &body["error"]), (404, &json!("NOT_FOUND")), "{path}");
    }
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_answered_and_the_connection_stays() {
    let running = start(&config(), Health::builder().build());
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(1)
        .build()
        .unwrap();
    for _ in 0..3 {
        let response = client
            .get(format!("http://{}/panics", running.public))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 500);
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            (&body["error"], &body["details"]),
            (&json!("INTERNAL_ERROR"), &Value::Null)
        );
    }
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_is_in_flight_and_takes_nothing_new() {
    let running = start(&config(), Health::builder().build());
    let (public, admin) = (running.public, running.admin);
    let in_flight = tokio::spawn(async move { get(public, "/held").await });
    running.entered.acquire().await.unwrap().forget();
    running.stop.cancel();
    let (status, body) = devstack::wait_for("draining", Duration::from_secs(5), async || {
        let (status, body) = get_json(admin, "/readyz").await;
        if status == 503 {
            Ok((status, body))
        } else {
            Err(body.to_string())
        }
    })
    .await
    .unwrap();
    assert_eq!(
        (status, &body["error"], &body["details"]["status"]),
        (503, &json!("RETRY_LATER"), &json!("draining"))
    );
    assert_eq!(get(admin, "/livez").await.0, 200, "still alive while it drains");
    devstack::wait_for(
        "the public listener to close",
        Duration::from_secs(5),
        async || match tokio::net::TcpStream::connect(public).await {
            Ok(_) => Err("still open".to_owned()),
            Err(_) => Ok(()),
        },
    )
    .await
    .unwrap();
    assert!(!running.ended.is_finished(), "waits for the request in flight");
    running.gate.add_permits(1);
    assert_eq!(in_flight.await.unwrap(), (200, "held".to_owned()));
    running.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_hold_up_the_stop() {
    let running = start(&config(), Health::builder().build());
    let client = reqwest::Client::new();
    client
        .get(format!("http://{}/livez", running.public))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let started = Instant::now();
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_outlasts_the_grace_is_cut_off() {
    let running = start(
        &ServerConfig {
            shutdown_grace_ms: 1_000,
            ..config()
        },
        Health::builder().build(),
    );
    let public = running.public;
    let in_flight = tokio::spawn(async move { reqwest::get(format!("http://{public}/held")).await.is_ok() });
    running.entered.acquire().await.unwrap().forget();
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), running.ended)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(!in_flight.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (key, config) in [
        (
            "server.bind",
            ServerConfig {
                bind: address,
                ..config()
            },
        ),
        (
            "server.admin_bind",
            ServerConfig {
                admin_bind: address,
                ..config()
            },
        ),
    ] {
        let error = Listeners::bind(&config, Auth::off(), &[])
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains(key) && error.contains(&address.to_string()),
            "{error}"
        );
        assert!(error.contains("in use"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_critical_checks_and_reports_optional_ones() {
    let (postgres, redis) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let check = |up: &Arc<AtomicBool>| {
        let up = up.clone();
        move || {
            let up = up.load(Ordering::SeqCst);
            async move {
                if up {
                    Ok(())
                } else {
                    Err(io::Error::other("secret host"))
                }
            }
        }
    };
    let health = Health::builder()
        .critical("postgres", check(&postgres))
        .optional("redis", check(&redis))
        .build();
    let running = start(&config(), health);
    let becomes = async |expected: (u16, Value)| {
        devstack::wait_for("the state of readiness", Duration::from_secs(5), async || {
            let seen = get_json(running.public, "/readyz").await;
            if seen == expected {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await
        .unwrap();
    };
    becomes((
        200,
        json!({ "status": "ok", "checks": { "postgres": "ok", "redis": "ok" } }),
    ))
    .await;
    redis.store(false, Ordering::SeqCst);
    becomes((
        200,
        json!({ "status": "degraded", "checks": { "postgres": "ok", "redis": "unavailable" } }),
    ))
    .await;
    postgres.store(false, Ordering::SeqCst);
    let details =
        json!({ "status": "unavailable", "checks": { "postgres": "unavailable", "redis": "unavailable" } });
    let message = "This instance is not ready.";
    becomes((
        503,
        json!({ "error": "RETRY_LATER", "message": message, "details": details }),
    ))
    .await;
    postgres.store(true, Ordering::SeqCst);
    redis.store(true, Ordering::SeqCst);
    becomes((
        200,
        json!({ "status": "ok", "checks": { "postgres": "ok", "redis": "ok" } }),
    ))
    .await;
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_probes_share_one_run_of_the_checks_and_a_hung_check_has_failed() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let hung = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<(), io::Error>>()
    };
    let running = start(&config(), Health::builder().critical("postgres", hung).build());
    let probes: Vec<_> = (0..20)
        .map(|_| {
            let public = running.public;
            tokio::spawn(async move { get(public, "/readyz").await.0 })
        })
        .collect();
    for probe in probes {
        assert_eq!(probe.await.unwrap(), 503);
    }
    let runs = runs.load(Ordering::SeqCst);
    assert!((1..=2).contains(&runs), "{runs} runs for 20 probes");
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
}

/// A connection of our own: what is sent and heard on it is exactly this.
struct Wire(tokio::net::TcpStream);

impl Wire {
    async fn open(address: SocketAddr) -> Self {
        Self(tokio::net::TcpStream::connect(address).await.unwrap())
    }

    async fn ask(&mut self, path: &str) -> io::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.0.write_all(request.as_bytes()).await?;
        let mut heard = vec![0; 4096];
        let length = self.0.read(&mut heard).await?;
        heard.truncate(length);
        Ok(String::from_utf8(heard).unwrap())
    }

    async fn ends(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_secs(3), self.0.read(&mut byte));
        !matches!(read.await, Ok(Ok(1..)) | Err(_))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn within_the_delay_everything_is_served_and_told_to_come_over_another_connection() {
    let delayed = ServerConfig {
        shutdown_delay_ms: 1_500,
        ..config()
    };
    let running = start(&delayed, Health::builder().build());
    let mut kept = Wire::open(running.public).await;
    let before = kept.ask("/livez").await.unwrap();
    assert!(
        before.starts_with("HTTP/1.1 200 ") && !before.contains("connection: close"),
        "{before}"
    );
    let started = Instant::now();
    running.stop.cancel();
    let unready = async || match get_json(running.public, "/readyz").await {
        (503, body) if body["details"]["status"] == "draining" => Ok(()),
        other => Err(format!("{other:?}")),
    };
    devstack::wait_for("draining", Duration::from_secs(1), unready)
        .await
        .unwrap();
    // Over the connection from before, and over a new one.
    for wire in [&mut kept, &mut Wire::open(running.public).await] {
        let answer = wire.ask("/livez").await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"),
            "{answer}"
        );
        assert!(wire.ends().await);
    }
    running.ended.await.unwrap().unwrap();
    assert!(
        started.elapsed() >= delayed.shutdown_delay(),
        "{:?}",
        started.elapsed()
    );
}

/// Clients who keep their connections and ask at every moment of the stop: each gets a whole answer, or not a byte of one
/// and the handler has never heard of him.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_a_kept_connection_is_answered_whole_or_was_never_begun() {
    let running = start(&config(), Health::builder().build());
    let public = running.public;
    running.gate.add_permits(1_000_000);
    let clients: Vec<_> = (0..24)
        .map(|_| {
            tokio::spawn(async move {
                let mut wire = Wire::open(public).await;
                let (mut answered, mut closing) = (0_usize, false);
                while !closing {
                    match wire.ask("/held").await {
                        Ok(answer) if answer.ends_with("held") => {
                            answered += 1;
                            closing = answer.contains("connection: close");
                        }
                        // Its end, or a reset: nothing of an answer.
                        Ok(nothing) => return (answered, nothing),
                        Err(_) => break,
                    }
                }
                (answered, String::new())
            })
        })
        .collect();
    let entered = running.entered.clone();
    devstack::wait_for("requests", Duration::from_secs(10), async || {
        let entered = entered.available_permits();
        if entered > 2_000 {
            Ok(())
        } else {
            Err(entered.to_string())
        }
    })
    .await
    .unwrap();
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
    let mut all = 0;
    for client in clients {
        let (answered, rest) = client.await.unwrap();
        assert_eq!(rest, "", "half an answer");
        all += answered;
    }
    assert_eq!(entered.available_permits(), all, "begun and never answered");
}
