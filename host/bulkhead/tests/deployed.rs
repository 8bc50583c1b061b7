//! The dashboard and the alert rules speak of metrics that are exposed, with labels that they
//! have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::collections::BTreeSet;

use bulkhead::metrics::{Declared, TABLE};
use figment::providers::{Format, Yaml};
use serde_json::Value;

/// Labels that whoever scrapes adds.
const ADDED: [&str; 2] = ["instance", "job"];

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../../deploy/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The metric that a sample of this name is of.
fn declared(name: &str) -> Option<&'static Declared> {
    TABLE.iter().find(|declared| match declared.kind {
        "histogram" => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| name.strip_suffix(suffix) == Some(declared.name)),
        _ => name == declared.name,
    })
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// What is wrong with a query, and the metrics that it names.
fn check(query: &str) -> Result<BTreeSet<&str>, String> {
    let mut named = BTreeSet::new();
    let mut labels: BTreeSet<&str> = ADDED.into();
    for (at, _) in query.match_indices("bulkhead_") {
        let name = word(&query[at..]);
        let metric = declared(name).ok_or_else(|| format!("`{name}` is not exposed"))?;
        named.insert(metric.name);
        let mut own: BTreeSet<&str> = metric.labels.iter().copied().chain(ADDED).collect();
        if metric.kind == "histogram" {
            own.insert("le");
        }
        labels.extend(&own);
        let Some(matchers) = query[at + name.len()..].strip_prefix('{') else { continue };
        let matchers = matchers.split_once('}').ok_or("a brace is not closed")?.0;
        for matcher in matchers.split(',') {
            let label = word(matcher.trim());
            if !own.contains(label) {
                return Err(format!("`{name}` has no label `{label}`"));
            }
        }
    }
    for (at, by) in query.match_indices("by (") {
        let listed = query[at + by.len()..].split_once(')').ok_or("`by (` is not closed")?.0;
        for label in listed.split(',').map(str::trim) {
            if !labels.contains(label) {
                return Err(format!("nothing here has the label `{label}`: {query}"));
            }
        }
    }
    Ok(named)
}

/// Every text under a key, however deep.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => found.push(text),
                    _ => texts(value, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&read("grafana/bulkhead.json")).unwrap();
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    texts(&dashboard, "definition", &mut queries);
    let mut shown = BTreeSet::new();
    for query in queries {
        shown.extend(check(query).unwrap_or_else(|wrong| panic!("{wrong}: {query}")));
    }
    let all: BTreeSet<&str> = TABLE.iter().map(|declared| declared.name).collect();
    assert_eq!(shown, all);
    let ids: Vec<u64> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "each panel has its own id");
}

#[test]
fn the_alert_rules_name_what_is_exposed() {
    let rules: Value = Yaml::from_str(&read("prometheus/alerts.yml")).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let mut named = BTreeSet::new();
    for rule in rules {
        let query = rule["expr"].as_str().unwrap();
        named.extend(check(query).unwrap_or_else(|wrong| panic!("{wrong}: {query}")));
        assert!(rule["alert"].is_string() && rule["labels"]["severity"].is_string(), "{rule}");
        assert!(rule["annotations"]["summary"].is_string(), "{rule}");
    }
    assert!(named.len() >= 10, "{named:?}");
}

#[test]
fn what_is_not_exposed_is_found() {
    for (query, wrong) in [
        ("rate(bulkhead_taks_ended_total[5m])", "is not exposed"),
        ("bulkhead_run_seconds", "is not exposed"),
        ("bulkhead_in_flight{tenant=\"a\"}", "no label `tenant`"),
        ("sum by (type) (bulkhead_in_flight)", "has the label `type`"),
    ] {
        let found = check(query).unwrap_err();
        assert!(found.contains(wrong), "{found}");
    }
}
