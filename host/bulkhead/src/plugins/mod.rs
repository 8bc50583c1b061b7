//! The plugins that serve tasks now, and how they change while the host runs.
//!
//! Each belongs to the operator or to a tenant, and is known by its owner and its name. A lookup
//! is one atomic load; an attempt holds the version it started with. A version
//! that fails a gate never replaces one that works.

mod events;
mod folder;
mod identity;
mod keeper;
mod loader;
mod quota;
mod serving;
mod settings;
mod table;
mod tenant_folders;
mod tenants;
mod trial;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bulkhead_core::UnixMs;
use bulkhead_queue::{PluginInfo, PushedVersion, RejectedVersion};
use bulkhead_sandbox::{LoadTimes, Plugin};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::manifest::Remembering;
use crate::metrics::Metrics;

pub use identity::Identity;
pub(crate) use identity::Owner;
pub(crate) use keeper::{Folders, Keeper};
pub(crate) use loader::{TRUST, trusts_pushed};
pub(crate) use serving::Serving;
pub use settings::{GrantsFrom, LiveSettings, PluginSettings, SettingsWriter, Values};
use table::Contests;
pub(crate) use table::Table;
pub use tenants::{EVERY, PluginQuota, Sharing, TenantPlugins};
pub(crate) use trial::Trial;
use trials::TASK_TYPE_LOST;

/// The gate between two plugins that want one task type.
const TASK_TYPE_TAKEN: &str = "task_type_taken";

/// The plugins of a host.
pub(crate) struct Registry {
    table: ArcSwap<Table>,
    state: Mutex<State>,
    settings: LiveSettings,
    metrics: Metrics,
    changes: watch::Sender<u64>,
    news: watch::Sender<u64>,
    rescans: watch::Sender<u64>,
    canaries: watch::Sender<BTreeSet<Identity>>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<Identity, Known>,
    /// Whose tasks shared plugins do not get, and why.
    contests: Contests,
}

#[derive(Default)]
struct Known {
    serving: Option<Arc<Serving>>,
    rejected: Option<RejectedVersion>,
    /// Whether what serves was pushed.
    by_fleet: bool,
    /// The version that is on trial beside it.
    trial: Option<Arc<Trial>>,
    /// Whether there is a file that does not count therefore.
    shadowed: bool,
    pushed: Vec<PushedVersion>,
}

impl Known {
    fn is_nothing(&self) -> bool {
        self.serving.is_none() && self.rejected.is_none() && self.pushed.is_empty()
    }
}

impl Registry {
    /// `settings` say who shares what.
    pub(crate) fn new(settings: LiveSettings, metrics: Metrics) -> Self {
        Self {
            table: ArcSwap::default(),
            state: Mutex::default(),
            settings,
            metrics,
            changes: watch::channel(0).0,
            news: watch::channel(0).0,
            rescans: watch::channel(0).0,
            canaries: watch::channel(BTreeSet::new()).0,
        }
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// Every version that serves.
    pub(crate) fn serving_all(&self) -> Vec<Arc<Serving>> {
        self.state.lock().known.values().filter_map(|known| known.serving.clone()).collect()
    }

    /// Learn of changes of the table.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Learn of changes of what [`Registry::info`] says.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Learn of completed looks through the folders.
    pub(crate) fn rescans(&self) -> watch::Receiver<u64> {
        self.rescans.subscribe()
    }

    /// How many plugins serve, and of how many the newest file was refused.
    pub(crate) fn count(&self) -> (u64, u64) {
        let state = self.state.lock();
        let count =
            |counts: fn(&&Known) -> bool| state.known.values().filter(counts).count() as u64;
        (count(|known| known.serving.is_some()), count(|known| known.rejected.is_some()))
    }

    /// A file was taken through the gates.
    fn loaded(&self, result: &str) {
        self.metrics.families().plugin_loads.of(&[result]).add(1);
    }

    /// A file was compiled, or found compiled.
    fn compiled(&self, times: LoadTimes) {
        let cached = if times.cached { "true" } else { "false" };
        let took_us = u64::try_from(times.compile.as_micros()).unwrap_or(u64::MAX);
        self.metrics.families().compile.of(&[cached]).observe(took_us);
    }

    /// What each plugin is doing.
    pub(crate) fn info(&self) -> Vec<PluginInfo> {
        let state = self.state.lock();
        let settings = self.settings.now();
        let describe = |serving: &Arc<Serving>| {
            let contested = state.contests.get(&serving.identity).into_iter().flatten();
            let tenants = served(&serving.identity, &settings);
            serving.info(tenants, contested.cloned().collect())
        };
        let info = |(identity, known): (&Identity, &Known)| PluginInfo {
            name: identity.to_string(),
            owner: identity.owner.as_ref().map(ToString::to_string),
            serving: known.serving.as_ref().map(describe),
            rejected: known.rejected.clone(),
            by_fleet: known.by_fleet,
            shadowed: known.shadowed,
            pushed: known.pushed.clone(),
        };
        state.known.iter().map(info).collect()
    }

    /// Let a new version serve, from a folder or, if `by_fleet`, one that was pushed. If another
    /// plugin of its owner serves one of its types already, the version is rejected.
    fn serve(
        &self,
        identity: Identity,
        plugin: Plugin,
        remembering: Remembering,
        by_fleet: bool,
        now: UnixMs,
    ) -> Result<(), String> {
        let mut state = self.state.lock();
        state.is_free_for(&identity, &plugin)?;
        let known = state.known.entry(identity.clone()).or_default();
        let old = known.serving.as_deref();
        known.serving = Some(Serving::after(old, identity, plugin, remembering, now).into());
        known.try_anew();
        (known.rejected, known.by_fleet) = (None, by_fleet);
        self.publish(&mut state);
        Ok(())
    }

    /// The version that serves was pushed as well, and serves as a pushed one from now on.
    fn adopt(&self, identity: &Identity) {
        let mut state = self.state.lock();
        if let Some(known) = state.known.get_mut(identity) {
            (known.rejected, known.by_fleet) = (None, true);
            self.news.send_modify(|n| *n += 1);
        }
    }

    /// Whether the version that serves was pushed.
    fn is_by_fleet(&self, identity: &Identity) -> bool {
        self.state.lock().known.get(identity).is_some_and(|known| known.by_fleet)
    }

    /// The plugins of which a pushed version serves.
    fn by_fleet(&self) -> Vec<Identity> {
        let state = self.state.lock();
        let by_fleet = state.known.iter().filter(|(_, known)| known.by_fleet);
        by_fleet.map(|(identity, _)| identity.clone()).collect()
    }

    /// These plugins have files that do not count.
    fn tell_shadowed(&self, shadowed: &BTreeSet<Identity>) {
        let mut state = self.state.lock();
        let mut changed = false;
        for (identity, known) in &mut state.known {
            let now = shadowed.contains(identity);
            changed |= std::mem::replace(&mut known.shadowed, now) != now;
        }
        if changed {
            self.news.send_modify(|n| *n += 1);
        }
    }

    /// This is what there is of pushed versions.
    fn tell_pushed(&self, mut pushed: BTreeMap<Identity, Vec<PushedVersion>>) {
        let mut state = self.state.lock();
        let mut changed = false;
        for (identity, known) in &mut state.known {
            let now = pushed.remove(identity).unwrap_or_default();
            changed |= known.pushed != now;
            known.pushed = now;
        }
        for (identity, pushed) in pushed {
            changed = true;
            state.known.insert(identity, Known { pushed, ..Known::default() });
        }
        state.known.retain(|_, known| !known.is_nothing());
        if changed {
            self.news.send_modify(|n| *n += 1);
        }
    }

    /// Why the newest file does not serve; whether that is anything new.
    fn reject(&self, identity: &Identity, rejected: RejectedVersion) -> bool {
        let mut state = self.state.lock();
        let known = state.known.entry(identity.clone()).or_default();
        let same = |old: &RejectedVersion| {
            (old.digest, &old.gate, &old.reason)
                == (rejected.digest, &rejected.gate, &rejected.reason)
        };
        if known.rejected.as_ref().is_some_and(same) {
            return false;
        }
        known.rejected = Some(rejected);
        self.news.send_modify(|n| *n += 1);
        true
    }

    /// A version that served serves no more, because its file is refused as it is.
    fn withdraw(&self, identity: &Identity) {
        let mut state = self.state.lock();
        let Some(known) = state.known.get_mut(identity) else { return };
        known.by_fleet = false;
        known.trial = None;
        if known.serving.take().is_some() {
            self.publish(&mut state);
        }
    }

    /// The newest file is the version that serves.
    fn accept(&self, identity: &Identity) {
        let mut state = self.state.lock();
        if state.known.get_mut(identity).and_then(|known| known.rejected.take()).is_some() {
            self.news.send_modify(|n| *n += 1);
        }
    }

    /// Nothing of the plugin is there any more but what was pushed and does not serve. Whether
    /// there was.
    fn remove(&self, identity: &Identity) -> bool {
        let mut state = self.state.lock();
        let Some(known) = state.known.get_mut(identity) else { return false };
        if known.serving.is_none() && known.rejected.is_none() {
            return false;
        }
        let pushed = std::mem::take(&mut known.pushed);
        *known = Known { pushed, ..Known::default() };
        if known.is_nothing() {
            state.known.remove(identity);
        }
        self.publish(&mut state);
        true
    }

    /// Share plugins as the settings say now.
    fn reshare(&self) {
        self.publish(&mut self.state.lock());
    }

    /// The owner's plugins that want a task type which another one had.
    fn wanting_a_type(&self, owner: &Owner) -> Vec<String> {
        let state = self.state.lock();
        let wants = |known: &Known| {
            known.rejected.as_ref().is_some_and(|rejected| rejected.gate == TASK_TYPE_TAKEN)
        };
        let of_owner = state.of_owner(owner).filter(|(_, known)| wants(known));
        of_owner.map(|(identity, _)| identity.name.clone()).collect()
    }

    fn serving(&self, identity: &Identity) -> Option<Arc<Serving>> {
        self.state.lock().known.get(identity)?.serving.clone()
    }

    fn publish(&self, state: &mut State) {
        let serving = state.known.values().filter_map(|known| known.serving.as_ref());
        let (table, contests) = Table::of(serving, &self.settings.now());
        let table = table.with(state.known.values().filter_map(|known| known.trial.as_ref()));
        for (identity, reasons) in &contests {
            if state.contests.get(identity) != Some(reasons) {
                let reasons: Vec<&str> = reasons.iter().map(String::as_str).collect();
                tracing::warn!(plugin = %identity, reason = reasons.join("; "),
                    "plugin is shared, and another one comes before it");
            }
        }
        state.contests = contests;
        self.table.store(Arc::new(table));
        self.changes.send_modify(|n| *n += 1);
        self.news.send_modify(|n| *n += 1);
    }

    fn rescanned(&self) {
        self.rescans.send_modify(|n| *n += 1);
    }
}

impl State {
    /// Whether no other plugin of its owner serves a type of this one; which does, if one does.
    fn is_free_for(&self, identity: &Identity, plugin: &Plugin) -> Result<(), String> {
        for (other, known) in self.of_owner(&identity.owner) {
            let Some(other_serving) = known.serving.as_ref().filter(|_| other != identity) else {
                continue;
            };
            let handlers = &plugin.description().handlers;
            let taken =
                handlers.iter().find(|h| other_serving.plugin.handler(&h.task_type).is_some());
            if let Some(taken) = taken {
                return Err(format!(
                    "the task type `{}` is served by the plugin `{other}` already; rename it \
                     with `task_types` in `{}.toml` or remove one of the two",
                    taken.task_type, identity.name
                ));
            }
        }
        Ok(())
    }

    /// An owner's plugins, by name.
    fn of_owner(&self, owner: &Owner) -> impl Iterator<Item = (&Identity, &Known)> {
        let first = Identity { owner: owner.clone(), name: String::new() };
        self.known.range(first..).take_while(move |(identity, _)| identity.owner == *owner)
    }
}

/// Whose tasks a plugin serves, as far as the operator says: all tenants' are written `*`.
fn served(identity: &Identity, settings: &PluginSettings) -> Vec<String> {
    let Some(owner) = &identity.owner else { return vec![EVERY.to_owned()] };
    let mut tenants = vec![owner.to_string()];
    match settings.sharing(owner, &identity.name) {
        None => {}
        Some(Sharing::Everyone) => tenants.push(EVERY.to_owned()),
        Some(Sharing::With(others)) => {
            tenants.extend(others.iter().filter(|other| *other != owner).map(ToString::to_string));
        }
    }
    tenants
}

#[cfg(test)]
mod tests;
