//! Which versions are on trial on this host, and beside which that serve.
//!
//! A trial is of one round against one version: when either changes, counting begins anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use bulkhead_core::{Digest, UnixMs};
use bulkhead_sandbox::Plugin;
use tokio::sync::watch;

use super::{Identity, Known, Registry, Serving, TASK_TYPE_TAKEN, Trial};
use crate::fleet::Canary;
use crate::manifest::Remembering;

/// The gate before a version that does not handle all that the one does which serves.
pub(super) const TASK_TYPE_LOST: &str = "task_type_lost";

impl Registry {
    /// Let a canary's version have its share of tasks beside the version that serves; the gate
    /// and the reason, if it cannot.
    pub(super) fn begin_trial(
        &self,
        canary: &Arc<Canary>,
        plugin: Plugin,
        remembering: Remembering,
        now: UnixMs,
    ) -> Result<(), (&'static str, String)> {
        let identity = canary.identity();
        let mut state = self.state.lock();
        state.is_free_for(&identity, &plugin).map_err(|reason| (TASK_TYPE_TAKEN, reason))?;
        let known = state.known.entry(identity.clone()).or_default();
        known.keeps_all_types(&plugin).map_err(|reason| (TASK_TYPE_LOST, reason))?;
        let old = known.serving.as_deref();
        let serving = Serving::after(old, identity, plugin, remembering, now);
        known.begin_trial(canary, serving.into());
        self.publish(&mut state);
        Ok(())
    }

    /// A canary goes on, perhaps in another round.
    pub(super) fn keep_trial(&self, canary: &Arc<Canary>) {
        let mut state = self.state.lock();
        let Some(known) = state.known.get_mut(&canary.identity()) else { return };
        let Some(trial) = known.trial.clone() else { return };
        if !trial.canary.is_same_round(canary) {
            known.begin_trial(canary, trial.serving.clone());
            self.publish(&mut state);
        }
    }

    /// Nothing of this plugin is on trial any more.
    pub(super) fn end_trial(&self, identity: &Identity) {
        let mut state = self.state.lock();
        if state.known.get_mut(identity).and_then(|known| known.trial.take()).is_some() {
            self.publish(&mut state);
        }
    }

    /// The version that was on trial serves from now on; whether it is this one that was. If
    /// another plugin of its owner has come to serve one of its types meanwhile, it does not.
    pub(super) fn promote_trial(
        &self,
        identity: &Identity,
        digest: Digest,
    ) -> Result<bool, String> {
        let mut state = self.state.lock();
        let trial = state.known.get(identity).and_then(|known| known.trial.clone());
        let Some(trial) = trial.filter(|trial| trial.serving.plugin.digest() == digest) else {
            return Ok(false);
        };
        state.is_free_for(identity, &trial.serving.plugin)?;
        let Some(known) = state.known.get_mut(identity) else { return Ok(false) };
        known.serving = Some(trial.serving.clone());
        (known.trial, known.rejected, known.by_fleet) = (None, None, true);
        self.publish(&mut state);
        Ok(true)
    }

    /// What is on trial here.
    pub(crate) fn trials(&self) -> Vec<Arc<Trial>> {
        self.state.lock().known.values().filter_map(|known| known.trial.clone()).collect()
    }

    /// The canaries that have no verdict yet, whether or not they are in force here.
    pub(super) fn tell_canaries(&self, open: BTreeSet<Identity>) {
        self.canaries.send_if_modified(|known| {
            let changed = *known != open;
            *known = open;
            changed
        });
    }

    /// Learn of canaries that have no verdict yet.
    pub(crate) fn canaries(&self) -> watch::Receiver<BTreeSet<Identity>> {
        self.canaries.subscribe()
    }
}

impl Known {
    /// Whether a version handles every type that the one does which serves.
    fn keeps_all_types(&self, plugin: &Plugin) -> Result<(), String> {
        let Some(serving) = &self.serving else {
            return Err("no version serves here that it could be judged against".to_owned());
        };
        let mut handlers = serving.plugin.description().handlers.iter();
        match handlers.find(|handler| plugin.handler(&handler.task_type).is_none()) {
            None => Ok(()),
            Some(lost) => Err(format!(
                "it does not handle the task type `{}`, which the version that serves does; such \
                 a version takes no part in a canary, for its tasks would wait once it is \
                 promoted: activate it if that is meant",
                lost.task_type
            )),
        }
    }

    fn begin_trial(&mut self, canary: &Arc<Canary>, serving: Arc<Serving>) {
        let Some(base) = &self.serving else { return };
        let base = base.plugin.digest();
        let trial = Trial::new(canary.clone(), serving, base, self.trial.as_deref());
        self.trial = Some(Arc::new(trial));
    }

    /// Another version serves: what was counted was counted against the one before.
    pub(super) fn try_anew(&mut self) {
        if let Some(trial) = self.trial.clone() {
            self.begin_trial(&trial.canary, trial.serving.clone());
        }
    }
}
