//! What only a host's own process knows, for those who ask it by HTTP.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bulkhead_api::{
    About, Alert, Complaint, Local, LocalType, Phase, Recent, SettingDocument, TypeLimits,
};
use bulkhead_core::{AlertState, Bound, LimitsRequest};
use bulkhead_sandbox::ENGINE;
use tokio::sync::watch;

use crate::alerts::{AlertStatus, Alerts};
use crate::clock::unix_ms;
use crate::config::Setting;
use crate::log_control::LogControl;
use crate::metrics::Metrics;
use crate::plugins::Registry;

/// Tells where a host is in its life. Give it to the host that is built, and keep what it tells.
pub struct Phases {
    phase: watch::Sender<Phase>,
    registry: Arc<OnceLock<Weak<Registry>>>,
}

/// What a host tells of itself. Cheap to clone.
#[derive(Clone)]
pub struct HostFacts {
    about: About,
    settings: Arc<[Setting]>,
    phase: watch::Receiver<Phase>,
    /// The plugins of the host that was built, if one was and still runs.
    registry: Arc<OnceLock<Weak<Registry>>>,
    metrics: Metrics,
    alerts: Alerts,
    log: LogControl,
}

impl Phases {
    /// Those of one host.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Starting), registry: Arc::default() }
    }

    /// What the host tells that these are given to, that counts in these figures, warns by these
    /// alerts and logs by this control.
    #[must_use]
    pub fn facts(&self, metrics: Metrics, alerts: Alerts, log: LogControl) -> HostFacts {
        let about = About {
            host: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: ENGINE.to_owned(),
            pid: std::process::id(),
            started_at: unix_ms(),
        };
        let (phase, registry) = (self.phase.subscribe(), self.registry.clone());
        HostFacts { about, settings: Arc::default(), phase, registry, metrics, alerts, log }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// The host has these plugins.
    pub(super) fn have(&self, registry: &Arc<Registry>) {
        let _ = self.registry.set(Arc::downgrade(registry));
    }
}

impl Default for Phases {
    fn default() -> Self {
        Self::new()
    }
}

impl HostFacts {
    /// The same, of the host of this name, with these settings in effect.
    #[must_use]
    pub fn of(mut self, host: &str, settings: &[Setting]) -> Self {
        self.about.host = host.to_owned();
        Self { settings: settings.into(), ..self }
    }
}

impl Local for HostFacts {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn recent(&self, over: Duration) -> Recent {
        self.metrics.recent(over)
    }

    fn types(&self) -> Vec<LocalType> {
        let registry = self.registry.get().and_then(Weak::upgrade);
        registry.map(|registry| registry.types()).unwrap_or_default()
    }

    fn settings(&self) -> Vec<SettingDocument> {
        self.settings.iter().map(shown).collect()
    }

    fn complaints(&self) -> Vec<Complaint> {
        self.log.tail().lines()
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn alerts(&self) -> Vec<Alert> {
        self.alerts.status().into_iter().map(alert).collect()
    }

    fn log_level(&self) -> String {
        self.log.get()
    }

    fn set_log_level(&self, directives: &str) -> Result<bool, String> {
        self.log.set(directives)
    }
}

/// Parts of keys whose values may be secret: what plugins are given as configuration, where secrets
/// are, what goes out in headers, what schedules send.
const HIDDEN: [&str; 5] = ["config", "secrets", "secrets_key", "headers", "payload"];

fn shown(setting: &Setting) -> SettingDocument {
    let is_hidden = setting.key.split('.').any(|part| HIDDEN.contains(&part));
    let value = match &setting.value {
        value if value.is_null() || !is_hidden => value.clone(),
        _ => "…".into(),
    };
    SettingDocument { key: setting.key.clone(), value, from: setting.origin.to_string() }
}

impl Registry {
    /// The task types that are served, and under which limits.
    fn types(&self) -> Vec<LocalType> {
        let of = |serving: Arc<crate::plugins::Serving>| {
            let types = serving.plugin.description().handlers.iter().map(|handler| {
                let limits = serving.plugin.limits(&handler.task_type, &LimitsRequest::default());
                LocalType {
                    task_type: handler.task_type.to_string(),
                    plugin: serving.shown.to_string(),
                    description: handler.description.clone(),
                    limits: TypeLimits {
                        fuel: limits.fuel,
                        memory_bytes: limits.memory_bytes,
                        wall_ms: limits.wall_ms,
                        result_bytes: limits.result_bytes,
                        log_bytes: limits.log_bytes,
                    },
                    max_batch: handler.max_batch,
                }
            });
            types.collect::<Vec<_>>()
        };
        self.serving_all().into_iter().flat_map(of).collect()
    }
}

fn alert(status: AlertStatus) -> Alert {
    let (above, below) = match status.bound {
        Bound::Above(bound) => (Some(bound), None),
        Bound::Below(bound) => (None, Some(bound)),
    };
    let (state, since) = match status.state {
        AlertState::Quiet => ("quiet", None),
        AlertState::Pending { since } => ("pending", Some(since)),
        AlertState::Firing { since } => ("firing", Some(since)),
    };
    Alert {
        alert: status.alert,
        queue: status.queue.to_string(),
        signal: status.signal.as_str().to_owned(),
        above,
        below,
        clear: status.clear,
        value: status.value,
        state: state.to_owned(),
        since,
        looked_at: status.looked_at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Origin;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let value = |key: &str, value: Value| {
            shown(&Setting { key: key.to_owned(), value, origin: Origin::Default }).value
        };
        assert_eq!(value("host.name", json!("h")), "h");
        for key in [
            "config.mail.password",
            "tenants.acme.config.mail.to",
            "secrets.mail.key",
            "telemetry.otlp.headers.authorization",
            "schedules.s.payload",
        ] {
            assert_eq!(value(key, json!("hush")), "…", "{key}");
        }
        assert_eq!(value("secrets_key", Value::Null), Value::Null, "nothing is no secret");
    }
}
