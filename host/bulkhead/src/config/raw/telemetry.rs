//! `[log]`, `[telemetry]` and `[alerts.NAME]` as they are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RawSecret;
use crate::config::quantity::Span;
use crate::options::HostOptions;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawLog {
    pub(in crate::config) level: String,
    pub(in crate::config) format: String,
    pub(in crate::config) payloads: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawTelemetry {
    pub(in crate::config) sample_every: Span,
    pub(in crate::config) otlp: RawOtlp,
}

/// `[telemetry.otlp]`; without an endpoint nothing is exported.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawOtlp {
    pub(in crate::config) endpoint: String,
    pub(in crate::config) protocol: String,
    pub(in crate::config) headers: BTreeMap<String, RawSecret>,
    pub(in crate::config) sample_ratio: f64,
    pub(in crate::config) service_name: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawAlert {
    pub(in crate::config) signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) queue: Option<String>,
    /// A number, or a duration where the signal is a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) above: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) below: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) clear: Option<serde_json::Value>,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub(in crate::config) lasting: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) window: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) webhook: Option<String>,
}

impl RawAlert {
    /// One in which every key is there; a null stands for any value whatever.
    pub(super) fn with_every_key() -> Self {
        let (text, any) = (|| Some(String::new()), || Some(serde_json::Value::Null));
        Self {
            signal: text(),
            queue: text(),
            above: any(),
            below: any(),
            clear: any(),
            lasting: Some(Span::from_ms(0)),
            window: Some(Span::from_ms(0)),
            webhook: text(),
        }
    }
}

impl RawTelemetry {
    pub(super) fn with_every_key() -> Self {
        let headers = BTreeMap::from([(
            "*".to_owned(),
            RawSecret { stored: None, ..RawSecret::with_every_key() },
        )]);
        Self { otlp: RawOtlp { headers, ..RawOtlp::default() }, ..Self::default() }
    }
}

impl Default for RawLog {
    fn default() -> Self {
        Self { level: "info".into(), format: "pretty".into(), payloads: false }
    }
}

impl Default for RawTelemetry {
    fn default() -> Self {
        let sample_every = Span(HostOptions::default().sample_every);
        Self { sample_every, otlp: RawOtlp::default() }
    }
}

impl Default for RawOtlp {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            protocol: "http/protobuf".into(),
            headers: BTreeMap::new(),
            sample_ratio: 1.0,
            service_name: "bulkhead".into(),
        }
    }
}
