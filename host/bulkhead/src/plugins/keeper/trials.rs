//! Versions that canaries try: they have their share of tasks once they have passed the gates,
//! for as long as the canary is in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Keeper;
use super::fleet::{Follow, Place, State};
use crate::clock::unix_ms;
use crate::fleet::Canary;
use crate::plugins::{Identity, TASK_TYPE_TAKEN};

impl Follow {
    /// The version of each canary that is in force.
    pub(super) fn trying(&self) -> BTreeMap<Place, Arc<Canary>> {
        let canaries =
            self.fleet.canaries.keys().filter_map(|it| Some((it, self.fleet.canary(it)?)));
        let of = |(identity, canary): (&Identity, &Canary)| {
            ((identity.clone(), canary.digest.0), Arc::new(canary.clone()))
        };
        canaries.map(of).collect()
    }
}

impl Keeper {
    /// Let canaries' versions have their shares that have passed the gates, and end the trials of
    /// those that are not in force any more.
    pub(super) fn take_up_trials(
        &self,
        follow: &mut Follow,
        trying: &BTreeMap<Place, Arc<Canary>>,
    ) {
        let registry = self.loader.registry.clone();
        for trial in registry.trials() {
            let identity = &trial.serving.identity;
            let place = (identity.clone(), trial.serving.plugin.digest().0);
            let refused = matches!(
                follow.judged.get(&place).map(|judged| &judged.state),
                Some(State::Rejected { .. })
            );
            match trying.get(&place).filter(|_| !refused) {
                Some(canary) => registry.keep_trial(canary),
                None => registry.end_trial(identity),
            }
        }
        for (place, canary) in trying {
            let Some(judged) = follow.judged.get_mut(place) else { continue };
            // There must be something that it is judged against.
            let serves = registry.serving(&place.0).is_some();
            let State::Ready(plugin) = &mut judged.state else { continue };
            if !serves {
                continue;
            }
            // Without a plugin, it is what serves here already.
            let Some(plugin) = plugin.take() else { continue };
            let (plugin, remembering) = *plugin;
            judged.at = unix_ms();
            judged.state = match registry.begin_trial(canary, plugin, remembering, unix_ms()) {
                Ok(()) => {
                    let (shown, digest) = (place.0.to_string(), judged.version.digest.short());
                    tracing::info!(plugin = shown, digest, "canary has its share of tasks");
                    State::Trying
                }
                Err((gate, reason)) => {
                    let (shown, digest) = (place.0.to_string(), judged.version.digest.short());
                    if gate == TASK_TYPE_TAKEN {
                        // It is tried every few seconds.
                        tracing::debug!(plugin = shown, digest, gate, reason, "canary waits");
                    } else {
                        tracing::warn!(
                            plugin = shown,
                            digest,
                            gate,
                            reason,
                            "canary takes no part"
                        );
                    }
                    State::refused(gate, reason)
                }
            };
        }
        let canaries = follow.fleet.canaries.iter();
        let open = canaries.filter(|(_, canary)| canary.verdict.is_none());
        registry.tell_canaries(open.map(|(identity, _)| identity.clone()).collect());
    }
}
