//! The optional manifest beside a plugin, `name.toml`: what the operator says about
//! `name.wasm`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use bulkhead_core::{Backoff, FailureKind, LimitsRequest, RetryRequest, TaskType, TenantName};
use bulkhead_sandbox::{Grants, Manifest};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::config::quantity::{Size, Span};
use crate::grants::SaidGrants;
use crate::plugins::{Identity, PluginSettings};

/// Largest manifest, in bytes.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// The longest that a result is remembered.
const MAX_REMEMBERED_MS: u64 = 366 * 24 * 3_600_000;

/// A manifest that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the manifest `{file}` cannot be used: {reason}")]
pub struct ManifestError {
    /// The file's name.
    pub file: String,
    /// What is wrong, with its place in the file.
    pub reason: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    task_types: Option<Vec<TaskType>>,
    limits: RawLimits,
    retry: Option<RawRetry>,
    grants: SaidGrants,
    instances: Option<u32>,
    max_batch: Option<u32>,
    cache: Remembering,
}

/// How long results are remembered, in milliseconds, and of which task types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Remembering {
    /// None is.
    #[default]
    Nothing,
    /// Those of every type.
    All(u64),
    /// Those of these types.
    Of(BTreeMap<TaskType, u64>),
}

impl Remembering {
    /// For how long results of this type are remembered, if they are.
    pub(crate) fn of(&self, task_type: &TaskType) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::All(ms) => Some(*ms),
            Self::Of(types) => types.get(task_type).copied(),
        }
    }

    /// The types that are named.
    pub(crate) fn named(&self) -> impl Iterator<Item = &TaskType> {
        let types = if let Self::Of(types) = self { Some(types) } else { None };
        types.into_iter().flat_map(BTreeMap::keys)
    }
}

impl<'de> Deserialize<'de> for Remembering {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct SpanOrTypes;
        impl<'de> Visitor<'de> for SpanOrTypes {
            type Value = Remembering;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"1h\", or one for each task type")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Remembering, E> {
                text.parse().map_err(E::custom).and_then(remembered).map(Remembering::All)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Remembering, A::Error> {
                let mut types = BTreeMap::new();
                while let Some((task_type, span)) = map.next_entry()? {
                    types.insert(task_type, remembered(span)?);
                }
                Ok(Remembering::Of(types))
            }
        }
        from.deserialize_any(SpanOrTypes)
    }
}

/// A time that a result may be remembered, in milliseconds.
fn remembered<E: de::Error>(span: Span) -> Result<u64, E> {
    match span.as_ms() {
        ms @ 1..=MAX_REMEMBERED_MS => Ok(ms),
        _ => Err(E::custom(format!("`cache` is {span}; use 1ms to 366d, or leave it out"))),
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    fuel: Option<u64>,
    memory: Option<Size>,
    wall: Option<Span>,
    result: Option<Size>,
    log: Option<Size>,
}

impl From<RawLimits> for LimitsRequest {
    fn from(raw: RawLimits) -> Self {
        Self {
            fuel: raw.fuel,
            memory_bytes: raw.memory.map(|size| size.0),
            wall_ms: raw.wall.map(Span::as_ms),
            result_bytes: raw.result.map(|size| size.0),
            log_bytes: raw.log.map(|size| size.0),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRetry {
    max_attempts: Option<u32>,
    backoff: Option<RawBackoff>,
    jitter: Option<f64>,
    retry_on: Option<Vec<FailureKind>>,
    max_age: Option<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
enum RawBackoff {
    Fixed { delay: Span },
    Linear { initial: Span, step: Span, max: Span },
    Exponential { initial: Span, multiplier: f64, max: Span },
    Delays { delays: Vec<Span> },
}

impl From<RawRetry> for RetryRequest {
    fn from(raw: RawRetry) -> Self {
        let backoff = raw.backoff.map(|backoff| match backoff {
            RawBackoff::Fixed { delay } => Backoff::Fixed { delay_ms: delay.as_ms() },
            RawBackoff::Linear { initial, step, max } => Backoff::Linear {
                initial_ms: initial.as_ms(),
                step_ms: step.as_ms(),
                max_ms: max.as_ms(),
            },
            RawBackoff::Exponential { initial, multiplier, max } => Backoff::Exponential {
                initial_ms: initial.as_ms(),
                multiplier,
                max_ms: max.as_ms(),
            },
            RawBackoff::Delays { delays } => {
                Backoff::Delays { delays_ms: delays.into_iter().map(Span::as_ms).collect() }
            }
        });
        Self {
            max_attempts: raw.max_attempts,
            backoff,
            jitter: raw.jitter,
            retry_on: raw.retry_on,
            max_age_ms: raw.max_age.map(Span::as_ms),
        }
    }
}

/// All that a manifest says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// What concerns the sandbox, grants left out.
    pub(crate) manifest: Manifest,
    /// What it says of results.
    pub(crate) remembering: Remembering,
    /// What it says of grants.
    pub(crate) grants: SaidGrants,
}

impl Said {
    /// The same of a manifest that was pushed: what it grants does not count.
    pub(crate) fn pushed(self) -> Self {
        Self { grants: SaidGrants::default(), ..self }
    }

    /// What concerns the sandbox, for this plugin: the configuration's word counts before the
    /// manifest's. What a tenant's manifest would have remembered counts like its grants.
    pub(crate) fn of(
        self,
        plugin: &Identity,
        settings: &PluginSettings,
    ) -> Result<(Manifest, Remembering), ManifestError> {
        let mut remembering = self.remembering;
        if let Some(tenant) = &plugin.owner {
            // Hosts keep to it by asking for less work of any kind, which is not a tenant's to say.
            if self.manifest.instances.is_some() {
                return Err(ManifestError {
                    file: format!("{}.toml", plugin.name),
                    reason: "`instances` is not for tenants' plugins; leave it out, and bound \
                             the tenant by `in_flight` of `[queues.QUEUE.tenants.TENANT]`"
                        .into(),
                });
            }
            if !settings.heeds_manifests(tenant) {
                remembering = Remembering::Nothing;
            }
        }
        let grants = settings.grants(plugin, self.grants);
        Ok((Manifest { grants, ..self.manifest }, remembering))
    }
}

/// Parse what a manifest's text says of the plugin, if no configuration says anything; `file`
/// names it in errors.
pub fn parse(file: &str, text: &str) -> Result<Manifest, ManifestError> {
    let Said { manifest, grants, .. } = parse_whole(file, text)?;
    Ok(Manifest { grants: grants.granted(), ..manifest })
}

/// Parse all of a manifest's text.
pub(crate) fn parse_whole(file: &str, text: &str) -> Result<Said, ManifestError> {
    let failed = |reason: String| ManifestError { file: file.to_owned(), reason };
    let raw: Raw = toml::from_str(text).map_err(|e| failed(e.to_string()))?;
    if raw.instances == Some(0) {
        return Err(failed("`instances` is 0; use at least 1 or leave it out".into()));
    }
    let retry = raw.retry.map(RetryRequest::from);
    if let Some(reason) = retry.as_ref().and_then(senseless) {
        return Err(failed(reason));
    }
    if let Some(folder) = raw.grants.relative_folder() {
        let shown = folder.display().to_string();
        return Err(failed(format!(
            "`grants.fs.dirs`: the host's `{}` must be an absolute path; one from where the \
             configuration is goes there",
            shown.escape_debug()
        )));
    }
    let manifest = Manifest {
        task_types: raw.task_types,
        limits: raw.limits.into(),
        retry,
        grants: Grants::default(),
        instances: raw.instances,
        max_batch: raw.max_batch,
    };
    Ok(Said { manifest, remembering: raw.cache, grants: raw.grants })
}

/// Why a retry policy makes no sense, if it does not.
fn senseless(retry: &RetryRequest) -> Option<String> {
    if retry.max_attempts == Some(0) {
        return Some(
            "`retry.max_attempts` is 0; the first attempt counts, so use at least 1".into(),
        );
    }
    if let Some(jitter) = retry.jitter.filter(|jitter| !(0.0..=1.0).contains(jitter)) {
        return Some(format!("`retry.jitter` is {jitter}; use 0.0 to 1.0"));
    }
    match &retry.backoff {
        Some(Backoff::Exponential { multiplier, .. }) if !(1.0..=100.0).contains(multiplier) => {
            Some(format!("`retry.backoff.multiplier` is {multiplier}; use 1.0 to 100.0"))
        }
        Some(Backoff::Delays { delays_ms }) if !(1..=64).contains(&delays_ms.len()) => {
            Some(format!("`retry.backoff.delays` lists {} waits; use 1 to 64", delays_ms.len()))
        }
        _ => None,
    }
}

/// What the text of a pushed plugin's manifest comes to, with what the configuration says of its
/// grants: nobody signs manifests, so that what a pushed one grants does not count.
pub fn of_pushed(
    plugin: &Identity,
    text: Option<&str>,
    settings: &PluginSettings,
) -> Result<Manifest, ManifestError> {
    let file = format!("{}.toml", plugin.name);
    let said = text.map(|text| parse_whole(&file, text)).transpose()?.unwrap_or_default();
    Ok(said.pushed().of(plugin, settings)?.0)
}

/// Read the manifest beside a plugin file of the operator's or a tenant's, with what the
/// configuration says of its grants; the default where there is none.
pub fn read(
    plugin: &Path,
    owner: Option<&TenantName>,
    settings: &PluginSettings,
) -> Result<Manifest, ManifestError> {
    let path = plugin.with_extension("toml");
    let file = path.display().to_string();
    let said = match std::fs::read_to_string(&path) {
        Ok(text) => parse_whole(&file, &text)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Said::default(),
        Err(e) => return Err(ManifestError { file, reason: e.to_string() }),
    };
    let name = plugin.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(said.of(&Identity::of(owner, &name.unwrap_or_default()), settings)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::GrantsFrom;

    #[test]
    fn a_full_manifest_parses() {
        let manifest = parse(
            "x.toml",
            r#"
            task_types = ["resize"]
            instances = 4
            [grants]
            kv = true
            [limits]
            fuel = 1_000
            memory = "1 MiB"
            wall = "10s"
            [retry]
            max_attempts = 2
            backoff = { kind = "fixed", delay = "10ms" }
            "#,
        )
        .unwrap();
        let limits = manifest.limits;
        assert_eq!((limits.fuel, limits.memory_bytes), (Some(1_000), Some(1 << 20)));
        assert_eq!(limits.wall_ms, Some(10_000));
        assert_eq!(manifest.instances, Some(4));
        assert!(manifest.grants.kv.is_some());
        let named = RetryRequest {
            max_attempts: Some(2),
            backoff: Some(Backoff::Fixed { delay_ms: 10 }),
            ..Default::default()
        };
        assert_eq!(manifest.retry, Some(named), "and nothing that it does not name");
    }

    #[test]
    fn results_are_remembered_for_all_types_or_for_some() {
        let said = |text| parse_whole("x.toml", text).unwrap().remembering;
        let of = |said: &Remembering, name| said.of(&TaskType::new(name).unwrap());
        assert_eq!(of(&said(""), "a"), None);
        let all = said("cache = \"1h\"");
        assert_eq!((of(&all, "a"), all.named().count()), (Some(3_600_000), 0));
        let some = said("cache = { a = \"1m\" }");
        assert_eq!((of(&some, "a"), of(&some, "b")), (Some(60_000), None));
        assert!(some.named().eq([&TaskType::new("a").unwrap()]));
    }

    #[test]
    fn a_tenants_manifest_bounds_no_instances_and_remembers_nothing_by_itself() {
        let mut settings = PluginSettings::default();
        let of = |owner: Option<&TenantName>, text: &str, settings: &PluginSettings| {
            parse_whole("x.toml", text).unwrap().of(&Identity::of(owner, "x"), settings)
        };
        let acme = TenantName::new("acme").unwrap();
        assert!(of(None, "instances = 4", &settings).is_ok());
        let error = of(Some(&acme), "instances = 4", &settings).unwrap_err().to_string();
        assert!(error.contains("x.toml") && error.contains("`instances`"), "{error}");
        let remembering = |settings: &_| of(Some(&acme), "cache = \"1h\"", settings).unwrap().1;
        assert_eq!(remembering(&settings), Remembering::Nothing);
        settings.other_tenants.grants_from = Some(GrantsFrom::Manifest);
        assert_eq!(remembering(&settings), Remembering::All(3_600_000));
    }

    #[test]
    fn unknown_keys_and_bad_values_say_where() {
        for (text, says) in [
            ("cache = \"0s\"", "`cache` is 0s"),
            ("cache = 5", "a duration such as"),
            ("cache = { a = \"400d\" }", "`cache` is 400d"),
            ("fule = 1", "fule"),
            ("[limits]\nmemory_bytes = 1", "memory_bytes"),
            ("[limits]\nwall = 10", "duration"),
            ("task_types = [\"a b\"]", "a b"),
            ("instances = 0", "instances"),
            ("grants = [\"wasi:http\"]", "grants"),
            ("[grants]\nkv = { keys = 0 }", "`kv.keys` is 0"),
            ("[grants]\nkv = true\nhttp = true", "line 3"),
            ("[grants]\nkv = true\nhttp = true", "`http` needs rules"),
            ("[grants]\nkv = true\n[grants.http]\nallow = []", "line 3"),
            ("[grants]\nkv = true\nsecrets = [\"a b\"]", "line 3"),
            ("[retry]\nmax_attempts = 0", "max_attempts"),
            ("[retry]\njitter = 9.0", "jitter"),
            (
                "[retry.backoff]\nkind = \"exponential\"\ninitial = \"1s\"\nmax = \"9s\"\n\
                 multiplier = -1.0",
                "multiplier",
            ),
            ("[retry.backoff]\nkind = \"delays\"\ndelays = []", "delays"),
            ("= 1", "line 1"),
        ] {
            let error = parse("x.toml", text).unwrap_err().to_string();
            assert!(error.contains("x.toml") && error.contains(says), "{error}");
        }
    }
}
