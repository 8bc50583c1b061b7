//! The effective configuration as a list: key, value, where it came from.

use serde::Serialize;
use serde_json::Value;

use super::raw::{Raw, RawQueue, RawRetry};
use super::validation::Valid;
use super::{Origin, Origins};

/// One setting in effect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// The key, dots between its parts.
    pub key: String,
    /// The value, as it would be written.
    pub value: Value,
    /// Where it came from.
    #[serde(rename = "from", serialize_with = "as_text")]
    pub origin: Origin,
}

fn as_text<S: serde::Serializer>(origin: &Origin, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(origin)
}

/// Every setting, in the order of the documentation.
pub(super) fn list(raw: &Raw, valid: &Valid, origins: &Origins) -> Vec<Setting> {
    let mut effective = raw.clone();
    effective.broker = valid.broker.to_string();
    effective.host.queues = valid.host.queues.iter().map(|queue| queue.name.to_string()).collect();
    effective.plugins.dir = valid.host.plugin_dir.display().to_string();
    let tenants_dir = valid.host.tenants_dir.as_ref();
    effective.plugins.tenants_dir = tenants_dir.map(|dir| dir.display().to_string());
    let cache = valid.host.cache.as_ref().map(|cache| cache.folder.display().to_string());
    effective.plugins.cache_dir = Some(cache.unwrap_or_default());
    // Served queues without a section of their own have the defaults.
    effective.queues = valid
        .queues
        .values()
        .chain(&valid.host.queues)
        .map(|queue| {
            let said = raw.queues.get(queue.name.as_str()).cloned().unwrap_or_default();
            let retry = RawRetry::from(&queue.retry);
            (queue.name.to_string(), RawQueue { retry, ..said })
        })
        .collect();
    for alert in &valid.host.alerts {
        let Some(raw) = effective.alerts.get_mut(&alert.name) else { continue };
        // What follows the host may be a secret.
        raw.webhook = alert.webhook.as_ref().map(|address| format!("{address}/…"));
    }
    let mut settings = Vec::new();
    if let Ok(Value::Object(tree)) = serde_json::to_value(&effective) {
        for section in SECTIONS {
            if let Some(value) = tree.get(section) {
                flatten(&mut vec![section], value, origins, &mut settings);
            }
        }
    }
    settings
}

/// The sections in the order of the documentation.
const SECTIONS: [&str; 17] = [
    "broker",
    "namespace",
    "host",
    "plugins",
    "grants",
    "config",
    "secrets",
    "secrets_key",
    "tenants",
    "limits",
    "queues",
    "layers",
    "schedules",
    "submit",
    "log",
    "telemetry",
    "alerts",
];

fn flatten<'a>(
    path: &mut Vec<&'a str>,
    value: &'a Value,
    origins: &Origins,
    settings: &mut Vec<Setting>,
) {
    let set = |value: &Value| Setting {
        key: path.join("."),
        value: value.clone(),
        origin: origins.of(path),
    };
    match value {
        // A payload is one value, whatever is in it.
        Value::Object(_) if matches!(path[..], ["schedules", _, "json"]) => {
            settings.push(set(value));
        }
        Value::Object(tree) => {
            for (key, value) in tree {
                path.push(key);
                flatten(path, value, origins, settings);
                path.pop();
            }
        }
        // A key that does not belong to this kind of backoff, or that bounds nothing.
        Value::Null if path.contains(&"backoff") || path.len() > 3 && path[0] == "queues" => {}
        Value::Null if matches!(path[0], "host" | "layers" | "schedules" | "tenants") => {}
        value => settings.push(set(value)),
    }
}
