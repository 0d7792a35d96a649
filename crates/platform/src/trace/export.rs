//! Handing spans to a collector: OTLP, protobuf over HTTP, from a thread of its own.
//!
//! Spans wait in a bounded queue. While the collector is away or slow they are dropped; nobody waits for it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::EXPORTED;
use crate::config::TelemetryConfig;
use crate::http_client::{HttpClient, Peer};
use crate::telemetry::TelemetryError;

/// Spans that may wait for the collector.
const QUEUE_CAPACITY: usize = 8192;
/// How often they are handed over, unless there are many.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the collector.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which requests begin a trace: those that draw less than this. Unset: nobody collects.
static SAMPLED_BELOW: OnceLock<f64> = OnceLock::new();

/// Whether spans are exported.
pub(super) fn is_on() -> bool {
    SAMPLED_BELOW.get().is_some()
}

/// Whether a request without a cause begins a trace.
pub(super) fn draw() -> bool {
    SAMPLED_BELOW
        .get()
        .is_some_and(|below| rand::random::<f64>() < *below)
}

/// Spans on their way out. Drop it last: what still waits is handed over then.
#[derive(Debug)]
pub(crate) struct Exporting(SdkTracerProvider);

impl Exporting {
    /// Hands over what waits, at most for as long as the collector may take. Blocks.
    pub(crate) fn end(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "not all spans were handed over");
        }
    }
}

/// What hands spans over as the configuration says; `None` where it says nobody collects.
///
/// # Panics
/// Outside a tokio runtime, where somebody collects.
pub(crate) fn layer<S>(
    config: &TelemetryConfig,
    service: &'static str,
) -> Result<Option<(Exporting, impl Layer<S> + use<S>)>, TelemetryError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    if config.otlp_url.expose().is_empty() {
        return Ok(None);
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(config.otlp_url.expose())
        .with_timeout(TIMEOUT)
        .with_http_client(Post::new(config)?)
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_CAPACITY)
        .with_scheduled_delay(EVERY);
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches.build())
        .build();
    let resource = Resource::builder_empty().with_service_name(service).build();
    let provider = SdkTracerProvider::builder()
        // Only what was drawn becomes a span at all.
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .with_span_processor(processor)
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("hotstock"))
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.target() == EXPORTED));
    SAMPLED_BELOW.get_or_init(|| config.sample_ratio);
    Ok(Some((Exporting(provider), layer)))
}

/// The exporter's way out. It calls from a thread without a runtime.
#[derive(Debug)]
struct Post {
    client: HttpClient,
    runtime: Handle,
    is_down: AtomicBool,
}

impl Post {
    fn new(config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let client = HttpClient::new(Peer {
            url: &config.otlp_url,
            url_key: "telemetry.otlp_url",
            ca_file: &config.ca_file,
            ca_key: "telemetry.ca_file",
            connect_timeout: TIMEOUT,
        })?;
        Ok(Self {
            client,
            runtime: Handle::current(),
            is_down: AtomicBool::new(false),
        })
    }

    /// Says it once, when the collector goes and when it is back.
    fn tell(&self, failure: Option<String>) {
        let was_down = self.is_down.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) if !was_down => tracing::warn!(why, "spans cannot be handed over; they are dropped"),
            None if was_down => tracing::info!("spans are handed over again"),
            _ => {}
        }
    }
}

#[async_trait]
impl opentelemetry_http::HttpClient for Post {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            // To the configured address, whatever the exporter makes of it.
            let (head, body) = request.into_parts();
            let mut post = client.request(head.method, "");
            if let Some(headers) = post.headers_mut() {
                headers.extend(head.headers);
            }
            Ok::<_, HttpError>(client.send(post.body(body)?, TIMEOUT).await?)
        });
        match sent.await? {
            Ok(answer) => {
                let status = answer.status();
                self.tell((!status.is_success()).then(|| status.to_string()));
                Ok(answer)
            }
            Err(error) => {
                self.tell(Some(error.to_string()));
                Err(error)
            }
        }
    }
}
