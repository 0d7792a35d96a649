//! The W3C trace context: 55 characters that name a trace and the piece of work in it that caused something.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

/// Which trace something belongs to, and what in it caused it. As text it is a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    cause: SpanId,
    flags: TraceFlags,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C trace context")]
pub struct NoTraceContext;

impl TraceContext {
    /// A new trace that nobody collects: a name to find log lines by.
    pub(super) fn unsampled() -> Self {
        Self {
            // Zero is no id.
            trace: TraceId::from(rand::random::<u128>().max(1)),
            cause: SpanId::from(rand::random::<u64>().max(1)),
            flags: TraceFlags::default(),
        }
    }

    pub(super) fn of(span: &SpanContext) -> Option<Self> {
        span.is_valid().then(|| Self {
            trace: span.trace_id(),
            cause: span.span_id(),
            flags: span.trace_flags(),
        })
    }

    /// The same, collected or not.
    pub(super) fn sampled(self, sampled: bool) -> Self {
        Self {
            flags: self.flags.with_sampled(sampled),
            ..self
        }
    }

    /// Whether whoever began the trace wants it collected.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags.is_sampled()
    }

    /// The id of the trace, 32 hexadecimal digits as text.
    #[must_use]
    pub fn trace_id(self) -> impl fmt::Display {
        self.trace
    }

    /// As the parent of a span of ours.
    pub(super) fn remote(self) -> opentelemetry::Context {
        let span = SpanContext::new(self.trace, self.cause, self.flags, true, TraceState::NONE);
        opentelemetry::Context::new().with_remote_span_context(span)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.cause, self.flags.to_u8())
    }
}

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    /// Version 00, and what later versions have in common with it.
    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let mut parts = text.splitn(5, '-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            part.filter(|part| part.bytes().all(is_hex)).ok_or(NoTraceContext)
        };
        let (version, trace, cause, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(NoTraceContext);
        }
        let trace = TraceId::from_hex(trace).map_err(|_| NoTraceContext)?;
        let cause = SpanId::from_hex(cause).map_err(|_| NoTraceContext)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NoTraceContext)?;
        if trace == TraceId::INVALID || cause == SpanId::INVALID {
            return Err(NoTraceContext);
        }
        // Later versions may mean something else by the other bits.
        let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
        Ok(Self { trace, cause, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_the_same_after_it_was_written_and_read() {
        let context: TraceContext = CONTEXT.parse().unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), CONTEXT);
        let unsampled = context.sampled(false);
        assert!(!unsampled.is_sampled() && unsampled.sampled(true) == context);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let fresh = TraceContext::unsampled();
        assert_eq!(fresh.to_string().parse(), Ok(fresh));
        assert!(!fresh.is_sampled());
    }

    #[test]
    fn what_is_no_context_is_none() {
        for text in [
            "",
            "in two words",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(NoTraceContext), "{text}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_the_same() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-more";
        assert_eq!(later.parse(), CONTEXT.parse::<TraceContext>());
    }
}
