//! What is logged, exported and warned of.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_core::{AlertRule, AlertSignal, Bound, QueueName, TenantName, check_name};
use serde_json::Value;

use super::{Check, DAY, HOUR, SECOND};
use crate::alerts::AlertOptions;
use crate::config::quantity::Span;
use crate::config::raw::{Raw, RawAlert, RawLog, RawOtlp};
use crate::config::{LogFormat, LogOptions};
use crate::metrics::TenantClasses;
use crate::plugins::EVERY;
use crate::traces::OtlpOptions;
use crate::web::WebAddress;

/// Alerts of one configuration.
const MAX_ALERTS: usize = 100;
/// Headers that go with exported spans.
const MAX_HEADERS: usize = 32;
/// Over how long rates and percentiles are taken, if nothing is said.
const WINDOW: Duration = Duration::from_secs(300);

impl Check<'_> {
    pub(super) fn log(&mut self, raw: &RawLog) -> Option<LogOptions> {
        let format = self.parsed::<LogFormat>(&["log", "format"], &raw.format);
        if let Err(message) = crate::config::log::check_directives(&raw.level) {
            self.problem(&["log", "level"], message);
        }
        format.map(|format| LogOptions { level: raw.level.clone(), format })
    }

    /// The classes that tenants are counted in.
    pub(super) fn tenant_classes(&mut self, raw: &Raw) -> TenantClasses {
        let mut classes = TenantClasses::default();
        for (tenant, section) in &raw.tenants {
            let Some(class) = &section.class else { continue };
            let path = ["tenants", tenant.as_str(), "class"];
            if let Err(error) = check_name("class", class) {
                self.problem(&path, error);
            }
            match TenantName::new(tenant) {
                Ok(name) => drop(classes.named.insert(name, class.clone())),
                // What is no name was found before.
                Err(_) if tenant == EVERY => classes.others.clone_from(class),
                Err(_) => {}
            }
        }
        let names: std::collections::BTreeSet<&String> = classes.named.values().collect();
        if names.len() > TenantClasses::MAX {
            let message = format!(
                "{} classes of tenants; at most {} are possible, since each is a label of metrics",
                names.len(),
                TenantClasses::MAX
            );
            self.problem(&["tenants"], message);
        }
        classes
    }

    /// Where traces go, if they go anywhere.
    pub(super) fn otlp(&mut self, raw: &RawOtlp, env: &[(String, String)]) -> Option<OtlpOptions> {
        let key = |key: &'static str| ["telemetry", "otlp", key];
        if raw.protocol != "http/protobuf" {
            let said = raw.protocol.escape_debug();
            self.problem(&key("protocol"), format!("`{said}` is not spoken; use http/protobuf"));
        }
        self.within(&key("sample_ratio"), raw.sample_ratio, 0.0..=1.0);
        if raw.service_name.is_empty() || raw.service_name.len() > 256 {
            self.problem(&key("service_name"), "it takes 1 to 256 bytes");
        }
        if raw.headers.len() > MAX_HEADERS {
            let message =
                format!("{} headers; at most {MAX_HEADERS} are possible", raw.headers.len());
            self.problem(&key("headers"), message);
        }
        let mut headers = Vec::new();
        for (name, place) in &raw.headers {
            let path = ["telemetry", "otlp", "headers", name];
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                self.problem(&path, "it is no name of a header");
            }
            let given = self.given(&path, place.env.as_deref(), place.file.as_deref(), env);
            headers.extend(given.map(|given| (name.clone(), given)));
        }
        if raw.endpoint.is_empty() {
            return None;
        }
        let endpoint = self.parsed::<WebAddress>(&key("endpoint"), &raw.endpoint)?;
        Some(OtlpOptions {
            endpoint,
            headers,
            sample_ratio: raw.sample_ratio,
            service_name: raw.service_name.clone(),
        })
    }

    pub(super) fn alerts(&mut self, raw: &BTreeMap<String, RawAlert>) -> Vec<AlertOptions> {
        if raw.len() > MAX_ALERTS {
            let message = format!("{} alerts; at most {MAX_ALERTS} are possible", raw.len());
            self.problem(&["alerts"], message);
        }
        raw.iter().filter_map(|(name, raw)| self.alert(name, raw)).collect()
    }

    fn alert(&mut self, name: &str, raw: &RawAlert) -> Option<AlertOptions> {
        let key = |key: &'static str| ["alerts", name, key];
        self.name(&["alerts", name], "alert's name", name);
        let queue = raw.queue.as_ref().map(|queue| self.parsed::<QueueName>(&key("queue"), queue));
        let webhook = raw.webhook.as_ref();
        let webhook = webhook.map(|url| self.parsed::<WebAddress>(&key("webhook"), url));
        let lasting = raw.lasting.unwrap_or(Span(Duration::ZERO));
        let lasting = self.span(&key("for"), lasting, Duration::ZERO..=DAY);
        let window = self.span(&key("window"), raw.window.unwrap_or(Span(WINDOW)), SECOND..=HOUR);
        let Some(signal) = &raw.signal else {
            let all = AlertSignal::ALL.map(AlertSignal::as_str).join(", ");
            self.problem(&["alerts", name], format!("it has no `signal`; name one of {all}"));
            return None;
        };
        let signal = self.parsed::<AlertSignal>(&key("signal"), signal)?;
        let bound = match (&raw.above, &raw.below) {
            (Some(above), None) => Bound::Above(self.threshold(&key("above"), signal, above)?),
            (None, Some(below)) => Bound::Below(self.threshold(&key("below"), signal, below)?),
            _ => {
                self.problem(&["alerts", name], "say either `above` or `below`");
                return None;
            }
        };
        let clear = match &raw.clear {
            Some(clear) => self.threshold(&key("clear"), signal, clear)?,
            None => bound.value(),
        };
        let is_beyond = match bound {
            Bound::Above(above) => clear > above,
            Bound::Below(below) => clear < below,
        };
        if is_beyond {
            self.problem(&key("clear"), "it is on the side on which the alert fires");
        }
        Some(AlertOptions {
            name: name.to_owned(),
            queue: queue.flatten(),
            rule: AlertRule { signal, bound, clear, for_ms: Span(lasting).as_ms() },
            window,
            webhook: webhook.flatten(),
        })
    }

    /// A threshold in what the signal is measured in: tasks, seconds or a share.
    fn threshold(&mut self, path: &[&str], signal: AlertSignal, said: &Value) -> Option<f64> {
        if signal.is_time() {
            let Value::String(text) = said else {
                self.problem(
                    path,
                    format!("`{signal}` is a time; write a duration such as \"30s\""),
                );
                return None;
            };
            return self.parsed::<Span>(path, text).map(|span| span.0.as_secs_f64());
        }
        let number = said.as_f64().filter(|number| *number >= 0.0);
        let Some(number) = number else {
            self.problem(path, format!("`{signal}` takes a number, zero or more"));
            return None;
        };
        if signal.is_share() && number > 1.0 {
            self.problem(path, format!("`{signal}` is a share, from 0 to 1"));
        }
        Some(number)
    }
}
