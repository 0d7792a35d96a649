//! Logs, metrics and traces of the process. All are global: set up once at start, before anything else.

use crate::config::{LogConfig, LogFormat, TelemetryConfig};
use crate::console::event_log;
use crate::metrics::FORGOTTEN_AFTER;
use crate::trace::{self, Exporting};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Buckets of durations, in seconds: 100 µs to 5 s, with edges where the service promises something (10, 20, 50, 100 ms).
pub const SECONDS_BUCKETS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// Buckets of what takes as long as an order of v2 may, in seconds.
pub const LONG_SECONDS_BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Buckets of counts of things (batch sizes): powers of two.
pub const SIZE_BUCKETS: [f64; 13] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
];

/// How often the recorder moves raw samples into buckets. Without it they pile up until the next scrape.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.filter` is not a list of tracing directives.
    #[error("key `log.filter` cannot be parsed: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else installed a metrics recorder in this process.
    #[error("the metrics recorder cannot be installed: {0}")]
    Recorder(#[from] BuildError),
    /// The exporter of spans cannot be set up.
    #[error("key `telemetry.otlp_url`: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Its HTTP client cannot be set up.
    #[error("the client of the collector cannot be set up: {0}")]
    Client(#[from] crate::http_client::HttpClientError),
}

/// Logs and traces as long as this lives.
#[must_use = "spans that still wait are lost without `end`"]
#[derive(Debug)]
pub struct Telemetry(Option<Exporting>);

impl Telemetry {
    /// Hands over the spans that still wait, for a few seconds at most. Call it last.
    pub async fn end(self) {
        if let Some(exporting) = self.0 {
            // Handing over needs this runtime, so its threads must not wait for it.
            tokio::task::spawn_blocking(move || exporting.end()).await.ok();
        }
    }
}

/// Sends logs to standard error in the configured format, those of the `log` crate and panics included, and spans to the
/// collector if there is one. A second call in the same process changes nothing.
///
/// # Errors
/// [`TelemetryError`] when the filter cannot be parsed, or the collector's address.
///
/// # Panics
/// Outside a tokio runtime, where there is a collector.
pub fn init(
    service: &'static str,
    log: &LogConfig,
    telemetry: &TelemetryConfig,
) -> Result<Telemetry, TelemetryError> {
    let lines = match log.format {
        LogFormat::Human => fmt::layer().with_writer(std::io::stderr).boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let lines = lines.with_filter(EnvFilter::try_new(&log.filter)?);
    let kept = event_log::layer().with_filter(EnvFilter::try_new(&log.filter)?);
    let (exporting, spans) = trace::layer(telemetry, service)?.unzip();
    let installed = tracing_subscriber::registry()
        .with(lines)
        .with(kept)
        .with(spans)
        .try_init();
    if installed.is_ok() {
        // The default hook writes several plain lines, which a reader of JSON logs would lose.
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string);
            let message = panic.payload_as_str().unwrap_or("panic without a text");
            tracing::error!(location, message, "panic");
        }));
    }
    Ok(Telemetry(exporting))
}

/// The metrics of this process, to be rendered on a scrape. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// All series in the Prometheus text format.
    pub fn render(&self) -> String {
        crate::metrics::read_all();
        self.handle.render()
    }
}

/// Metrics as the configuration says: kept by [`install_metrics`], or not at all.
///
/// # Errors
/// As [`install_metrics`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn metrics(config: &TelemetryConfig) -> Result<Metrics, TelemetryError> {
    if config.metrics {
        return install_metrics();
    }
    // Nobody records into it: the macros find no recorder and do nothing.
    let handle = builder(FORGOTTEN_AFTER)?.build_recorder().handle();
    Ok(Metrics { handle })
}

/// Installs the process-wide metrics recorder, with [`SECONDS_BUCKETS`] for names ending in `_seconds` and
/// [`SIZE_BUCKETS`] for names ending in `_size`, [`LONG_SECONDS_BUCKETS`] for `_confirmation_seconds`, and starts its upkeep on the current tokio runtime. A second call in
/// the same process returns the same recorder.
///
/// # Errors
/// [`TelemetryError::Recorder`] when another recorder is installed already.
///
/// # Panics
/// Outside a tokio runtime.
pub fn install_metrics() -> Result<Metrics, TelemetryError> {
    static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);
    // Held to the end: of two callers at once, the second must wait for the first one's recorder.
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(metrics) = installed.as_ref() {
        return Ok(metrics.clone());
    }
    let metrics = Metrics {
        handle: builder(FORGOTTEN_AFTER)?.install_recorder()?,
    };
    *installed = Some(metrics.clone());
    let upkeep = metrics.handle.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(metrics)
}

fn builder(forgotten_after: Duration) -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE, Some(forgotten_after))
        // For any other name: without buckets the exporter would make a summary of it, which cannot be added up.
        .set_buckets(&SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(
            Matcher::Suffix("_confirmation_seconds".to_owned()),
            &LONG_SECONDS_BUCKETS,
        )?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZE_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_the_buckets_of_their_unit() {
        let recorder = builder(FORGOTTEN_AFTER).unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("decide_seconds").record(0.003);
            metrics::histogram!("flush_size").record(3.0);
            metrics::histogram!("other").record(3.0);
        });
        let text = recorder.handle().render();
        for line in [
            r#"decide_seconds_bucket{le="0.0001"} 0"#,
            r#"decide_seconds_bucket{le="0.0025"} 0"#,
            r#"decide_seconds_bucket{le="0.005"} 1"#,
            r#"decide_seconds_bucket{le="5"} 1"#,
            r#"flush_size_bucket{le="2"} 0"#,
            r#"flush_size_bucket{le="4"} 1"#,
            r#"flush_size_bucket{le="4096"} 1"#,
            "# TYPE other histogram",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("quantile"), "{text}");
    }

    #[test]
    fn a_gauge_that_nobody_sets_any_more_vanishes_and_a_counter_stays() {
        let recorder = builder(Duration::from_millis(50)).unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::gauge!("left").set(1.0);
            metrics::counter!("counted").increment(1);
            let give_up = std::time::Instant::now() + Duration::from_secs(10);
            while recorder.handle().render().contains("left") {
                assert!(std::time::Instant::now() < give_up, "it is still there");
                metrics::gauge!("kept").set(1.0);
                std::thread::yield_now();
            }
            metrics::gauge!("kept").set(1.0);
            let text = recorder.handle().render();
            assert!(text.contains("kept 1") && text.contains("counted 1"), "{text}");
        });
    }

    #[test]
    fn buckets_rise() {
        assert!(SECONDS_BUCKETS.is_sorted() && SIZE_BUCKETS.is_sorted());
        assert_eq!((SECONDS_BUCKETS[0], SECONDS_BUCKETS[14]), (0.000_1, 5.0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn everyone_who_installs_gets_the_same_recorder() {
        // At once, as tests of one program do.
        let installs: Vec<_> = (0..8)
            .map(|_| tokio::spawn(async { install_metrics().unwrap() }))
            .collect();
        for install in installs {
            let metrics = install.await.unwrap();
            metrics::gauge!("installed").set(2.0);
            assert!(metrics.render().contains("installed 2"), "{}", metrics.render());
        }
    }

    #[test]
    fn a_bad_filter_is_refused_by_name() {
        let log = LogConfig {
            format: LogFormat::Human,
            filter: "a=b=c".into(),
        };
        let telemetry = TelemetryConfig {
            metrics: true,
            otlp_url: "".into(),
            ca_file: std::path::PathBuf::new(),
            sample_ratio: 0.0,
        };
        let error = init("test", &log, &telemetry).unwrap_err();
        assert!(error.to_string().contains("log.filter"));
    }
}
