//! What an operator grants a plugin, as it is written: `[grants]` in a manifest,
//! `[grants.NAME]` in the configuration.
//!
//! Both are read by the same types, one module for each capability that has more to say than a
//! word. Each place says something of a capability or nothing, so that one can be put over the
//! other; what is said was checked. Whether a plugin asks for it is the sandbox's affair.

mod bounds;
mod enqueue;
mod fs;
mod http;
mod kv;
mod switch;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeSet;
use std::path::Path;

use bulkhead_sandbox::{Clocks, EnqueueGrant, FsGrant, Grants, HttpGrant, KvGrant, Randomness};
use serde::Deserialize;

use self::enqueue::Enqueue;
use self::fs::Fs;
use self::http::Http;
use self::kv::Kv;
use self::switch::switch;
use self::words::{ClocksWord, RandomWord, secrets, word};

/// What one place says of a plugin's grants; `None` where it says nothing.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of grants")]
pub struct SaidGrants {
    #[serde(deserialize_with = "switch::<Kv, _>")]
    kv: Option<Option<KvGrant>>,
    #[serde(deserialize_with = "switch::<Http, _>")]
    http: Option<Option<HttpGrant>>,
    #[serde(deserialize_with = "switch::<Fs, _>")]
    fs: Option<Option<FsGrant>>,
    config: Option<bool>,
    #[serde(deserialize_with = "secrets")]
    secrets: Option<BTreeSet<String>>,
    #[serde(deserialize_with = "switch::<Enqueue, _>")]
    enqueue: Option<Option<EnqueueGrant>>,
    #[serde(deserialize_with = "word::<ClocksWord, _, _>")]
    clocks: Option<Clocks>,
    #[serde(deserialize_with = "word::<RandomWord, _, _>")]
    random: Option<Randomness>,
}

impl SaidGrants {
    /// This, and what the other says of what this says nothing of.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        Self {
            kv: self.kv.or(other.kv),
            http: self.http.or(other.http),
            fs: self.fs.or(other.fs),
            config: self.config.or(other.config),
            secrets: self.secrets.or(other.secrets),
            enqueue: self.enqueue.or(other.enqueue),
            clocks: self.clocks.or(other.clocks),
            random: self.random.or(other.random),
        }
    }

    /// The same, with folders that are not said absolutely meant from `base`.
    #[must_use]
    pub fn beneath(mut self, base: &Path) -> Self {
        if let Some(Some(fs)) = &mut self.fs {
            for folder in &mut fs.dirs {
                folder.host = base.join(&folder.host);
            }
        }
        self
    }

    /// A folder that is not said absolutely, if there is one.
    #[must_use]
    pub fn relative_folder(&self) -> Option<&Path> {
        let dirs = &self.fs.as_ref()?.as_ref()?.dirs;
        dirs.iter().map(|folder| folder.host.as_path()).find(|host| host.is_relative())
    }

    /// What is granted, if nobody else says anything.
    #[must_use]
    pub fn granted(self) -> Grants {
        Grants {
            kv: self.kv.flatten(),
            http: self.http.flatten(),
            fs: self.fs.flatten(),
            config: self.config.unwrap_or(false),
            secrets: self.secrets.unwrap_or_default(),
            enqueue: self.enqueue.flatten(),
            clocks: self.clocks.unwrap_or_default(),
            random: self.random.unwrap_or_default(),
        }
    }
}
