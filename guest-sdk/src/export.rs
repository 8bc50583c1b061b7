//! The contract's export, for every plugin: bindings' types in, SDK's types out,
//! by moving, never by copying. The only place where both kinds of types meet.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::bindings::bulkhead::handler::types as wit;
use crate::bindings::exports::bulkhead::handler::batch_handler::Guest as BatchGuest;
use crate::bindings::exports::bulkhead::handler::handler::Guest;
use crate::handler::Plugin;
use crate::{Backoff, Description, Failure, Payload, Task, TraceContext, logging, panics};

impl<P: Plugin> Guest for P {
    fn describe() -> wit::PluginDescription {
        prepare::<P>();
        wit::PluginDescription {
            name: P::NAME.to_owned(),
            version: P::VERSION.to_owned(),
            handlers: P::describe().into_iter().map(Into::into).collect(),
        }
    }

    fn handle(task: wit::Task) -> Result<wit::Payload, wit::Failure> {
        prepare::<P>();
        let (task, payload) = split(task);
        given(P::handle(&task, payload))
    }
}

impl<P: Plugin> BatchGuest for P {
    fn handle_batch(tasks: Vec<wit::Task>) -> Vec<Result<wit::Payload, wit::Failure>> {
        prepare::<P>();
        let items = tasks.into_iter().zip(0..).map(|(task, place)| {
            let (task, payload) = split(task);
            (Task { place: Some(place), ..task }, payload)
        });
        P::handle_batch(items.collect()).into_iter().map(given).collect()
    }
}

fn given(returned: Result<Payload, Failure>) -> Result<wit::Payload, wit::Failure> {
    match returned {
        Ok(Payload { content_type, data }) => Ok(wit::Payload { content_type, data }),
        Err(failure) => Err(failure.into()),
    }
}

/// Wire log and panics to the host, once in the life of the instance.
fn prepare<P: Plugin>() {
    static PREPARED: AtomicBool = AtomicBool::new(false);
    if !PREPARED.swap(true, Ordering::Relaxed) {
        panics::install();
        logging::install(Some(P::NAME));
    }
}

fn split(task: wit::Task) -> (Task, Payload) {
    let wit::Payload { content_type, data } = task.payload;
    let trace = task
        .trace
        .map(|trace| TraceContext { traceparent: trace.traceparent, tracestate: trace.tracestate });
    let head = Task {
        id: task.id,
        task_type: task.task_type,
        tenant: task.tenant,
        queue: task.queue,
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        deadline_ms: task.deadline_ms,
        metadata: task.metadata,
        trace,
        place: None,
    };
    (head, Payload { content_type, data })
}

impl From<Failure> for wit::Failure {
    fn from(failure: Failure) -> Self {
        let retryable = failure.is_retryable();
        let delay_ms = failure.delay().map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let (message, details) = failure.into_texts();
        if retryable {
            Self::Retryable(wit::Retryable { message, details, delay_ms })
        } else {
            Self::Permanent(wit::Permanent { message, details })
        }
    }
}

impl From<Description> for wit::HandlerDescription {
    fn from(handler: Description) -> Self {
        let retry = handler.retry.map(|retry| wit::RetrySuggestion {
            max_attempts: retry.max_attempts,
            backoff: retry.backoff.map(Into::into),
            max_age_ms: retry.max_age_ms,
        });
        Self {
            task_type: handler.task_type.to_owned(),
            description: handler.description.to_owned(),
            input_schema: handler.input_schema,
            limits: wit::LimitsSuggestion {
                fuel: handler.fuel,
                memory_bytes: handler.memory_bytes,
                wall_ms: handler.timeout_ms,
            },
            retry,
            max_batch: handler.max_batch,
        }
    }
}

impl From<Backoff> for wit::Backoff {
    fn from(backoff: Backoff) -> Self {
        match backoff {
            Backoff::Fixed { delay_ms } => Self::Fixed(delay_ms),
            Backoff::Linear { initial_ms, max_ms } => {
                Self::Linear(wit::LinearBackoff { initial_ms, step_ms: initial_ms, max_ms })
            }
            Backoff::Exponential { initial_ms, max_ms } => {
                Self::Exponential(wit::ExponentialBackoff { initial_ms, multiplier: 2.0, max_ms })
            }
            Backoff::Delays { delays_ms } => Self::Delays(delays_ms),
        }
    }
}
