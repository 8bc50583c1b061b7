//! `[host.autoscale]` and `[host.admission]` as they are written.

use bulkhead_core::AutoscalePolicy;
use serde::{Deserialize, Serialize};

use crate::config::quantity::{Size, Span};
use crate::options::{AdmissionOptions, AutoscaleOptions};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawAutoscale {
    pub(in crate::config) enabled: bool,
    pub(in crate::config) min: u32,
    /// Nothing said: `host.concurrency`.
    pub(in crate::config) max: Option<u32>,
    pub(in crate::config) interval: Span,
    pub(in crate::config) up_signals: u32,
    pub(in crate::config) up_cooldown: Span,
    pub(in crate::config) down_signals: u32,
    pub(in crate::config) down_cooldown: Span,
    pub(in crate::config) pick_up_target: Option<Span>,
}

/// Marks in percent; a mark that is not said does not hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawAdmission {
    pub(in crate::config) interval: Span,
    pub(in crate::config) cpu: Option<u32>,
    pub(in crate::config) cpu_resume: Option<u32>,
    pub(in crate::config) memory: Option<u32>,
    pub(in crate::config) memory_resume: Option<u32>,
    pub(in crate::config) disk_free: Option<Size>,
    pub(in crate::config) disk_free_resume: Option<Size>,
}

impl Default for RawAutoscale {
    fn default() -> Self {
        let (options, policy) = (AutoscaleOptions::default(), AutoscalePolicy::default());
        Self {
            enabled: false,
            min: options.min,
            max: None,
            interval: Span(options.interval),
            up_signals: policy.up.signals,
            up_cooldown: Span::from_ms(policy.up.cooldown_ms),
            down_signals: policy.down.signals,
            down_cooldown: Span::from_ms(policy.down.cooldown_ms),
            pick_up_target: None,
        }
    }
}

impl Default for RawAdmission {
    fn default() -> Self {
        Self {
            interval: Span(AdmissionOptions::default().interval),
            cpu: None,
            cpu_resume: None,
            memory: None,
            memory_resume: None,
            disk_free: None,
            disk_free_resume: None,
        }
    }
}
