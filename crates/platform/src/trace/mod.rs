//! Traces: what one request has caused, in whichever process. A [`TraceContext`] goes along in headers of requests and
//! messages and in columns of what is done later; a [`Work`] is one piece of it.
//!
//! A piece of work is exported when its trace is sampled and somebody collects (`telemetry.otlp_url`); else it is named
//! in log lines where somebody reads those of target `request` at debug; else it is nothing: then the hot path pays for
//! one look at a flag, and a context that came with a request is handed on as it is. Nothing waits for a collector:
//! what it cannot take is dropped.

mod context;
mod export;

pub use context::TraceContext;
pub(crate) use export::{Exporting, layer};

use std::fmt::Display;

use actix_web::{HttpMessage, HttpRequest};
use contracts::messaging::TRACE_CONTEXT;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanRef, Status, TraceContextExt};
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::http::auth::Caller;

/// Target of the spans that are exported.
const EXPORTED: &str = "hotstock_trace";
/// Target of the line per request, and of the spans that only log lines show.
pub(crate) const LOGGED: &str = "request";

/// What a piece of work is to the others of its trace.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Makes one.
    Client,
    /// Sends a message.
    Producer,
    /// Handles one.
    Consumer,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// A piece of work in a trace. It ends when this is dropped, and what is instrumented with its span.
#[derive(Debug)]
pub struct Work {
    /// Log lines within it name the request and the trace. Often no span at all.
    pub span: Span,
    /// What goes along with all that it causes.
    pub context: Option<TraceContext>,
}

impl Work {
    /// Goes on with the trace of `cause`. `name` says what is done, of few kinds; `request_id` for which request.
    #[must_use]
    pub fn caused_by(cause: Option<TraceContext>, kind: Kind, name: &str, request_id: &str) -> Self {
        match cause {
            Some(cause) if cause.is_sampled() && export::is_on() => {
                Self::exported(Some(cause), kind, name, request_id)
            }
            _ => Self::logged(cause, request_id),
        }
    }

    /// As [`Work::caused_by`], but for what comes from outside: what has no cause may begin a trace. Also for those who
    /// read the log, so that they can follow it.
    pub(crate) fn begun_by(cause: Option<TraceContext>, name: &str, request_id: &str) -> Self {
        let is_sampled = match cause {
            Some(cause) => cause.is_sampled() && export::is_on(),
            None => export::draw(),
        };
        if is_sampled {
            return Self::exported(cause, Kind::Server, name, request_id);
        }
        if is_logged() {
            return Self::logged(Some(cause.unwrap_or_else(TraceContext::unsampled)), request_id);
        }
        Self {
            span: Span::none(),
            context: cause,
        }
    }

    fn exported(cause: Option<TraceContext>, kind: Kind, name: &str, request_id: &str) -> Self {
        let span = tracing::info_span!(
            target: EXPORTED,
            parent: None,
            "request",
            otel.name = name,
            otel.kind = kind.word(),
            request_id,
            trace_id = tracing::field::Empty,
        );
        if let Some(cause) = cause {
            // Fails only where nothing is exported, which was looked at before.
            span.set_parent(cause.remote()).ok();
        }
        let own = TraceContext::of(span.context().span().span_context());
        if let Some(own) = own {
            span.record("trace_id", tracing::field::display(own.trace_id()));
        }
        Self {
            span,
            context: own.or(cause),
        }
    }

    fn logged(cause: Option<TraceContext>, request_id: &str) -> Self {
        let trace_id = cause.map(|cause| tracing::field::display(cause.trace_id()));
        let span = tracing::debug_span!(target: LOGGED, parent: None, "request", request_id, trace_id);
        Self { span, context: cause }
    }

    /// It came to nothing.
    pub fn failed(&self, why: &impl Display) {
        // By now the span has begun, and is no longer described by fields.
        let status = || Status::error(why.to_string());
        self.if_exported(|span| span.set_status(status()));
    }

    /// What it answers to a request, when that is known.
    pub(crate) fn answered(&self, name: impl FnOnce() -> String, status: u16) {
        self.if_exported(|span| {
            span.update_name(name());
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            if status >= 500 {
                span.set_status(Status::error(""));
            }
        });
    }

    fn if_exported(&self, change: impl FnOnce(SpanRef<'_>)) {
        if export::is_on() {
            change(self.span.context().span());
        }
    }
}

/// Whether anybody sees a request that is not part of a sampled trace.
pub(crate) fn is_logged() -> bool {
    tracing::enabled!(target: LOGGED, Level::DEBUG)
}

/// Whether anybody may see a request.
pub(crate) fn is_watched() -> bool {
    export::is_on() || is_logged()
}

/// The context of the request that is being answered: its own when somebody sees it, else the one it came with. `None`
/// too when what it came with is not one.
#[must_use]
pub fn context(request: &HttpRequest) -> Option<TraceContext> {
    let own = request.extensions().get::<TraceContext>().copied();
    own.or_else(|| came_with(request))
}

/// The context a request came with. Whether its trace is collected is for those to say who may; of others it is drawn, as
/// of a request without one.
pub(crate) fn came_with(request: &HttpRequest) -> Option<TraceContext> {
    let text = request.headers().get(TRACE_CONTEXT)?.to_str().ok()?;
    let context: TraceContext = text.parse().ok()?;
    let is_heard = |caller: &Caller| caller.may_have_traces_collected();
    if request.extensions().get::<Caller>().is_none_or(is_heard) {
        Some(context)
    } else {
        Some(context.sampled(export::draw()))
    }
}
