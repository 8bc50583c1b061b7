//! The keys of a table of grants, and what makes sense as their values: one module for each
//! capability that has more to say than one word.

mod bounds;
mod enqueue;
mod fs;
mod http;
mod kv;

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use bulkhead_core::check_name;
use bulkhead_sandbox::{Clocks, KvGrant, Randomness};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use self::bounds::MAX_ITEMS;
use self::enqueue::Enqueue;
use self::fs::Fs;
use self::http::Http;
use self::kv::Kv;
use super::SaidGrants;

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

fn secret_names(names: Vec<String>) -> Result<BTreeSet<String>, String> {
    if names.len() > MAX_ITEMS {
        return Err(format!("`secrets` lists {} names; use at most {MAX_ITEMS}", names.len()));
    }
    for name in &names {
        check_name("secret's name", name).map_err(|e| format!("`secrets`: {e}"))?;
    }
    Ok(names.into_iter().collect())
}
