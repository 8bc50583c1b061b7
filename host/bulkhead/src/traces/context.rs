//! W3C Trace Context, between the headers' text and the SDK's values.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId};

use bulkhead_core::{TraceContext, TraceParent};

/// What a `traceparent` and its `tracestate` mean; nothing if it is none.
pub(super) fn parse(context: &TraceContext) -> Option<SpanContext> {
    let TraceParent { trace, span, flags } = TraceParent::parse(&context.traceparent)?;
    let state = context.tracestate.as_deref().and_then(|state| state.parse().ok());
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        state.unwrap_or_default(),
    );
    context.is_valid().then_some(context)
}

/// The headers of a span.
pub(super) fn written(context: &SpanContext) -> TraceContext {
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
    let state = context.trace_state().header();
    TraceContext {
        traceparent: format!("00-{trace}-{span}-{:02x}", flags & TraceFlags::SAMPLED),
        tracestate: (!state.is_empty()).then_some(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(traceparent: &str) -> TraceContext {
        TraceContext { traceparent: traceparent.into(), tracestate: Some("a=1,b=2".into()) }
    }

    #[test]
    fn a_context_is_read_and_written_back() {
        let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = parse(&context(sampled)).unwrap();
        assert!(parsed.is_sampled() && parsed.is_remote());
        assert_eq!(written(&parsed), context(sampled));
        let later = parse(&context(&format!("{}-more", sampled.replacen("00", "01", 1)))).unwrap();
        assert_eq!(written(&later).traceparent, sampled);
        let unsampled = parse(&context(&sampled.replace("-01", "-00"))).unwrap();
        assert!(!unsampled.is_sampled());
    }
}
