//! `[queues.NAME]` as it is written.

use std::collections::BTreeMap;

use bulkhead_core::{Backoff, QueueName, RetryPolicy};
use serde::{Deserialize, Serialize};

use crate::config::quantity::{Size, Span};
use crate::options::QueueOptions;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawQueue {
    pub(in crate::config) retention: Span,
    pub(in crate::config) dead_retention: Span,
    pub(in crate::config) concurrency: Option<u32>,
    pub(in crate::config) rate: Option<String>,
    pub(in crate::config) events: Option<u32>,
    pub(in crate::config) layers: Vec<String>,
    pub(in crate::config) retry: RawRetry,
    pub(in crate::config) types: BTreeMap<String, RawBounds>,
    pub(in crate::config) keys: BTreeMap<String, RawBounds>,
    pub(in crate::config) tenants: BTreeMap<String, RawTenant>,
}

/// Bounds of a task type or a key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawBounds {
    pub(in crate::config) concurrency: Option<u32>,
    pub(in crate::config) rate: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawTenant {
    pub(in crate::config) weight: Option<u32>,
    pub(in crate::config) in_flight: Option<u32>,
    pub(in crate::config) rate: Option<String>,
    pub(in crate::config) pending: Option<u64>,
    pub(in crate::config) payload: Option<Size>,
    pub(in crate::config) fuel_per_minute: Option<u64>,
    pub(in crate::config) gib_seconds_per_minute: Option<u64>,
    pub(in crate::config) when_spent: Option<String>,
}

/// What is absent follows the next wider policy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawRetry {
    pub(in crate::config) max_attempts: Option<u32>,
    pub(in crate::config) max_age: Option<Span>,
    pub(in crate::config) backoff: RawBackoff,
    pub(in crate::config) jitter: Option<f64>,
    pub(in crate::config) retry_on: Option<Vec<String>>,
}

/// Which keys belong together depends on `kind`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawBackoff {
    pub(in crate::config) kind: Option<String>,
    pub(in crate::config) delay: Option<Span>,
    pub(in crate::config) delays: Option<Vec<Span>>,
    pub(in crate::config) initial: Option<Span>,
    pub(in crate::config) step: Option<Span>,
    pub(in crate::config) multiplier: Option<f64>,
    pub(in crate::config) max: Option<Span>,
}

impl RawQueue {
    /// Whether it says anything of the queue's policy.
    pub(in crate::config) fn has_policy(&self) -> bool {
        self.concurrency.is_some()
            || self.rate.is_some()
            || self.events.is_some()
            || !self.types.is_empty()
            || !self.keys.is_empty()
            || !self.tenants.is_empty()
    }

    /// The defaults, with one entry named `*` in each map, so that every key is there.
    pub(super) fn with_every_key() -> Self {
        let any = || "*".to_owned();
        Self {
            rate: Some(String::new()),
            types: BTreeMap::from([(any(), RawBounds::with_every_key())]),
            keys: BTreeMap::from([(any(), RawBounds::with_every_key())]),
            tenants: BTreeMap::from([(
                any(),
                RawTenant { rate: Some(String::new()), ..RawTenant::default() },
            )]),
            ..Self::default()
        }
    }
}

impl RawBounds {
    fn with_every_key() -> Self {
        Self { rate: Some(String::new()), ..Self::default() }
    }
}

impl Default for RawQueue {
    fn default() -> Self {
        let options = QueueOptions::new(QueueName::default());
        Self {
            retention: Span::from_ms(options.retention_ms),
            dead_retention: Span::from_ms(options.dead_retention_ms),
            concurrency: None,
            rate: None,
            events: None,
            layers: Vec::new(),
            retry: RawRetry::from(&options.retry),
            types: BTreeMap::new(),
            keys: BTreeMap::new(),
            tenants: BTreeMap::new(),
        }
    }
}

/// A policy that is in effect, every key of it said.
impl From<&RetryPolicy> for RawRetry {
    fn from(policy: &RetryPolicy) -> Self {
        Self {
            max_attempts: Some(policy.max_attempts),
            max_age: policy.max_age_ms.map(Span::from_ms),
            backoff: RawBackoff::from(policy.backoff.clone()),
            jitter: Some(policy.jitter),
            retry_on: Some(policy.retry_on.iter().map(ToString::to_string).collect()),
        }
    }
}

impl From<Backoff> for RawBackoff {
    fn from(backoff: Backoff) -> Self {
        let kind = |name: &str| Some(name.to_owned());
        let span = |ms| Some(Span::from_ms(ms));
        match backoff {
            Backoff::Delays { delays_ms } => Self {
                kind: kind("delays"),
                delays: Some(delays_ms.into_iter().map(Span::from_ms).collect()),
                ..Self::default()
            },
            Backoff::Fixed { delay_ms } => {
                Self { kind: kind("fixed"), delay: span(delay_ms), ..Self::default() }
            }
            Backoff::Linear { initial_ms, step_ms, max_ms } => Self {
                kind: kind("linear"),
                initial: span(initial_ms),
                step: span(step_ms),
                max: span(max_ms),
                ..Self::default()
            },
            Backoff::Exponential { initial_ms, multiplier, max_ms } => Self {
                kind: kind("exponential"),
                initial: span(initial_ms),
                multiplier: Some(multiplier),
                max: span(max_ms),
                ..Self::default()
            },
        }
    }
}
