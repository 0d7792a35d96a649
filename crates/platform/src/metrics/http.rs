//! Requests, by route, method and status.
//!
//! The label of a route is its pattern in the URL table, so no label grows with what clients ask for. What is in no table
//! (unknown paths, the pages of the API's description) is `other`, and so is a request that broke before it had an answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Instant;

use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, gauge, histogram};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::PathItem;

use super::{label, lock};

const REQUESTS: &str = "hotstock_http_requests_total";
const SECONDS: &str = "hotstock_http_request_seconds";
const IN_FLIGHT: &str = "hotstock_http_in_flight_requests";

pub(super) const HELP: &[(&str, &str)] = &[
    (
        REQUESTS,
        "Requests answered, by route pattern, method and status.",
    ),
    (
        SECONDS,
        "From a request's head being read to its answer being ready, in seconds.",
    ),
    (IN_FLIGHT, "Requests that have no answer yet."),
];

const METHODS: [&str; 7] = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OTHER"];
const STATUSES: [u16; 20] = [
    200, 201, 202, 204, 308, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 424, 429, 431, 500, 503,
];
const OTHER: &str = "other";

/// The series of one route. They are made when they are first needed: at the start for what the API's description lists.
pub struct Route {
    pattern: String,
    requests: [[OnceLock<Counter>; STATUSES.len() + 1]; METHODS.len()],
    seconds: [OnceLock<Histogram>; METHODS.len()],
}

static ROUTES: LazyLock<Mutex<HashMap<String, Arc<Route>>>> = LazyLock::new(Mutex::default);
static UNKNOWN: LazyLock<Arc<Route>> = LazyLock::new(|| route(OTHER));
static REQUESTS_IN_FLIGHT: AtomicI64 = AtomicI64::new(0);

/// The series of the route with this pattern; the same for all threads that serve it.
#[must_use]
pub fn route(pattern: &str) -> Arc<Route> {
    let mut routes = lock(&ROUTES);
    let route = routes.entry(pattern.to_owned()).or_insert_with(|| {
        Arc::new(Route {
            pattern: pattern.to_owned(),
            requests: Default::default(),
            seconds: Default::default(),
        })
    });
    Arc::clone(route)
}

/// Makes the series of every answer that an API's description lists, at zero.
pub fn document(document: &OpenApi) {
    for (pattern, item) in &document.paths.paths {
        let route = route(pattern);
        for (method, operation) in operations(item) {
            route.seconds(method);
            let statuses = operation.responses.responses.keys();
            for status in statuses.filter_map(|status| status.parse().ok()) {
                route.requests(method, status_index(status)).absolute(0);
            }
        }
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (usize, &utoipa::openapi::path::Operation)> {
    [
        (&Method::GET, &item.get),
        (&Method::POST, &item.post),
        (&Method::PATCH, &item.patch),
        (&Method::PUT, &item.put),
        (&Method::DELETE, &item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method_index(method), operation.as_ref()?)))
}

impl Route {
    fn requests(&self, method: usize, status: usize) -> &Counter {
        self.requests[method][status].get_or_init(|| {
            let status = STATUSES
                .get(status)
                .map_or_else(|| OTHER.to_owned(), ToString::to_string);
            counter!(REQUESTS, "route" => label(&self.pattern), "method" => METHODS[method], "status" => status)
        })
    }

    fn seconds(&self, method: usize) -> &Histogram {
        self.seconds[method]
            .get_or_init(|| histogram!(SECONDS, "route" => label(&self.pattern), "method" => METHODS[method]))
    }

    fn answered(&self, method: usize, status: StatusCode, began: Instant) {
        self.requests(method, status_index(status.as_u16())).increment(1);
        self.seconds(method).record(began.elapsed());
    }
}

fn method_index(method: &Method) -> usize {
    let known = METHODS.iter().position(|known| *known == method.as_str());
    known.unwrap_or(METHODS.len() - 1)
}

fn status_index(status: u16) -> usize {
    let known = STATUSES.iter().position(|known| *known == status);
    known.unwrap_or(STATUSES.len())
}

/// A request under way. Counted as in flight until it is dropped: also when its client hangs up.
pub(crate) struct Measured {
    began: Instant,
}

/// A request has come in.
pub(crate) fn begin() -> Measured {
    REQUESTS_IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
    Measured {
        began: Instant::now(),
    }
}

impl Measured {
    /// It has its answer.
    pub(crate) fn answered<B>(&self, response: &ServiceResponse<B>) {
        let (request, status) = (response.request(), response.status());
        let method = method_index(request.method());
        match request.app_data::<Arc<Route>>() {
            Some(route) => route.answered(method, status, self.began),
            None => UNKNOWN.answered(method, status, self.began),
        }
    }

    /// It broke: nobody knows any more what it was.
    pub(crate) fn broke(&self, status: StatusCode) {
        UNKNOWN.answered(METHODS.len() - 1, status, self.began);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        REQUESTS_IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn read_in_flight() {
    let in_flight = REQUESTS_IN_FLIGHT.load(Ordering::Relaxed);
    gauge!(IN_FLIGHT).set(i32::try_from(in_flight).map_or(f64::from(i32::MAX), f64::from));
}
