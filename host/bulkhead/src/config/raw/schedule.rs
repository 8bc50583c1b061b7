//! `[schedules.NAME]` as it is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RawRetry;
use crate::config::quantity::{Size, Span};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawSchedule {
    pub(in crate::config) queue: Option<String>,
    #[serde(rename = "type")]
    pub(in crate::config) task_type: Option<String>,
    pub(in crate::config) cron: Option<String>,
    pub(in crate::config) zone: Option<String>,
    pub(in crate::config) every: Option<Span>,
    pub(in crate::config) jitter: Option<Span>,
    pub(in crate::config) start: Option<String>,
    pub(in crate::config) at: Option<String>,
    pub(in crate::config) exclusive: Option<bool>,
    pub(in crate::config) missed: Option<String>,
    pub(in crate::config) payload: Option<String>,
    pub(in crate::config) json: Option<serde_json::Value>,
    pub(in crate::config) file: Option<String>,
    pub(in crate::config) content_type: Option<String>,
    pub(in crate::config) metadata: BTreeMap<String, String>,
    pub(in crate::config) tenant: Option<String>,
    pub(in crate::config) priority: Option<String>,
    pub(in crate::config) key: Option<String>,
    pub(in crate::config) limits: RawAskedLimits,
    pub(in crate::config) retry: RawRetry,
    pub(in crate::config) retention: Option<Span>,
    pub(in crate::config) expires: Option<Span>,
    pub(in crate::config) deadline: Option<Span>,
}

/// Limits below the host's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawAskedLimits {
    pub(in crate::config) fuel: Option<u64>,
    pub(in crate::config) memory: Option<Size>,
    pub(in crate::config) wall: Option<Span>,
    pub(in crate::config) result: Option<Size>,
    pub(in crate::config) log: Option<Size>,
}

impl RawSchedule {
    /// One in which every key is there, those of text as text.
    pub(super) fn with_every_key() -> Self {
        let text = || Some(String::new());
        Self {
            queue: text(),
            task_type: text(),
            cron: text(),
            zone: text(),
            start: text(),
            at: text(),
            missed: text(),
            payload: text(),
            // Stands for any value whatever.
            json: Some(serde_json::Value::Null),
            file: text(),
            content_type: text(),
            metadata: BTreeMap::from([("*".to_owned(), String::new())]),
            tenant: text(),
            priority: text(),
            key: text(),
            ..Self::default()
        }
    }
}
