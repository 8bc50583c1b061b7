//! The keys of a table of grants, and what makes sense as their values.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bulkhead_core::outbound::{AllowList, Reach, Rule};
use bulkhead_core::{QueueName, TaskType, check_name};
use bulkhead_sandbox::{
    Clocks, EnqueueGrant, FolderGrant, FolderQuota, FsGrant, HttpGrant, KvGrant, Named, Randomness,
};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::SaidGrants;
use crate::config::quantity::{Size, Span};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3_600);

/// Most rules, names or folders of one grant.
const MAX_ITEMS: usize = 256;

/// Where a guest sees its own folder.
const SCRATCH: &str = "/scratch";

/// `[grants]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of grants")]
pub(super) struct Table {
    kv: Option<Switch<Kv>>,
    http: Option<Switch<Http>>,
    fs: Option<Switch<Fs>>,
    config: Option<bool>,
    secrets: Option<Vec<String>>,
    enqueue: Option<Switch<Enqueue>>,
    clocks: Option<ClocksWord>,
    random: Option<RandomWord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClocksWord {
    Exact,
    Coarse,
    Frozen,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RandomWord {
    System,
    Seeded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kv {
    keys: Option<u64>,
    value: Option<Size>,
    total: Option<Size>,
    operations: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    allow: Vec<String>,
    private: Option<bool>,
    metadata: Option<bool>,
    requests: Option<u32>,
    connect_timeout: Option<Span>,
    first_byte_timeout: Option<Span>,
    between_bytes_timeout: Option<Span>,
    request_body: Option<Size>,
    response_body: Option<Size>,
    headers: Option<Size>,
    connections: Option<u32>,
    ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fs {
    scratch: Option<Size>,
    scratch_files: Option<u64>,
    #[serde(default)]
    dirs: Vec<Folder>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Folder {
    host: PathBuf,
    guest: String,
    access: Access,
    quota: Option<Size>,
    files: Option<u64>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Access {
    Read,
    ReadWrite,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enqueue {
    types: Vec<String>,
    queues: Option<Vec<String>>,
    per_attempt: Option<u32>,
    bytes: Option<Size>,
    depth: Option<u32>,
}

/// `true`, `false`, or a table of quotas.
enum Switch<T> {
    On,
    Off,
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct BoolOrTable<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for BoolOrTable<T> {
            type Value = Switch<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or a table")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Switch<T>, E> {
                Ok(if on { Switch::On } else { Switch::Off })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Switch::Table)
            }
        }
        from.deserialize_any(BoolOrTable(PhantomData))
    }
}

impl Table {
    /// What is said, if it makes sense.
    pub(super) fn checked(self) -> Result<SaidGrants, String> {
        Ok(SaidGrants {
            kv: checked(self.kv, Some(KvGrant::default()), "", Kv::checked)?,
            http: checked(
                self.http,
                None,
                "`http` needs rules: `{ allow = [...] }`",
                Http::checked,
            )?,
            fs: checked(
                self.fs,
                None,
                "`fs` needs folders: `{ scratch = \"64 MiB\" }`",
                Fs::checked,
            )?,
            config: self.config,
            secrets: self.secrets.map(secret_names).transpose()?,
            enqueue: checked(
                self.enqueue,
                None,
                "`enqueue` needs types: `{ types = [...] }`",
                Enqueue::checked,
            )?,
            clocks: self.clocks.map(|word| match word {
                ClocksWord::Exact => Clocks::Exact,
                ClocksWord::Coarse => Clocks::Coarse,
                ClocksWord::Frozen => Clocks::Frozen,
            }),
            random: self.random.map(|word| match word {
                RandomWord::System => Randomness::System,
                RandomWord::Seeded => Randomness::Seeded,
            }),
        })
    }
}

/// What a switch grants; `on` is what `true` means, if it means anything.
fn checked<T, G>(
    said: Option<Switch<T>>,
    on: Option<G>,
    needs_more: &str,
    check: impl FnOnce(T) -> Result<G, String>,
) -> Result<Option<Option<G>>, String> {
    match said {
        None => Ok(None),
        Some(Switch::Off) => Ok(Some(None)),
        Some(Switch::On) => on.map(|on| Some(Some(on))).ok_or_else(|| needs_more.to_owned()),
        Some(Switch::Table(table)) => check(table).map(|granted| Some(Some(granted))),
    }
}

/// A value within its bounds, or the default where none is given.
fn within<T: PartialOrd + Display + Copy>(
    key: &str,
    value: Option<T>,
    default: T,
    bounds: RangeInclusive<T>,
) -> Result<T, String> {
    match value {
        Some(value) if !bounds.contains(&value) => Err(format!(
            "`{key}` is {value}, which is not from {} to {}",
            bounds.start(),
            bounds.end()
        )),
        value => Ok(value.unwrap_or(default)),
    }
}

fn size(
    key: &str,
    value: Option<Size>,
    default: u64,
    bounds: RangeInclusive<u64>,
) -> Result<u64, String> {
    let bounds = Size(*bounds.start())..=Size(*bounds.end());
    Ok(within(key, value, Size(default), bounds)?.0)
}

fn span(key: &str, value: Option<Span>, default: Duration) -> Result<Duration, String> {
    let bounds = Span(Duration::from_millis(1))..=Span(HOUR);
    Ok(within(key, value, Span(default), bounds)?.0)
}

/// One to 256 items that are not the same twice.
fn items<T: FromStr<Err: Display> + Ord>(
    key: &str,
    texts: &[String],
) -> Result<BTreeSet<T>, String> {
    if !(1..=MAX_ITEMS).contains(&texts.len()) {
        return Err(format!("`{key}` lists {} names; use 1 to {MAX_ITEMS}", texts.len()));
    }
    texts.iter().map(|text| text.parse().map_err(|e| format!("`{key}`: {e}"))).collect()
}

/// Names, or `["*"]` for any.
fn named<T: FromStr<Err: Display> + Ord>(key: &str, texts: &[String]) -> Result<Named<T>, String> {
    match texts {
        [any] if any == "*" => Ok(Named::Any),
        texts => items(key, texts).map(Named::Only),
    }
}

fn secret_names(names: Vec<String>) -> Result<BTreeSet<String>, String> {
    if names.len() > MAX_ITEMS {
        return Err(format!("`secrets` lists {} names; use at most {MAX_ITEMS}", names.len()));
    }
    for name in &names {
        check_name("secret's name", name).map_err(|e| format!("`secrets`: {e}"))?;
    }
    Ok(names.into_iter().collect())
}

impl Kv {
    fn checked(self) -> Result<KvGrant, String> {
        let default = KvGrant::default();
        Ok(KvGrant {
            keys: within("kv.keys", self.keys, default.keys, 1..=100_000_000)?,
            value_bytes: size("kv.value", self.value, default.value_bytes, 1..=16 * MIB)?,
            total_bytes: size("kv.total", self.total, default.total_bytes, 1..=1024 * GIB)?,
            operations: within(
                "kv.operations",
                self.operations,
                default.operations,
                1..=1_000_000,
            )?,
        })
    }
}

impl Http {
    fn checked(self) -> Result<HttpGrant, String> {
        let default = HttpGrant::default();
        if !(1..=MAX_ITEMS).contains(&self.allow.len()) {
            return Err(format!(
                "`http.allow` lists {} rules; use 1 to {MAX_ITEMS}",
                self.allow.len()
            ));
        }
        let rules: Result<Vec<Rule>, String> = self
            .allow
            .iter()
            .map(|rule| rule.parse().map_err(|error| format!("`http.allow`: {error}")))
            .collect();
        if self.ca_file.as_ref().is_some_and(|file| !file.is_absolute()) {
            return Err("`http.ca_file` must be an absolute path".to_owned());
        }
        Ok(HttpGrant {
            allow: AllowList::new(rules?),
            reach: Reach {
                private: self.private.unwrap_or(false),
                metadata: self.metadata.unwrap_or(false),
            },
            requests: within("http.requests", self.requests, default.requests, 1..=100_000)?,
            connect_timeout: span(
                "http.connect_timeout",
                self.connect_timeout,
                default.connect_timeout,
            )?,
            first_byte_timeout: span(
                "http.first_byte_timeout",
                self.first_byte_timeout,
                default.first_byte_timeout,
            )?,
            between_bytes_timeout: span(
                "http.between_bytes_timeout",
                self.between_bytes_timeout,
                default.between_bytes_timeout,
            )?,
            request_body_bytes: size(
                "http.request_body",
                self.request_body,
                default.request_body_bytes,
                0..=GIB,
            )?,
            response_body_bytes: size(
                "http.response_body",
                self.response_body,
                default.response_body_bytes,
                0..=GIB,
            )?,
            header_bytes: size("http.headers", self.headers, default.header_bytes, KIB..=MIB)?,
            connections: within(
                "http.connections",
                self.connections,
                default.connections,
                1..=10_000,
            )?,
            ca_file: self.ca_file,
        })
    }
}

impl Fs {
    fn checked(self) -> Result<FsGrant, String> {
        let files =
            |key: &str, files| within(key, files, FolderQuota::DEFAULT_FILES, 1..=10_000_000);
        let scratch = match (self.scratch, self.scratch_files) {
            (None, Some(_)) => {
                return Err("`fs.scratch_files` bounds a scratch folder; give `scratch` too".into());
            }
            (None, None) => None,
            (Some(bytes), number) => Some(FolderQuota {
                bytes: size("fs.scratch", Some(bytes), 0, 1..=1024 * GIB)?,
                files: files("fs.scratch_files", number)?,
            }),
        };
        if self.dirs.len() > MAX_ITEMS {
            return Err(format!(
                "`fs.dirs` lists {} folders; use at most {MAX_ITEMS}",
                self.dirs.len()
            ));
        }
        let mut dirs: Vec<FolderGrant> = Vec::new();
        let mut seen = vec![SCRATCH.to_owned()];
        for folder in self.dirs {
            let guest = guest_path(&folder.guest)?;
            let inside = |outer: &str, inner: &str| {
                inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if let Some(other) =
                seen.iter().find(|other| inside(other, &guest) || inside(&guest, other))
            {
                return Err(format!("`fs.dirs`: `{guest}` and `{other}` are one inside the other"));
            }
            if has_dots(&folder.host) || folder.host.as_os_str().is_empty() {
                let shown = folder.host.display().to_string();
                return Err(format!(
                    "`fs.dirs`: the host's `{}` must be a path without `..`",
                    shown.escape_debug()
                ));
            }
            let write = match (folder.access, folder.quota, folder.files) {
                (Access::Read, None, None) => None,
                (Access::Read, _, _) => {
                    return Err(format!(
                        "`fs.dirs`: `{guest}` is only read, so it has no `quota` and no `files`"
                    ));
                }
                (Access::ReadWrite, None, _) => {
                    return Err(format!(
                        "`fs.dirs`: `{guest}` is written to, so it needs a `quota`"
                    ));
                }
                (Access::ReadWrite, Some(quota), number) => Some(FolderQuota {
                    bytes: size("fs.dirs.quota", Some(quota), 0, 1..=1024 * GIB)?,
                    files: files("fs.dirs.files", number)?,
                }),
            };
            seen.push(guest.clone());
            dirs.push(FolderGrant { host: folder.host, guest, write });
        }
        Ok(FsGrant { scratch, dirs })
    }
}

fn has_dots(path: &Path) -> bool {
    path.components().any(|part| matches!(part, Component::ParentDir))
}

/// A folder as a guest sees it: `/a/b`, without a slash at its end.
fn guest_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let plain = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control)
    };
    match path.strip_prefix('/') {
        Some(parts) if path.len() <= 256 && parts.split('/').all(plain) => Ok(path.to_owned()),
        _ => Err(format!(
            "`fs.dirs`: the guest's `{}` must be an absolute path such as `/fonts`",
            text.escape_debug()
        )),
    }
}

impl Enqueue {
    fn checked(self) -> Result<EnqueueGrant, String> {
        let default = EnqueueGrant::default();
        let queues =
            self.queues.as_deref().map(|queues| named::<QueueName>("enqueue.queues", queues));
        Ok(EnqueueGrant {
            types: named::<TaskType>("enqueue.types", &self.types)?,
            queues: queues.transpose()?.unwrap_or(default.queues),
            per_attempt: within(
                "enqueue.per_attempt",
                self.per_attempt,
                default.per_attempt,
                1..=1_000,
            )?,
            bytes: size("enqueue.bytes", self.bytes, default.bytes, 0..=192 * MIB)?,
            depth: within("enqueue.depth", self.depth, default.depth, 1..=100)?,
        })
    }
}
