//! `/livez` and `/readyz`.
//!
//! Live means the process answers. Ready means it should get traffic: every critical check passes and nobody asked it
//! to stop. A failing optional check is reported as degraded and changes nothing else.

use super::{Problem, resource};
use actix_web::{HttpResponse, web};
use contracts::error::ErrorCode;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Results are shared for this long, so that probing cannot load the database.
const REUSE_FOR: Duration = Duration::from_millis(250);

type Run = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

struct Check {
    name: &'static str,
    critical: bool,
    run: Run,
}

/// The checks of a service, to be given at start.
#[derive(Default)]
pub struct HealthBuilder {
    checks: Vec<Check>,
}

impl HealthBuilder {
    /// Adds a check without which the service cannot do its work: failing makes it not ready.
    ///
    /// The error is logged when the check starts to fail; the answer only names the check.
    pub fn critical<C, F, E>(self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.add(name, true, check)
    }

    /// Adds a check whose failing only degrades the service.
    pub fn optional<C, F, E>(self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.add(name, false, check)
    }

    /// The finished list.
    pub fn build(self) -> Health {
        let state = State {
            checks: self.checks,
            draining: AtomicBool::new(false),
            last: Mutex::new(None),
        };
        Health {
            state: Arc::new(state),
        }
    }

    fn add<C, F, E>(mut self, name: &'static str, critical: bool, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let run: Run = Box::new(move || {
            check()
                .map(|result| result.map_err(|error| error.to_string()))
                .boxed()
        });
        self.checks.push(Check { name, critical, run });
        self
    }
}

/// The health of this instance. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    state: Arc<State>,
}

struct State {
    checks: Vec<Check>,
    draining: AtomicBool,
    last: Mutex<Option<Report>>,
}

/// One run of all checks, in their order: passed or not.
#[derive(Clone)]
struct Report {
    at: Instant,
    passed: Vec<bool>,
}

impl Health {
    /// Starts a list of checks.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::default()
    }

    /// From now on not ready: the instance is going away. There is no way back.
    pub fn drain(&self) {
        self.state.draining.store(true, Ordering::Relaxed);
    }

    /// Whether [`Health::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.state.draining.load(Ordering::Relaxed)
    }

    /// Mounts `/livez` and `/readyz`.
    pub fn configure(&self, cfg: &mut web::ServiceConfig) {
        let health = self.clone();
        let ready = move || {
            let health = health.clone();
            async move { health.ready().await }
        };
        cfg.service(resource("", "/livez").route(web::get().to(live)))
            .service(resource("", "/readyz").route(web::get().to(ready)));
    }

    async fn ready(&self) -> Result<HttpResponse, Problem> {
        if self.is_draining() {
            return Err(Problem::new(ErrorCode::RetryLater)
                .message("This instance is shutting down.")
                .details(json!({ "status": "draining" })));
        }
        let passed = self.passed().await;
        let mut checks = Map::new();
        let (mut ready, mut whole) = (true, true);
        for (check, passed) in self.state.checks.iter().zip(passed) {
            checks.insert(
                check.name.to_owned(),
                Value::from(if passed { "ok" } else { "unavailable" }),
            );
            whole &= passed;
            ready &= passed || !check.critical;
        }
        if !ready {
            return Err(Problem::new(ErrorCode::RetryLater)
                .message("This instance is not ready.")
                .details(json!({ "status": "unavailable", "checks": checks })));
        }
        let status = if whole { "ok" } else { "degraded" };
        Ok(HttpResponse::Ok().json(json!({ "status": status, "checks": checks })))
    }

    /// Runs all checks, or hands out the last results while they are fresh. Callers wait for one run, not one each.
    async fn passed(&self) -> Vec<bool> {
        let mut last = self.state.last.lock().await;
        if let Some(report) = last.as_ref().filter(|report| report.at.elapsed() < REUSE_FOR) {
            return report.passed.clone();
        }
        let before = last.as_ref().map(|report| report.passed.clone());
        let runs = self.state.checks.iter().enumerate().map(|(at, check)| {
            let passed_before = before.as_ref().is_none_or(|passed| passed[at]);
            run(check, passed_before)
        });
        let passed = join_all(runs).await;
        *last = Some(Report {
            at: Instant::now(),
            passed: passed.clone(),
        });
        passed
    }
}

/// Runs a check and logs when its result changes: a probe comes every few seconds, the log should tell it once.
async fn run(check: &Check, passed_before: bool) -> bool {
    let result = match tokio::time::timeout(CHECK_TIMEOUT, (check.run)()).await {
        Ok(result) => result,
        Err(_) => Err(format!("no result in {CHECK_TIMEOUT:?}")),
    };
    match result {
        Ok(()) if passed_before => true,
        Ok(()) => {
            tracing::info!(check = check.name, "health check passes again");
            true
        }
        Err(cause) => {
            if passed_before {
                tracing::warn!(
                    check = check.name,
                    critical = check.critical,
                    cause,
                    "health check fails"
                );
            }
            false
        }
    }
}

async fn live() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(r#"{"status":"ok"}"#)
}
