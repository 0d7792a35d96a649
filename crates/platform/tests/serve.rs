//! Both listeners over real sockets: what is where, and how they stop.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "serve/tls.rs"]
mod tls;

use actix_web::{HttpResponse, web};
use platform::config::{ServerConfig, ServerTlsConfig};
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
        shutdown_grace_ms: 5_000,
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
