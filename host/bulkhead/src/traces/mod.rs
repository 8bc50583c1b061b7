//! One trace from the producer through the queue and the attempt to what the attempt did: spans
//! for OpenTelemetry, exported by OTLP.
//!
//! The context travels with the task, where its producer put it (`traceparent`). A producer's
//! word on sampling holds; where there is none, a share of the attempts begins a trace. A task
//! whose trace is not kept costs one comparison.

mod attempt;
mod context;
mod otlp;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::TraceContext;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use self::attempt::Submission;
pub(crate) use self::attempt::{AttemptTrace, Came};
use crate::metrics::{Counter, Metrics};
use crate::secrets::Given;
use crate::web::WebAddress;

/// How long a process that stops waits for its last spans to be exported.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Where spans go.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpOptions {
    /// The collector; `/v1/traces` is added if its path does not end so.
    pub endpoint: WebAddress,
    /// Headers of each request, and where their values are.
    pub headers: Vec<(String, Given)>,
    /// The share of the traces that begin here which is kept.
    pub sample_ratio: f64,
    /// What the service is called.
    pub service_name: String,
}

/// Makes spans. Clones are the same.
#[derive(Clone)]
pub struct Traces(Arc<Inner>);

struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    is_root_never_kept: bool,
    made: Arc<Counter>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").finish()
    }
}

/// Whether a trace context means something.
#[must_use]
pub fn is_context(context: &TraceContext) -> bool {
    context::parse(context).is_some()
}

impl Traces {
    /// Spans that go to a collector. Called on the runtime on which they are to be sent; the
    /// error says what is wrong with the options.
    pub fn exporting(options: &OtlpOptions, metrics: &Metrics) -> Result<Self, String> {
        let spans = &metrics.families().spans;
        let counts =
            otlp::Counts { exported: spans.of(&["exported"]), failed: spans.of(&["failed"]) };
        let provider = otlp::provider(options, counts)?;
        Ok(Self::over(provider, options.sample_ratio == 0.0, metrics))
    }

    /// Spans by a provider of the program that the host is embedded in, which samples, exports
    /// and is shut down as that program wants.
    #[must_use]
    pub fn of(provider: SdkTracerProvider, metrics: &Metrics) -> Self {
        Self::over(provider, false, metrics)
    }

    fn over(provider: SdkTracerProvider, is_root_never_kept: bool, metrics: &Metrics) -> Self {
        let tracer = provider.tracer("bulkhead");
        let made = metrics.families().spans.of(&["made"]);
        Self(Arc::new(Inner { provider, tracer, is_root_never_kept, made }))
    }

    /// Export what there is, within a few seconds.
    pub async fn flush(&self) {
        let provider = self.0.provider.clone();
        let flushing = tokio::task::spawn_blocking(move || provider.force_flush());
        match tokio::time::timeout(FLUSH_WITHIN, flushing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::debug!(%error, "the last spans were not exported"),
            Ok(Err(error)) => tracing::debug!(%error, "the last spans were not exported"),
            Err(_) => tracing::warn!("the collector did not take the last spans in time"),
        }
    }
}
