//! The configuration: a file, environment variables and flags, in rising order.
//!
//! [`Config::load`] gives values that make sense or says everything that is wrong; each
//! value knows where it came from. What the environment holds is an argument, so that
//! the same inputs always give the same configuration.

mod broker_url;
mod error;
mod layer;
mod log;
mod machine;
mod raw;
mod secrets;
mod settings;
mod validation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bulkhead_core::{QueueName, RetryPolicy};
use bulkhead_queue::{RedisConfig, SubmitLimits};
use figment::Figment;
use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::Value;

use crate::options::{HostOptions, QueueOptions};
pub use bulkhead_core::quantity;
use layer::Layer;
use quantity::Size;
use raw::Raw;

pub use broker_url::{BrokerPlace, BrokerUrl};
pub use error::{ConfigError, Problem};
pub use layer::Origin;
pub use log::{LogFormat, LogOptions};
pub use machine::MachineMemory;
pub use settings::Setting;

/// The files that are looked for when none is named.
const DEFAULT_FILES: [&str; 3] = ["bulkhead.toml", "bulkhead.yaml", "bulkhead.yml"];

/// The variables that name the user's folder for caches, and the user's home.
const CACHE_VARIABLES: [&str; 2] = ["XDG_CACHE_HOME", "HOME"];

/// The share of the machine's memory that a host may have by default, in percent.
const MEMORY_PERCENT: u64 = 80;

const MIB: u64 = 1 << 20;

/// Where settings may come from. Its debug form names settings without their values.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file that was named by a flag.
    pub file: Option<PathBuf>,
    /// The environment: variables that begin with `BULKHEAD_` are settings, others matter where
    /// a secret is said to be in them, and those that say where the user's caches are.
    pub env: Vec<(String, String)>,
    /// What flags say.
    pub flags: Vec<Flag>,
    /// The folder where `bulkhead.toml` is looked for when no file is named.
    pub dir: PathBuf,
    /// The memory that this process may have. Without it there is no ceiling unless one is set.
    pub memory: Option<MachineMemory>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ours = |name: &&str| name.starts_with(layer::ENV_PREFIX);
        let env = self.env.iter().map(|(name, _)| name.as_str());
        let env: Vec<&str> = env.filter(ours).collect();
        let flags: Vec<&str> = self.flags.iter().map(|flag| flag.flag).collect();
        let Self { file, dir, memory, .. } = self;
        f.debug_struct("Sources")
            .field("file", file)
            .field("env", &env)
            .field("flags", &flags)
            .field("dir", dir)
            .field("memory", memory)
            .finish()
    }
}

/// A setting given by a command-line flag. Its debug form has no value: that of a broker may
/// have a password in it.
#[derive(Clone)]
pub struct Flag {
    /// The flag, for messages.
    pub flag: &'static str,
    /// The key that it sets.
    pub key: &'static str,
    /// Its value; more than one for keys that take a list.
    pub value: FlagValue,
}

impl std::fmt::Debug for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Flag({})", self.flag)
    }
}

/// The value of a flag.
#[derive(Clone)]
pub enum FlagValue {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
    /// A list.
    List(Vec<String>),
}

/// A configuration that makes sense.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the broker is.
    pub broker: BrokerUrl,
    /// The prefix of all keys at the broker.
    pub namespace: String,
    /// How a host runs here.
    pub host: HostOptions,
    /// Bounds on what is submitted from here.
    pub submit: SubmitLimits,
    /// What to log.
    pub log: LogOptions,
    queues: BTreeMap<QueueName, QueueOptions>,
    settings: Vec<Setting>,
    origins: Origins,
    sources: Sources,
}

impl Config {
    /// Read the sources and check what they say.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = layers(sources)?;
        let problems: Vec<Problem> = layers.iter().flat_map(Layer::problems).collect();
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let mut origins = Origins::default();
        let mut figment = Figment::from(Serialized::defaults(Raw::default()));
        for layer in layers {
            layer.record(&mut origins.0);
            figment = figment.merge(Serialized::defaults(layer.values));
        }
        let mut raw: Raw = figment.extract().map_err(|error| origins.explain(error))?;
        if raw.plugins.cache_dir.is_none() {
            raw.plugins.cache_dir = user_cache(&sources.env);
        }
        if let (None, Some(machine)) = (raw.host.memory, sources.memory) {
            raw.host.memory = Some(Size(share(machine.bytes)));
            let origin = Origin::Machine(format!("{MEMORY_PERCENT} % of {machine}"));
            origins.0.insert(vec!["host".to_owned(), "memory".to_owned()], origin);
        }
        let valid = validation::validate(&raw, &origins, &sources.env)
            .map_err(|problems| ConfigError { problems })?;
        let settings = settings::list(&raw, &valid, &origins);
        let validation::Valid { broker, namespace, host, queues, submit, log } = valid;
        // What is read again is the same file, wherever else one appears.
        let sources = Sources { file: file(sources), ..sources.clone() };
        Ok(Self { broker, namespace, host, submit, log, queues, settings, origins, sources })
    }

    /// The file that was read, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.sources.file.as_deref()
    }

    /// What the same sources say now.
    pub fn reload(&self) -> Result<Self, ConfigError> {
        Self::load(&self.sources)
    }

    /// Every setting with its value and where it came from. The broker's password is
    /// hidden.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// How a queue is served, whether or not it is configured.
    #[must_use]
    pub fn queue(&self, name: &QueueName) -> QueueOptions {
        self.queues.get(name).cloned().unwrap_or_else(|| QueueOptions::new(name.clone()))
    }

    /// The retry policy of a queue.
    #[must_use]
    pub fn retry(&self, name: &QueueName) -> RetryPolicy {
        self.queue(name).retry
    }

    /// How to connect to the broker.
    #[must_use]
    pub fn redis(&self) -> RedisConfig {
        RedisConfig { namespace: self.namespace.clone(), ..RedisConfig::new(self.broker.expose()) }
    }
}

/// What a host may have by default of so much memory, in whole MiB.
fn share(bytes: u64) -> u64 {
    bytes.saturating_mul(MEMORY_PERCENT) / 100 / MIB * MIB
}

/// The folder for compiled plugins among the user's caches, if the user has any.
fn user_cache(env: &[(String, String)]) -> Option<String> {
    let absolute = |name: &str| {
        let (_, path) = env.iter().find(|(known, _)| known == name)?;
        Some(PathBuf::from(path)).filter(|path| path.is_absolute())
    };
    let [caches, home] = CACHE_VARIABLES;
    let caches = absolute(caches).or_else(|| Some(absolute(home)?.join(".cache")))?;
    Some(caches.join("bulkhead").join("compiled").display().to_string())
}

fn layers(sources: &Sources) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = Vec::new();
    if let Some(file) = file(sources) {
        layers.push(Layer::file(&file)?);
    }
    layers.extend(Layer::env(&sources.env));
    layers.extend(sources.flags.iter().map(|flag| {
        let value = match &flag.value {
            FlagValue::Text(text) => Value::from(text.as_str()),
            FlagValue::Number(number) => Value::from(*number),
            FlagValue::List(items) => items.iter().map(String::as_str).collect::<Vec<_>>().into(),
        };
        Layer::flag(flag.flag, flag.key, value)
    }));
    Ok(layers)
}

fn file(sources: &Sources) -> Option<PathBuf> {
    let named_by_env = || {
        let variable = sources.env.iter().find(|(name, _)| name == layer::ENV_FILE);
        variable.map(|(_, path)| PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty())
    };
    let found =
        |dir: &Path| DEFAULT_FILES.map(|name| dir.join(name)).into_iter().find(|p| p.is_file());
    sources.file.clone().or_else(named_by_env).or_else(|| found(&sources.dir))
}

/// A folder of the host's user among the system's temporary ones.
pub(crate) fn default_scratch_dir() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    std::env::temp_dir().join(format!("bulkhead-scratch-{user}"))
}

/// Where each key was set last.
#[derive(Debug, Clone, Default)]
struct Origins(BTreeMap<Vec<String>, Origin>);

impl Origins {
    /// Where a key was set; for a section, where one of its keys was.
    fn of(&self, path: &[&str]) -> Origin {
        if path.is_empty() {
            return Origin::Default;
        }
        // Either may be the longer one: an error in a list names the element.
        let meant = |key: &[String]| key.iter().zip(path).all(|(a, b)| a == b);
        let found = self.0.iter().find(|(key, _)| meant(key));
        found.map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Say which value had the wrong type.
    fn explain(&self, error: figment::Error) -> ConfigError {
        let problems = error.into_iter().map(|error| {
            let path: Vec<&str> = error.path.iter().map(String::as_str).collect();
            let message = mistyped(&error.kind);
            Problem { key: Some(path.join(".")), origin: self.of(&path), message }
        });
        ConfigError { problems: problems.collect() }
    }
}

/// A type error in words that need no Rust.
fn mistyped(kind: &Kind) -> String {
    let (found, expected) = match kind {
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            (found.to_string(), expected.as_str())
        }
        other => return other.to_string(),
    };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, zero or more",
        "f32" | "f64" => "a number",
        other => other,
    };
    let found = found.replace("unsigned int", "number").replace("signed int", "number");
    format!("{found} is given, but this takes {expected}")
}

#[cfg(test)]
mod tests;
