//! A collector of spans: takes what the services hand over, as OTLP over HTTP.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use devstack::wait_for;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;
use tokio::net::TcpListener;

use crate::fixture::PATIENCE;

/// A span as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) trace: String,
    pub(crate) span: String,
    /// Empty: it began the trace.
    pub(crate) parent: String,
    pub(crate) request_id: Option<String>,
    pub(crate) is_error: bool,
    pub(crate) attributes: HashMap<String, String>,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let collector = Self {
            url: format!("http://{}/v1/traces", listener.local_addr()?),
            arrived: Arc::default(),
        };
        let serving = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let collector = serving.clone();
                let service = service_fn(move |request| {
                    let collector = collector.clone();
                    async move { Ok::<_, Infallible>(collector.take(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(collector)
    }

    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let is_ours = request.uri().path() == "/v1/traces"
            && request.headers()["content-type"] == "application/x-protobuf";
        let body = request.into_body().collect().await.map(|body| body.to_bytes());
        let spans = body
            .ok()
            .and_then(|bytes| ExportTraceServiceRequest::decode(bytes).ok());
        let mut response = Response::new(Full::default());
        match spans.filter(|_| is_ours) {
            Some(spans) => self.lock().extend(read(spans)),
            None => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arrived>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a span of `service` of this name that was caused by `parent` (empty: by nothing).
    pub(crate) async fn span(&self, service: &str, name: &str, parent: &str) -> Result<Arrived> {
        wait_for("a span", PATIENCE, async || {
            let arrived = self.arrived();
            let is_it =
                |span: &&Arrived| span.service == service && span.name == name && span.parent == parent;
            let found = arrived.iter().find(is_it).cloned();
            found.ok_or_else(|| format!("no `{name}` of {service} under `{parent}` in {arrived:#?}"))
        })
        .await
    }
}

fn read(request: ExportTraceServiceRequest) -> Vec<Arrived> {
    let mut arrived = Vec::new();
    for of_service in request.resource_spans {
        let resource = of_service.resource.unwrap_or_default();
        let service = resource.attributes.iter().find(|pair| pair.key == "service.name");
        let service = service
            .and_then(|pair| text(pair.value.as_ref()?.value.as_ref()?))
            .unwrap_or_default();
        for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let attributes: HashMap<String, String> = span
                .attributes
                .iter()
                .filter_map(|pair| Some((pair.key.clone(), text(pair.value.as_ref()?.value.as_ref()?)?)))
                .collect();
            arrived.push(Arrived {
                service: service.clone(),
                name: span.name,
                kind: span.kind,
                trace: hex(&span.trace_id),
                span: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                request_id: attributes.get("request_id").cloned(),
                is_error: span
                    .status
                    .is_some_and(|status| status.code == SpanStatus::Error as i32),
                attributes,
            });
        }
    }
    arrived
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
