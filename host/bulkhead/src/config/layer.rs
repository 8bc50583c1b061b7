//! The places that settings come from: a file, environment variables, flags.
//!
//! Each becomes a tree of values of its own. Keys that do not exist are found here, by
//! comparison with the tree of all keys, so that the message can name the place and the
//! key that was meant.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml, Yaml};
use figment::value::{Dict, Empty, Tag, Value};

use super::error::Problem;
use super::raw::Raw;

/// The prefix of environment variables that are settings.
pub(super) const ENV_PREFIX: &str = "BULKHEAD_";
/// The variable that names the configuration file.
pub(super) const ENV_FILE: &str = "BULKHEAD_CONFIG";
/// Under which the TOML parser hands over a time.
const TOML_TIME: &str = "$__toml_private_datetime";
/// Keys at most this many edits away are offered as what was meant.
const MAX_EDITS: usize = 3;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing said otherwise.
    Default,
    /// Nothing said otherwise, and what it is by default depends on the machine.
    Machine(String),
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A command-line flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Machine(what) => write!(f, "default: {what}"),
            Self::File(path) => {
                write!(f, "file {}", path.display().to_string().escape_debug())
            }
            Self::Env(name) => write!(f, "env {}", name.escape_debug()),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The values of one place.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) values: Dict,
}

impl Layer {
    /// A configuration file; its extension says which format.
    pub(super) fn file(path: &Path) -> Result<Self, Problem> {
        let origin = Origin::File(path.to_owned());
        let failed = |message: String| Problem { key: None, origin: origin.clone(), message };
        let text = std::fs::read_to_string(path).map_err(|e| {
            failed(format!("cannot read it: {e}; give an existing file with --config"))
        })?;
        let parsed = match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") if text.trim().is_empty() => Ok(Dict::new()),
            Some("yaml" | "yml") => Yaml::from_str(&text).map_err(|e| e.to_string()),
            Some("toml") => Toml::from_str(&text).map_err(|e| e.to_string()),
            _ => Err("its name must end in .toml, .yaml or .yml".into()),
        };
        parsed
            .map(|values| Self { origin: origin.clone(), values: plain(values) })
            .map_err(|message| failed(message.trim_end().to_owned()))
    }

    /// One layer per environment variable with our prefix, in the order of their names.
    pub(super) fn env(variables: &[(String, String)]) -> Vec<Self> {
        let keys = every_key();
        let mut ours: Vec<&(String, String)> = variables
            .iter()
            .filter(|(name, _)| name.starts_with(ENV_PREFIX) && name != ENV_FILE)
            .filter(|(name, _)| !is_service_link(name))
            .collect();
        ours.sort();
        ours.into_iter()
            .map(|(name, text)| {
                let path: Vec<String> =
                    name[ENV_PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
                // Where text is wanted, `123` and `true` are text too.
                let value = match find(&keys, &path) {
                    Some(Value::String(..)) => Value::from(text.as_str()),
                    _ => text.parse().unwrap_or_else(|_| Value::from(text.as_str())),
                };
                Self { origin: Origin::Env(name.clone()), values: nest(&path, value) }
            })
            .collect()
    }

    /// The value of a flag for the key `key`.
    pub(super) fn flag(flag: &str, key: &str, value: Value) -> Self {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        Self { origin: Origin::Flag(flag.to_owned()), values: nest(&path, value) }
    }

    /// Keys that do not exist, and values where a section belongs or the reverse.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut path = Vec::new();
        self.compare(&every_key(), &self.values, &mut path, &mut problems);
        problems
    }

    fn compare(
        &self,
        known: &Dict,
        given: &Dict,
        path: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) {
        for (key, value) in given {
            path.push(key.clone());
            let mut problem = |message: String| {
                let key = Some(path.join("."));
                problems.push(Problem { key, origin: self.origin.clone(), message });
            };
            match (known.get(key).or_else(|| known.get("*")), value) {
                (None, _) => problem(unknown(known, key)),
                // Stands for any value whatever.
                (Some(Value::Empty(_, Empty::Unit)), _) => {}
                (Some(Value::Dict(_, known)), Value::Dict(_, given)) => {
                    self.compare(known, given, path, problems);
                }
                (Some(Value::Dict(_, known)), _) => {
                    let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                    problem(format!("this is a section, with {}", list(&keys)));
                }
                (Some(_), Value::Dict(..)) => {
                    problem("this takes one value and is no section".to_owned());
                }
                (Some(_), _) => {}
            }
            path.pop();
        }
    }

    /// Add the layer's keys to `origins`, in place of earlier layers'.
    pub(super) fn record(&self, origins: &mut BTreeMap<Vec<String>, Origin>) {
        fn walk(
            layer: &Layer,
            values: &Dict,
            path: &mut Vec<String>,
            origins: &mut BTreeMap<Vec<String>, Origin>,
        ) {
            for (key, value) in values {
                path.push(key.clone());
                match value {
                    Value::Dict(_, values) => walk(layer, values, path, origins),
                    _ => {
                        origins.insert(path.clone(), layer.origin.clone());
                    }
                }
                path.pop();
            }
        }
        walk(self, &self.values, &mut Vec::new(), origins);
    }
}

/// Values with times as text: TOML has a type for them, which arrives as a section with one
/// key of the parser's own.
fn plain(values: Dict) -> Dict {
    let value = |value| match value {
        Value::Dict(_, mut inner) if inner.len() == 1 && inner.contains_key(TOML_TIME) => {
            inner.remove(TOML_TIME).unwrap_or_else(|| Value::from(""))
        }
        Value::Dict(tag, inner) => Value::Dict(tag, plain(inner)),
        other => other,
    };
    values.into_iter().map(|(key, inner)| (key, value(inner))).collect()
}

/// The tree of all keys, `*` standing for any name.
fn every_key() -> Dict {
    Value::serialize(Raw::with_every_key()).ok().and_then(Value::into_dict).unwrap_or_default()
}

fn find<'a>(keys: &'a Dict, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = keys.get(first).or_else(|| keys.get("*"))?;
    match value {
        Value::Dict(_, inner) if !rest.is_empty() => find(inner, rest),
        value if rest.is_empty() => Some(value),
        _ => None,
    }
}

fn nest(path: &[String], value: Value) -> Dict {
    let Some((last, sections)) = path.split_last() else { return Dict::new() };
    let innermost = Dict::from([(last.clone(), value)]);
    sections.iter().rev().fold(innermost, |inner, section| {
        Dict::from([(section.clone(), Value::Dict(Tag::Default, inner))])
    })
}

fn unknown(known: &Dict, key: &str) -> String {
    let meant = known
        .keys()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, key), candidate))
        .min()
        .filter(|(edits, candidate)| *edits <= MAX_EDITS && *edits < candidate.len());
    match meant {
        Some((_, candidate)) => {
            format!("there is no such key; did you mean `{candidate}`?")
        }
        None => {
            let keys: Vec<&str> = known.keys().map(String::as_str).collect();
            format!("there is no such key; here are {}", list(&keys))
        }
    }
}

fn list(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// Whether a variable looks like one that Kubernetes sets for a service of this name.
fn is_service_link(name: &str) -> bool {
    let name = &name[ENV_PREFIX.len()..];
    name == "PORT"
        || name.starts_with("PORT_")
        || name.starts_with("SERVICE_PORT")
        || name == "SERVICE_HOST"
}
