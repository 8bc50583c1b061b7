//! The span of one attempt, the spans of the calls that its guest made, and the lines that it
//! logged.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bulkhead_core::{LogLine, Metering, Outcome, Task, TraceContext};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use super::{Traces, context};
use crate::clock::unix_ms;
use crate::metrics::{Counter, ready_at};
use crate::serve::{Noted, Notes};

/// Log lines of one attempt that become events.
const MAX_EVENTS: usize = 128;
/// Bytes of one text of a guest.
const MAX_TEXT_BYTES: usize = 1_024;

/// An attempt that is traced.
pub(crate) struct AttemptTrace {
    span: Span,
    tracer: SdkTracer,
    made: Arc<Counter>,
    began: (Instant, SystemTime),
    pub(crate) notes: Arc<Notes>,
}

/// What an attempt came to.
pub(crate) struct Came<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) metering: &'a Metering,
    pub(crate) logs: &'a [LogLine],
    pub(crate) plugin: String,
    pub(crate) digest: String,
    pub(crate) is_cached: bool,
}

impl Traces {
    /// Begin the span of an attempt, if its trace is kept. The task then carries the span's
    /// context, so that its guest, and what it submits, go on from there.
    pub(crate) fn begin(&self, host: &str, task: &mut Task, attempt: u32) -> Option<AttemptTrace> {
        let parent = task.trace.as_ref().and_then(context::parse);
        match &parent {
            Some(parent) if !parent.is_sampled() => return None,
            None if self.0.is_root_never_kept => return None,
            _ => {}
        }
        let began = (Instant::now(), SystemTime::now());
        let mut above = Context::new();
        if let Some(parent) = parent {
            above = above.with_remote_span_context(parent);
        }
        let mut attributes = vec![
            KeyValue::new("messaging.system", "bulkhead"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", task.queue.to_string()),
            KeyValue::new("messaging.message.id", task.id.to_string()),
            KeyValue::new("bulkhead.task.type", task.task_type.to_string()),
            KeyValue::new("bulkhead.tenant", task.tenant.to_string()),
            KeyValue::new("bulkhead.host", host.to_owned()),
            KeyValue::new("bulkhead.attempt", i64::from(attempt)),
        ];
        if let Some(ready) = ready_at(task).filter(|_| attempt == 1) {
            attributes.push(number("bulkhead.queue_wait_ms", unix_ms().saturating_sub(ready)));
        }
        let span = self
            .0
            .tracer
            .span_builder(format!("process {}", task.task_type))
            .with_kind(SpanKind::Consumer)
            .with_start_time(began.1)
            .with_attributes(attributes)
            .start_with_context(&self.0.tracer, &above);
        if !span.is_recording() {
            return None;
        }
        task.trace = Some(context::written(span.span_context()));
        let (tracer, made) = (self.0.tracer.clone(), self.0.made.clone());
        Some(AttemptTrace { span, tracer, made, began, notes: Arc::default() })
    }
}

impl AttemptTrace {
    /// The attempt ended.
    pub(crate) fn end(mut self, came: &Came<'_>) {
        let outcome = match came.outcome {
            Outcome::Done(_) => "done",
            Outcome::Failed(failure) => {
                let why = format!("{}: {}", failure.kind, shown(&failure.message));
                self.span.set_status(Status::error(why));
                failure.kind.as_str()
            }
        };
        let metering = came.metering;
        self.span.set_attributes([
            KeyValue::new("bulkhead.outcome", outcome),
            KeyValue::new("bulkhead.plugin", came.plugin.clone()),
            KeyValue::new("bulkhead.plugin.digest", came.digest.clone()),
            KeyValue::new("bulkhead.cached", came.is_cached),
            number("bulkhead.fuel", metering.fuel),
            number("bulkhead.cpu_us", metering.cpu_us),
            number("bulkhead.peak_memory_bytes", metering.peak_memory_bytes),
            number("bulkhead.host_calls", metering.host_calls),
        ]);
        for line in came.logs.iter().take(MAX_EVENTS) {
            let mut attributes = vec![
                KeyValue::new("log.severity", line.level.to_string()),
                KeyValue::new("log.message", shown(&line.message)),
            ];
            let fields = line.fields.iter().take(16);
            attributes.extend(fields.map(|(key, value)| {
                KeyValue::new(format!("log.field.{}", shown(key)), shown(value))
            }));
            let at = self.began.1 + Duration::from_millis(line.at_ms);
            self.span.add_event_with_timestamp("guest log", at, attributes);
        }
        let above = Context::new().with_remote_span_context(self.span.span_context().clone());
        let calls = self.notes.take();
        self.made.add(1 + calls.len() as u64);
        for call in calls {
            self.call(&above, call);
        }
        self.span.end();
    }

    /// The attempt went back, or counts for nobody: what it came to is not known here.
    pub(crate) fn give_up(mut self, why: &'static str) {
        self.span.set_attribute(KeyValue::new("bulkhead.outcome", why));
        self.made.add(1);
        self.span.end();
    }

    fn call(&self, above: &Context, call: Noted) {
        let Noted { capability, operation, target, began, took, succeeded } = call;
        let start = self.began.1 + began.saturating_duration_since(self.began.0);
        let operation = shown(&operation);
        let mut attributes = vec![KeyValue::new("bulkhead.capability", capability)];
        if let Some(target) = target {
            attributes.push(KeyValue::new("server.address", shown(&target)));
            attributes.push(KeyValue::new("http.request.method", operation.clone()));
        }
        let kind = if capability == "http" { SpanKind::Client } else { SpanKind::Internal };
        let mut span = self
            .tracer
            .span_builder(format!("{capability} {operation}"))
            .with_kind(kind)
            .with_start_time(start)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, above);
        if !succeeded {
            span.set_status(Status::error("the call failed"));
        }
        span.end_with_timestamp(start + took);
    }
}

/// The context of a producer's span, for the tasks that it submits.
pub struct Submission {
    span: Span,
    made: Arc<Counter>,
}

impl Submission {
    /// What the tasks are to carry.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        context::written(self.span.span_context())
    }

    /// So many tasks were submitted, or this is why not.
    pub fn end(mut self, tasks: Result<usize, &str>) {
        let failed = match tasks {
            Ok(tasks) => {
                self.span.set_attribute(number("messaging.batch.message_count", tasks as u64));
                None
            }
            Err(why) => Some(why),
        };
        if let Some(why) = failed {
            self.span.set_status(Status::error(shown(why)));
        }
        self.made.add(u64::from(self.span.is_recording()));
        self.span.end();
    }
}

impl Traces {
    /// Begin the span of a producer, below `parent` if there is one.
    #[must_use]
    pub fn submit(
        &self,
        parent: Option<&TraceContext>,
        queue: &str,
        task_type: &str,
    ) -> Submission {
        let mut above = Context::new();
        if let Some(parent) = parent.and_then(context::parse) {
            above = above.with_remote_span_context(parent);
        }
        let span = self
            .0
            .tracer
            .span_builder(format!("submit {task_type}"))
            .with_kind(SpanKind::Producer)
            .with_attributes([
                KeyValue::new("messaging.system", "bulkhead"),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.destination.name", queue.to_owned()),
                KeyValue::new("bulkhead.task.type", task_type.to_owned()),
            ])
            .start_with_context(&self.0.tracer, &above);
        Submission { span, made: self.0.made.clone() }
    }
}

fn number(key: &'static str, value: u64) -> KeyValue {
    KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX))
}

/// Text of a guest, escaped and cut.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_TEXT_BYTES).collect::<String>();
    shown = shown.escape_debug().to_string();
    shown.truncate(shown.floor_char_boundary(MAX_TEXT_BYTES));
    shown
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{LogLevel, Payload};
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use parking_lot::Mutex;

    use super::*;
    use crate::metrics::Metrics;

    /// Keeps what it is given.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().extend(batch);
            Ok(())
        }
    }

    fn task() -> Task {
        Task {
            id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
            task_type: bulkhead_core::TaskType::new("t").unwrap(),
            queue: Default::default(),
            tenant: Default::default(),
            priority: Default::default(),
            payload: Payload::new("text/plain", "abc"),
            metadata: Vec::new(),
            trace: None,
            limits: Default::default(),
            submitted_at: 1,
            terms: Default::default(),
        }
    }

    #[test]
    fn what_a_guest_says_is_bounded_and_escaped() {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let traces = Traces::of(provider, &Metrics::default());
        let mut task = task();
        let trace = traces.begin("h", &mut task, 1).unwrap();
        assert!(task.trace.is_some());
        let line = |at_ms| LogLine {
            at_ms,
            level: LogLevel::Info,
            message: format!("\u{1b}{}", "é".repeat(4_000)),
            fields: vec![("k\n".into(), "v".into()); 40],
        };
        let logs: Vec<LogLine> = (0..1_000).map(line).collect();
        trace.end(&Came {
            outcome: &Outcome::Done(Payload::new("text/plain", "secret output")),
            metering: &Metering::default(),
            logs: &logs,
            plugin: "p".into(),
            digest: "d".into(),
            is_cached: false,
        });
        let spans = kept.0.lock();
        let events: Vec<_> = spans[0].events.iter().collect();
        assert_eq!(events.len(), MAX_EVENTS);
        for event in events {
            assert_eq!(event.attributes.len(), 2 + 16);
            for attribute in &event.attributes {
                let text = attribute.value.to_string();
                assert!(text.len() <= MAX_TEXT_BYTES && !text.contains('\u{1b}'), "{text}");
            }
        }
        assert!(!format!("{spans:?}").contains("secret output"), "a result");
    }
}
