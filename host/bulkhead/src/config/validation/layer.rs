//! Layers: what is said of each becomes the layer itself, once, so that queues that name the same
//! one share its state.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_core::{BreakerPolicy, FailureKind, Rate};

use super::{Check, DAY, HOUR, MIB, SECOND};
use crate::config::quantity::{Size, Span};
use crate::config::raw::RawLayer;
use crate::layers::{
    CircuitBreaker, LogAt, Logging, Metrics, NamedLayer, PayloadSize, RateLimit, RatePer,
    Redaction, Timeout, UpstreamBreaker,
};

/// Layers around one queue's attempts.
const MOST_LAYERS: usize = 16;

/// The kinds of layers and the keys that each takes.
const KINDS: [(&str, &[&str]); 8] = [
    ("logging", &["level"]),
    ("metrics", &[]),
    ("timeout", &["after"]),
    ("rate_limit", &["rate", "per", "wait"]),
    ("payload_size", &["payload", "result"]),
    ("redaction", &["keys"]),
    ("circuit_breaker", &["failures", "share", "window", "open", "probes", "on"]),
    ("upstream_breaker", &["failures", "share", "window", "open", "probes"]),
];

/// How long a task waits with its slot for a rate, if nothing is said.
const DEFAULT_WAIT: Duration = SECOND;

impl Check<'_> {
    /// The layers that have a section, and those of kinds that need none.
    pub(super) fn layers(
        &mut self,
        raw: &BTreeMap<String, RawLayer>,
        metrics: &Metrics,
    ) -> BTreeMap<String, NamedLayer> {
        let mut layers = BTreeMap::new();
        for (name, _) in KINDS {
            if !raw.contains_key(name)
                && let Some(layer) = plain(name, metrics)
            {
                layers.insert(name.to_owned(), layer);
            }
        }
        for (name, raw) in raw {
            self.name(&["layers", name], "layer", name);
            if let Some(layer) = self.layer(name, raw, metrics) {
                layers.insert(name.clone(), layer);
            }
        }
        layers
    }

    /// The layers that a queue names, the outermost first.
    pub(super) fn layers_of(
        &mut self,
        queue: &str,
        names: &[String],
        layers: &BTreeMap<String, NamedLayer>,
    ) -> Vec<NamedLayer> {
        let at = ["queues", queue, "layers"];
        if names.len() > MOST_LAYERS {
            self.problem(&at, format!("there are {} and may be {MOST_LAYERS}", names.len()));
        }
        let mut found = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let shown = name.escape_debug();
            if names[..place].contains(name) {
                self.problem(&at, format!("`{shown}` is there twice"));
            }
            match layers.get(name) {
                Some(layer) => found.push(layer.clone()),
                // What is wrong with its section has been said.
                None if self.problems.iter().any(|p| is_of(p.key.as_deref(), name)) => {}
                None => {
                    let message = format!(
                        "there is no layer `{shown}`; give it a section `[layers.{shown}]`"
                    );
                    self.problem(&at, message);
                }
            }
        }
        found
    }

    fn layer(&mut self, name: &str, raw: &RawLayer, metrics: &Metrics) -> Option<NamedLayer> {
        let kind = raw.kind.as_deref().unwrap_or(name);
        let Some((_, keys)) = KINDS.iter().find(|(known, _)| *known == kind) else {
            let kinds: Vec<String> = KINDS.iter().map(|(kind, _)| format!("`{kind}`")).collect();
            let message = format!(
                "`{}` is no kind of layer; there are {}",
                kind.escape_debug(),
                kinds.join(", ")
            );
            self.problem(&["layers", name, "kind"], message);
            return None;
        };
        for key in raw.said().into_iter().filter(|key| !keys.contains(key)) {
            let message = format!("a layer of kind `{kind}` has no such key");
            self.problem(&["layers", name, key], message);
        }
        let layer = match kind {
            "logging" => NamedLayer::new(name, Logging { level: self.log_at(name, raw)? }),
            "metrics" => NamedLayer::new(name, metrics.clone()),
            "timeout" => {
                let after = self.required(name, "after", raw.after)?;
                let after = self.span(&["layers", name, "after"], after, SECOND / 1_000..=DAY);
                NamedLayer::new(name, Timeout { after })
            }
            "rate_limit" => NamedLayer::new(name, self.rate_limit(name, raw)?),
            "payload_size" => {
                if raw.payload.is_none() && raw.result.is_none() {
                    let message = "it says neither `payload` nor `result`";
                    self.problem(&["layers", name], message);
                }
                let mut size = |key, size: Option<Size>| {
                    size.map(|size| self.size(&["layers", name, key], size, 0..=192 * MIB))
                };
                let payload_bytes = size("payload", raw.payload);
                let result_bytes = size("result", raw.result);
                NamedLayer::new(name, PayloadSize { payload_bytes, result_bytes })
            }
            "redaction" => match &raw.keys {
                None => NamedLayer::new(name, Redaction::of(Redaction::KEYS)),
                Some(keys) => {
                    if keys.is_empty() || keys.len() > 100 || keys.iter().any(String::is_empty) {
                        let message = "it takes 1 to 100 words that are not empty";
                        self.problem(&["layers", name, "keys"], message);
                    }
                    NamedLayer::new(name, Redaction::of(keys))
                }
            },
            "circuit_breaker" => {
                let (policy, on) = (self.breaker(name, raw), self.outcomes(name, raw));
                NamedLayer::new(name, CircuitBreaker::new(policy, on))
            }
            _ => NamedLayer::new(name, UpstreamBreaker::new(self.breaker(name, raw))),
        };
        Some(layer)
    }

    fn required<T>(&mut self, name: &str, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.problem(&["layers", name], format!("`{key}` is missing"));
        }
        value
    }

    fn log_at(&mut self, name: &str, raw: &RawLayer) -> Option<LogAt> {
        match raw.level.as_deref() {
            None | Some("info") => Some(LogAt::Info),
            Some("debug") => Some(LogAt::Debug),
            Some(other) => {
                let message = format!("`{}` is neither `debug` nor `info`", other.escape_debug());
                self.problem(&["layers", name, "level"], message);
                None
            }
        }
    }

    fn rate_limit(&mut self, name: &str, raw: &RawLayer) -> Option<RateLimit> {
        let rate = self.required(name, "rate", raw.rate.as_ref())?;
        let rate = self.parsed::<Rate>(&["layers", name, "rate"], rate)?;
        let per = match raw.per.as_deref() {
            None | Some("all") => RatePer::All,
            Some("type") => RatePer::Type,
            Some("tenant") => RatePer::Tenant,
            Some(other) => {
                let other = other.escape_debug();
                let message = format!("`{other}` is none of `all`, `type` and `tenant`");
                self.problem(&["layers", name, "per"], message);
                return None;
            }
        };
        let wait = raw.wait.unwrap_or(Span(DEFAULT_WAIT));
        let wait = self.span(&["layers", name, "wait"], wait, Duration::ZERO..=60 * SECOND);
        Some(RateLimit::new(rate, per, wait))
    }

    fn breaker(&mut self, name: &str, raw: &RawLayer) -> BreakerPolicy {
        let at = |key| ["layers", name, key];
        let default = BreakerPolicy::default();
        let failures = raw.failures.unwrap_or(default.failures);
        let share = raw.share.unwrap_or(default.share);
        let probes = raw.probes.unwrap_or(default.probes);
        self.within(&at("failures"), failures, 1..=1_000_000);
        self.within(&at("share"), share, 0.0..=1.0);
        self.within(&at("probes"), probes, 1..=1_000);
        let mut ms = |key, span: Option<Span>, otherwise: u64, most: Duration| {
            let span = span.unwrap_or(Span::from_ms(otherwise));
            Span(self.span(&at(key), span, SECOND / 10..=most)).as_ms()
        };
        let window_ms = ms("window", raw.window, default.window_ms, HOUR);
        // What is held back longer is asked for again meanwhile.
        let open_ms = ms("open", raw.open, default.open_ms, 300 * SECOND);
        BreakerPolicy { failures, share, window_ms, open_ms, probes }
    }

    fn outcomes(&mut self, name: &str, raw: &RawLayer) -> Vec<FailureKind> {
        let Some(on) = &raw.on else { return CircuitBreaker::ON.to_vec() };
        let kinds = on.iter().map(|kind| self.parsed(&["layers", name, "on"], kind));
        kinds.collect::<Vec<_>>().into_iter().flatten().collect()
    }
}

/// The layer of a kind that needs no section.
fn plain(kind: &str, metrics: &Metrics) -> Option<NamedLayer> {
    match kind {
        "logging" => Some(NamedLayer::new(kind, Logging::default())),
        "metrics" => Some(NamedLayer::new(kind, metrics.clone())),
        "redaction" => Some(NamedLayer::new(kind, Redaction::of(Redaction::KEYS))),
        "circuit_breaker" => {
            let on = CircuitBreaker::ON.to_vec();
            Some(NamedLayer::new(kind, CircuitBreaker::new(BreakerPolicy::default(), on)))
        }
        "upstream_breaker" => {
            Some(NamedLayer::new(kind, UpstreamBreaker::new(BreakerPolicy::default())))
        }
        _ => None,
    }
}

fn is_of(key: Option<&str>, name: &str) -> bool {
    let section = key.and_then(|key| key.strip_prefix("layers."));
    section
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
