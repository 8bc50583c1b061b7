//! What follows from what files came to at the gates: they serve, in the order of their names,
//! or are refused, or wait.

use std::time::{Duration, Instant};

use bulkhead_core::Digest;
use bulkhead_queue::RejectedVersion;
use bulkhead_sandbox::Gate;

use super::{Keeper, Loading};
use crate::clock::unix_ms;
use crate::plugins::loader::{Examined, Refusal, TRUST};
use crate::plugins::{Identity, Owner, TASK_TYPE_TAKEN};

/// How long a loaded plugin waits for those before it.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

impl Keeper {
    /// Remember what a load came to.
    pub(super) fn note(&mut self, joined: Result<Examined, tokio::task::JoinError>) {
        let examined = match joined {
            Ok(examined) => examined,
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(%error, "loading a plugin ended unexpectedly");
                // Whose it was is not said: it is the one whose task is over without a word.
                let over =
                    |loading: &Loading| loading.examined.is_none() && loading.task.is_finished();
                self.loading.retain(|_, loading| !over(loading));
                return;
            }
        };
        if let Some(loading) = self.loading.get_mut(&examined.identity)
            && loading.since <= examined.began
        {
            loading.examined = Some(examined);
        }
    }

    /// Let loaded plugins serve, each owner's in the order of their names, as far as none of its
    /// before them is worth waiting for.
    pub(super) fn take_up(&mut self) {
        let mut ready = Vec::new();
        let mut held: Option<&Owner> = None;
        for (identity, loading) in &self.loading {
            if held == Some(&identity.owner) {
                continue;
            }
            if loading.examined.is_some() {
                ready.push(identity.clone());
            } else if loading.since.elapsed() < PATIENCE {
                held = Some(&identity.owner);
            }
        }
        for identity in ready {
            let examined = self.loading.remove(&identity).and_then(|mut l| l.examined.take());
            if let Some(examined) = examined {
                self.conclude(examined);
            }
        }
    }

    /// Act on what a file came to.
    fn conclude(&mut self, examined: Examined) {
        let Examined { identity, digest, began, verdict } = examined;
        if self.is_shadowed(&identity) {
            return;
        }
        let unchanged =
            self.folders.get(&identity.owner).is_some_and(|f| f.unchanged(&identity.name));
        let registry = &self.loader.registry;
        match verdict {
            Ok(None) => {
                registry.loaded("unchanged");
                registry.accept(&identity);
            }
            // What was read may be half of what is being written.
            _ if !unchanged => self.doubt(&identity),
            Ok(Some((plugin, remembering))) => {
                let compile_ms = plugin.load_times().compile.as_millis();
                let cached = plugin.load_times().cached;
                registry.compiled(plugin.load_times());
                let shown = identity.to_string();
                match registry.serve(identity.clone(), plugin, remembering, false, unix_ms()) {
                    Ok(()) => {
                        registry.loaded("accepted");
                        tracing::info!(plugin = shown, digest = %digest.short(), compile_ms, cached,
                            total_ms = began.elapsed().as_millis(), "plugin serves");
                    }
                    Err(reason) => self.refuse(&identity, digest, (TASK_TYPE_TAKEN.into(), reason)),
                }
            }
            Err(refusal) => {
                let serving = registry.serving(&identity);
                let is_this = serving.is_some_and(|serving| serving.plugin.digest() == digest);
                if refusal.0 == TRUST && is_this {
                    registry.withdraw(&identity);
                }
                if refusal.0 == Gate::Quota.as_str() {
                    let again = self.time_for(&identity);
                    self.waiting.insert(identity.clone(), again);
                }
                self.refuse(&identity, digest, refusal);
            }
        }
    }

    /// When a plugin that waits for the compiler's time is to be tried again.
    pub(super) fn time_for(&self, identity: &Identity) -> Option<Instant> {
        let (tenant, now) = (identity.owner.as_ref()?, Instant::now());
        let bound = self.settings.now().plugin_quota(tenant).compile_per_hour?;
        let room_in = self.spent.get(tenant)?.room_in(now, bound);
        Some(now + room_in.unwrap_or_default())
    }

    pub(super) fn refuse(&self, identity: &Identity, digest: Digest, (gate, reason): Refusal) {
        let registry = &self.loader.registry;
        registry.loaded(&gate);
        let rejected = RejectedVersion { digest, gate, reason, at: unix_ms() };
        let (gate, reason) = (rejected.gate.clone(), rejected.reason.clone());
        if !registry.reject(identity, rejected) {
            return;
        }
        let keeps = registry.serving(identity).map(|old| old.plugin.digest().short());
        tracing::warn!(
            plugin = %identity.to_string().escape_debug(), gate,
            reason = %reason.escape_debug(),
            serving = keeps.as_deref().unwrap_or("none"),
            "plugin file refused"
        );
    }
}
