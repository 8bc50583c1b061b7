//! Values of plugins: what each keeps for each tenant, and their sums.
//!
//! The bytes of a tenant are those of its spaces, and those of a space are those of its keys
//! and values, at every moment; a value that expires stands in `expiring` under the time that
//! it has itself. Nothing here knows of queues or tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bulkhead_core::{PluginId, TenantName};
use bytes::Bytes;

use super::journal::Row;
use super::rows::tag;
use super::{FOREVER_MS, Machine, Now};
use crate::kv::{
    KvBound, KvEdit, KvEntry, KvOwner, KvPage, KvQuota, KvRange, KvUsage, KvWrite, KvWritten,
    SWEPT_BY_EACH, SWEPT_FOR_ROOM,
};

/// Bytes of a row before the value: version and end.
const ROW_HEAD_BYTES: usize = 16;

/// What all plugins keep.
#[derive(Debug, Default)]
pub(super) struct Kv {
    tenants: BTreeMap<TenantName, Holdings>,
    pub(super) journaling: bool,
    touched: BTreeSet<(TenantName, Change)>,
}

/// What one tenant's plugins keep.
#[derive(Debug, Default)]
struct Holdings {
    spaces: BTreeMap<PluginId, Space>,
    bytes: u64,
    expiring: BTreeSet<(u64, PluginId, String)>,
}

#[derive(Debug, Default)]
struct Space {
    kept: BTreeMap<String, Kept>,
    bytes: u64,
    /// The newest version.
    newest: u64,
}

#[derive(Debug)]
struct Kept {
    value: Bytes,
    version: u64,
    until_ms: Option<u64>,
}

/// A key that changed; without one, the plugin's newest version.
type Change = (PluginId, Option<String>);

impl Machine {
    /// What is stored under a key, unless its time has passed.
    #[must_use]
    pub fn kv_get(&self, owner: &KvOwner, key: &str, now_us: u64) -> Option<KvEntry> {
        let now_ms = Now(now_us).ms();
        let kept = self.kv.space(owner)?.kept.get(key).filter(|kept| kept.lives(now_ms))?;
        let ttl_ms = kept.until_ms.map(|until_ms| until_ms - now_ms);
        Some(KvEntry { value: kept.value.to_vec(), version: kept.version, ttl_ms })
    }

    /// Keys in order, without those whose time has passed.
    #[must_use]
    pub fn kv_list(&self, owner: &KvOwner, range: &KvRange, now_us: u64) -> KvPage {
        let Some(space) = self.kv.space(owner) else { return KvPage::default() };
        let first = match &range.after {
            Some(after) if *after >= range.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(range.prefix.as_str()),
        };
        let now_ms = Now(now_us).ms();
        let mut found = space
            .kept
            .range::<str, _>((first, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&range.prefix))
            .filter(|(_, kept)| kept.lives(now_ms))
            .map(|(key, _)| key.clone());
        let keys = found.by_ref().take(range.page()).collect();
        KvPage { keys, more: found.next().is_some() }
    }

    /// How much is stored.
    #[must_use]
    pub fn kv_usage(&self, owner: &KvOwner) -> KvUsage {
        let tenant_bytes = self.kv.tenants.get(&owner.tenant).map_or(0, |held| held.bytes);
        let Some(space) = self.kv.space(owner) else {
            return KvUsage { tenant_bytes, ..KvUsage::default() };
        };
        KvUsage { keys: space.kept.len() as u64, bytes: space.bytes, tenant_bytes }
    }

    /// Change one key, within its quota. Its key was checked.
    pub fn kv_write(&mut self, owner: &KvOwner, write: &KvWrite, now_us: u64) -> KvWritten {
        let holdings = self.kv.tenants.entry(owner.tenant.clone()).or_default();
        let mut changes = Vec::new();
        let written = holdings.write(&owner.plugin, write, Now(now_us).ms(), &mut changes);
        if self.kv.journaling {
            let changes = changes.into_iter().map(|change| (owner.tenant.clone(), change));
            self.kv.touched.extend(changes);
        }
        written
    }
}

impl Holdings {
    fn write(
        &mut self,
        plugin: &PluginId,
        write: &KvWrite,
        now_ms: u64,
        changes: &mut Vec<Change>,
    ) -> KvWritten {
        self.sweep(now_ms, SWEPT_BY_EACH, changes);
        let key = write.key.as_str();
        if self.kept(plugin, key).is_some_and(|kept| !kept.lives(now_ms)) {
            self.forget(plugin, key, changes);
        }
        let held = self.kept(plugin, key);
        let given = write.ttl_ms.map(|ms| now_ms + ms.min(FOREVER_MS));
        let (value, until_ms) = match &write.edit {
            KvEdit::Delete => return KvWritten::Deleted(self.forget(plugin, key, changes)),
            KvEdit::Swap { expected, .. } if held.map(|kept| kept.version) != *expected => {
                return KvWritten::Unmatched;
            }
            KvEdit::Set(value) | KvEdit::Swap { value, .. } => {
                (Bytes::copy_from_slice(value), given)
            }
            KvEdit::Add(by) => {
                let number = match held {
                    Some(kept) => decimal(&kept.value),
                    None => Some(0),
                };
                let Some(number) = number else { return KvWritten::NotANumber };
                let Some(sum) = number.checked_add(*by) else { return KvWritten::BeyondRange };
                let until_ms = given.or_else(|| held.and_then(|kept| kept.until_ms));
                (Bytes::from(sum.to_string()), until_ms)
            }
        };
        let is_new = held.is_none();
        let grown =
            bytes_of(key, &value).saturating_sub(held.map_or(0, |k| bytes_of(key, &k.value)));
        if self.over(plugin, &write.quota, is_new, grown).is_some() {
            self.sweep(now_ms, SWEPT_FOR_ROOM, changes);
            if let Some(bound) = self.over(plugin, &write.quota, is_new, grown) {
                return KvWritten::Over(bound);
            }
        }
        let sum = matches!(write.edit, KvEdit::Add(_)).then(|| decimal(&value)).flatten();
        let version = self.put(plugin, key, value, until_ms, changes);
        sum.map_or(KvWritten::Stored(version), KvWritten::Sum)
    }

    fn kept(&self, plugin: &PluginId, key: &str) -> Option<&Kept> {
        self.spaces.get(plugin)?.kept.get(key)
    }

    fn over(
        &self,
        plugin: &PluginId,
        quota: &KvQuota,
        is_new: bool,
        grown: u64,
    ) -> Option<KvBound> {
        let space = self.spaces.get(plugin);
        let keys = space.map_or(0, |space| space.kept.len() as u64);
        let bytes = space.map_or(0, |space| space.bytes);
        if is_new && keys >= quota.keys {
            Some(KvBound::Keys)
        } else if grown == 0 {
            None
        } else if bytes.saturating_add(grown) > quota.total_bytes {
            Some(KvBound::Total)
        } else if quota.storage_bytes.is_some_and(|most| self.bytes.saturating_add(grown) > most) {
            Some(KvBound::Storage)
        } else {
            None
        }
    }

    /// Forget values whose time has passed, so many at most.
    fn sweep(&mut self, now_ms: u64, at_most: usize, changes: &mut Vec<Change>) {
        for _ in 0..at_most {
            match self.expiring.first() {
                Some((until_ms, plugin, key)) if *until_ms <= now_ms => {
                    let (plugin, key) = (plugin.clone(), key.clone());
                    self.forget(&plugin, &key, changes);
                }
                _ => return,
            }
        }
    }

    /// Whether there was anything to forget.
    fn forget(&mut self, plugin: &PluginId, key: &str, changes: &mut Vec<Change>) -> bool {
        let Some(space) = self.spaces.get_mut(plugin) else { return false };
        let Some(kept) = space.kept.remove(key) else { return false };
        let bytes = bytes_of(key, &kept.value);
        space.bytes -= bytes;
        self.bytes -= bytes;
        if let Some(until_ms) = kept.until_ms {
            self.expiring.remove(&(until_ms, plugin.clone(), key.to_owned()));
        }
        changes.push((plugin.clone(), Some(key.to_owned())));
        true
    }

    fn put(
        &mut self,
        plugin: &PluginId,
        key: &str,
        value: Bytes,
        until_ms: Option<u64>,
        changes: &mut Vec<Change>,
    ) -> u64 {
        let version = self.spaces.get(plugin).map_or(0, |space| space.newest) + 1;
        self.forget(plugin, key, changes);
        self.keep(plugin, key, Kept { value, version, until_ms });
        changes.push((plugin.clone(), Some(key.to_owned())));
        changes.push((plugin.clone(), None));
        version
    }

    /// Put a value where there is none.
    fn keep(&mut self, plugin: &PluginId, key: &str, kept: Kept) {
        let space = self.spaces.entry(plugin.clone()).or_default();
        space.newest = space.newest.max(kept.version);
        space.bytes += bytes_of(key, &kept.value);
        self.bytes += bytes_of(key, &kept.value);
        if let Some(until_ms) = kept.until_ms {
            self.expiring.insert((until_ms, plugin.clone(), key.to_owned()));
        }
        space.kept.insert(key.to_owned(), kept);
    }
}

impl Kept {
    fn lives(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until_ms| until_ms > now_ms)
    }
}

fn bytes_of(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

/// A number as sums are written, and in no other form.
fn decimal(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

/// The rows. A key is `tenant/plugin` or `tenant/plugin/key`; neither part before the key has a
/// slash.
impl Kv {
    fn space(&self, owner: &KvOwner) -> Option<&Space> {
        self.tenants.get(&owner.tenant)?.spaces.get(&owner.plugin)
    }

    pub(super) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for (tenant, change) in std::mem::take(&mut self.touched) {
            rows.push(self.row(&tenant, &change));
        }
    }

    pub(super) fn all_rows(&self, rows: &mut Vec<Row>) {
        for (tenant, holdings) in &self.tenants {
            for (plugin, space) in &holdings.spaces {
                let keys = space.kept.keys().map(|key| Some(key.clone()));
                let changes = keys.chain([None]).map(|key| (plugin.clone(), key));
                rows.extend(changes.map(|change| self.row(tenant, &change)));
            }
        }
    }

    fn row(&self, tenant: &TenantName, (plugin, key): &Change) -> Row {
        let space = self.tenants.get(tenant).and_then(|held| held.spaces.get(plugin));
        let Some(key) = key else {
            let newest = space.map(|space| Bytes::copy_from_slice(&space.newest.to_be_bytes()));
            let key =
                [&[tag::KV_NEWEST], format!("{tenant}/{}", plugin.stored()).as_bytes()].concat();
            return Row { key, value: newest };
        };
        let kept = space.and_then(|space| space.kept.get(key));
        let value = kept.map(|kept| {
            let until_ms = kept.until_ms.unwrap_or(0);
            let head = [kept.version.to_be_bytes(), until_ms.to_be_bytes()].concat();
            Bytes::from([&head[..], &kept.value].concat())
        });
        let key =
            [&[tag::KV_VALUE], format!("{tenant}/{}/{key}", plugin.stored()).as_bytes()].concat();
        Row { key, value }
    }

    /// Take a row back.
    pub(super) fn restore(&mut self, row_tag: u8, rest: &[u8], value: &[u8]) -> Result<(), String> {
        let rest = std::str::from_utf8(rest).map_err(|e| e.to_string())?;
        let (tenant, rest) = rest.split_once('/').ok_or("its key names no plugin")?;
        let (plugin, key) = match rest.split_once('/') {
            Some((plugin, key)) => (plugin, Some(key)),
            None => (rest, None),
        };
        let tenant: TenantName = tenant.parse().map_err(|e| format!("{e}"))?;
        let plugin = PluginId::from_stored(plugin).map_err(|e| e.to_string())?;
        let holdings = self.tenants.entry(tenant).or_default();
        let word = |at: usize| {
            let word = value.get(at..at + 8).and_then(|word| word.try_into().ok());
            word.map(u64::from_be_bytes).ok_or("it is too short")
        };
        match (row_tag, key) {
            (tag::KV_NEWEST, None) => {
                let newest = word(0)?;
                let space = holdings.spaces.entry(plugin).or_default();
                space.newest = space.newest.max(newest);
            }
            (tag::KV_VALUE, Some(key)) => {
                let (version, until_ms) = (word(0)?, word(8)?);
                let value = value.get(ROW_HEAD_BYTES..).unwrap_or_default();
                let kept = Kept {
                    value: Bytes::copy_from_slice(value),
                    version,
                    until_ms: (until_ms > 0).then_some(until_ms),
                };
                holdings.keep(&plugin, key, kept);
            }
            _ => return Err("its key is not of its kind".into()),
        }
        Ok(())
    }
}
