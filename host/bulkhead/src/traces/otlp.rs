//! Exporting spans: OTLP by HTTP with protobuf, in batches, on a thread of the SDK's.
//!
//! What the collector does not take in time is dropped: spans never hold up a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData,
};
use tokio::runtime::Handle as Runtime;

use super::OtlpOptions;
use crate::metrics::Counter;
use crate::secrets::Given;
use crate::web::WebAddress;

/// The path of traces.
const TRACES: &str = "/v1/traces";
/// How long one try to export may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Spans that wait to be exported; what is beyond is dropped.
const MAX_WAITING: usize = 8_192;
/// Spans of one request.
const MAX_BATCH: usize = 512;
/// How long a span waits for company.
const LINGER: Duration = Duration::from_secs(1);

/// Where exported and failed spans are counted.
pub(super) struct Counts {
    pub(super) exported: Arc<Counter>,
    pub(super) failed: Arc<Counter>,
}

/// A provider of spans that go to a collector. Called on the runtime on which they are sent.
pub(super) fn provider(options: &OtlpOptions, counts: Counts) -> Result<SdkTracerProvider, String> {
    let address = options.endpoint.ending_in(TRACES);
    let headers = options.headers.iter().map(|(name, given)| {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        Ok((name, given.clone()))
    });
    let client = Client {
        address: address.clone(),
        headers: headers.collect::<Result<Vec<_>, String>>()?.into(),
        runtime: Runtime::current(),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address.url())
        .with_timeout(WITHIN)
        .with_http_client(client)
        .build()
        .map_err(|error| format!("spans cannot be exported to {address}: {error}"))?;
    let exporter = Counting { exporter, counts, is_failing: AtomicBool::new(false), address };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_WAITING)
        .with_max_export_batch_size(MAX_BATCH)
        .with_scheduled_delay(LINGER)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", options.service_name.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let root = Sampler::TraceIdRatioBased(options.sample_ratio);
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(root)))
        .with_resource(resource)
        .build())
}

/// Sends what the exporter encoded.
#[derive(Debug)]
struct Client {
    address: WebAddress,
    headers: Arc<[(HeaderName, Given)]>,
    runtime: Runtime,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let (address, own) = (self.address.clone(), self.headers.clone());
        let mut headers = parts.headers;
        // The exporter's thread has no runtime of its own.
        let sent = self.runtime.spawn(async move {
            // A file may be another one by now; reading it may block.
            let read = tokio::task::spawn_blocking(move || read(&own)).await;
            let own = read.map_err(|error| error.to_string()).flatten()?;
            headers.extend(own);
            address.post(headers, body, WITHIN).await
        });
        let (status, body) = sent.await.map_err(|error| error.to_string()).flatten()?;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}

fn read(headers: &[(HeaderName, Given)]) -> Result<HeaderMap, String> {
    let mut read = HeaderMap::new();
    for (name, given) in headers {
        let value = given.secret()?;
        let value = HeaderValue::from_str(value.expose());
        let mut value = value.map_err(|_| format!("the value of `{name}` is none of a header"))?;
        value.set_sensitive(true);
        read.insert(name.clone(), value);
    }
    Ok(read)
}

/// An exporter that says how it goes.
struct Counting {
    exporter: SpanExporter,
    counts: Counts,
    is_failing: AtomicBool,
    address: WebAddress,
}

impl std::fmt::Debug for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counting({})", self.address)
    }
}

impl opentelemetry_sdk::trace::SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exported = self.exporter.export(batch).await;
        let collector = &self.address;
        match &exported {
            Ok(()) => {
                self.counts.exported.add(spans);
                if self.is_failing.swap(false, Ordering::AcqRel) {
                    tracing::info!(%collector, "spans are exported again");
                }
            }
            Err(error) => {
                self.counts.failed.add(spans);
                if !self.is_failing.swap(true, Ordering::AcqRel) {
                    tracing::warn!(%collector, %error, "spans cannot be exported; they are lost");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
