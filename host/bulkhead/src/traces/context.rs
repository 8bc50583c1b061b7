//! W3C Trace Context, between the headers' text and the SDK's values.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId};

use bulkhead_core::TraceContext;

/// What a `traceparent` and its `tracestate` mean; nothing if it is none.
pub(super) fn parse(context: &TraceContext) -> Option<SpanContext> {
    let mut parts = context.traceparent.split('-');
    let [version, trace, span, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let known = is_hex(version, 2) && version != "ff";
    // A later version may say more.
    let ends = parts.next().is_none() || version != "00";
    if !(known && ends && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2)) {
        return None;
    }
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

    #[test]
    fn what_is_no_context_is_none() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for bad in [
            "",
            "00-1-2-01",
            &good.to_uppercase(),
            &format!("{good}-more"),
            &good.replacen("00", "ff", 1),
            &good.replace("00f067aa0ba902b7", "0000000000000000"),
            &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &good.replace("-01", "-1"),
            &good.replace("-01", "-é"),
        ] {
            assert!(parse(&context(bad)).is_none(), "{bad}");
        }
    }
}
