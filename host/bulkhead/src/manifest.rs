//! The optional manifest beside a plugin, `name.toml`: what the operator says about
//! `name.wasm`.

use std::collections::BTreeSet;

use bulkhead_core::{LimitsRequest, RetryPolicy, TaskType};
use bulkhead_sandbox::Manifest;
use serde::Deserialize;

/// Largest manifest, in bytes.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// A manifest that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the manifest `{file}` cannot be used: {reason}")]
pub struct ManifestError {
    /// The file's name.
    pub file: String,
    /// What is wrong, with its place in the file.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Raw {
    task_types: Option<Vec<TaskType>>,
    limits: LimitsRequest,
    retry: Option<RetryPolicy>,
    grants: BTreeSet<String>,
    instances: Option<u32>,
}

/// Parse a manifest's text; `file` names it in errors.
pub fn parse(file: &str, text: &str) -> Result<Manifest, ManifestError> {
    let failed = |reason: String| ManifestError { file: file.to_owned(), reason };
    let raw: Raw = toml::from_str(text).map_err(|e| failed(e.to_string()))?;
    if raw.instances == Some(0) {
        return Err(failed("`instances` is 0; use at least 1 or leave it out".into()));
    }
    Ok(Manifest {
        task_types: raw.task_types,
        limits: raw.limits,
        retry: raw.retry,
        grants: raw.grants,
        instances: raw.instances,
    })
}

/// Read the manifest beside a plugin file; the default where there is none.
pub fn read(plugin: &std::path::Path) -> Result<Manifest, ManifestError> {
    let path = plugin.with_extension("toml");
    let file = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&file, &text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(e) => Err(ManifestError { file, reason: e.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_manifest_parses() {
        let manifest = parse(
            "x.toml",
            r#"
            task_types = ["resize"]
            grants = ["wasi:http"]
            instances = 4
            [limits]
            fuel = 1_000
            memory_bytes = 1_048_576
            [retry]
            max_attempts = 2
            backoff = { kind = "fixed", delay_ms = 10 }
            "#,
        )
        .unwrap();
        assert_eq!(manifest.limits.fuel, Some(1_000));
        assert_eq!(manifest.instances, Some(4));
        assert_eq!(manifest.retry.unwrap().max_attempts, 2);
    }

    #[test]
    fn unknown_keys_and_bad_values_say_where() {
        for (text, says) in [
            ("fule = 1", "fule"),
            ("[limits]\nmemory = 1", "memory"),
            ("task_types = [\"a b\"]", "a b"),
            ("instances = 0", "instances"),
            ("= 1", "line 1"),
        ] {
            let error = parse("x.toml", text).unwrap_err().to_string();
            assert!(error.contains("x.toml") && error.contains(says), "{error}");
        }
    }
}
