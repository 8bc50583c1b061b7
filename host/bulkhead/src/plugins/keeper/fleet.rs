//! Pushed plugins: what is active of them serves, and the newest are taken through the gates
//! before anybody activates them.
//!
//! The broker is asked on its signal, and from time to time since signals get lost. A version
//! that fails a gate never replaces one that works, whether that was pushed or is a file; from the
//! moment that a pushed one serves, a file of the same name does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{TenantName, UnixMs};
use bulkhead_queue::{Broker, PushedState, PushedVersion, QueueError};
use bulkhead_sandbox::{Gate, Plugin};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::Keeper;
use super::verdict::PATIENCE;
use crate::clock::unix_ms;
use crate::fleet::{Fleet, Version, read};
use crate::manifest::Remembering;
use crate::plugins::folder::Folder;
use crate::plugins::loader::{Candidate, Examined, FETCH, From, Refusal, TRUST};
use crate::plugins::{Identity, Owner, TASK_TYPE_LOST, TASK_TYPE_TAKEN};

/// How often the broker is asked besides its signals.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How soon it is asked again that did not answer, and a version is tried again whose types were
/// taken.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long a start waits to learn what was pushed.
const LEARN_PATIENCE: Duration = Duration::from_secs(5);

/// A version, among those of all plugins.
pub(super) type Place = (Identity, [u8; 32]);

/// What was pushed, and how far it has come here.
pub(super) struct Follow {
    broker: Arc<dyn Broker>,
    pub(super) fleet: Fleet,
    /// The versions that are wanted: active ones, the newest, and canaries' ones.
    pub(super) judged: BTreeMap<Place, Judged>,
    jobs: JoinSet<Job>,
    reading: bool,
    /// Something changed while the broker was being asked.
    read_again: bool,
    /// Whether the broker has ever answered.
    learnt: bool,
    next_look: Instant,
}

/// What came of work beside the keeper's loop.
pub(super) enum Job {
    Read(Result<Fleet, QueueError>),
    Examined(Box<Version>, Instant, Box<Examined>),
}

pub(super) struct Judged {
    pub(super) version: Version,
    since: Instant,
    pub(super) at: UnixMs,
    pub(super) state: State,
}

pub(super) enum State {
    Loading(AbortHandle),
    /// It has passed the gates; without a plugin, it is the file that serves already.
    Ready(Option<Box<(Plugin, Remembering)>>),
    Serving,
    /// It is on trial.
    Trying,
    Rejected {
        refusal: Refusal,
        /// When it is tried again without having changed.
        again: Option<Instant>,
    },
}

impl State {
    fn rejected_for_now(reason: &str) -> Self {
        let refusal = (FETCH.to_owned(), format!("{reason}; it is fetched again"));
        Self::Rejected { refusal, again: Some(Instant::now() + LOOK_AGAIN) }
    }

    /// It has passed the gates of the sandbox, and does not go with what serves here.
    pub(super) fn refused(gate: &str, reason: String) -> Self {
        // Who has the type may go; a version does not come to handle other types.
        let again = (gate == TASK_TYPE_TAKEN).then(|| Instant::now() + LOOK_AGAIN);
        Self::Rejected { refusal: (gate.to_owned(), reason), again }
    }
}

impl Drop for Judged {
    fn drop(&mut self) {
        if let State::Loading(task) = &self.state {
            task.abort();
        }
    }
}

impl Follow {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Self {
        Self {
            broker,
            fleet: Fleet::default(),
            judged: BTreeMap::new(),
            jobs: JoinSet::new(),
            reading: false,
            read_again: false,
            learnt: false,
            next_look: Instant::now() + LOOK_EVERY,
        }
    }

    /// A tenant's pushed plugins that are wanted here, with the bytes of the largest version.
    pub(super) fn sizes(&self, tenant: &TenantName) -> BTreeMap<&str, u64> {
        let mut sizes = BTreeMap::new();
        for (identity, wanted) in self.fleet.wanted() {
            if identity.owner.as_ref() == Some(tenant) {
                let bytes = wanted.versions().map(|version| version.size_bytes).max().unwrap_or(0);
                sizes.insert(identity.name.as_str(), bytes);
            }
        }
        sizes
    }

    fn wanted(&self) -> BTreeMap<Place, Version> {
        let all = self.fleet.wanted().flat_map(|(identity, wanted)| {
            let versions = wanted.versions();
            versions.map(move |version| ((identity.clone(), version.digest.0), version.clone()))
        });
        all.collect()
    }

    /// The active version of each plugin that has one.
    fn active(&self) -> BTreeMap<Identity, Place> {
        let all = self.fleet.wanted().filter_map(|(identity, wanted)| {
            Some((identity.clone(), (identity.clone(), wanted.active?.digest.0)))
        });
        all.collect()
    }

    fn described(&self) -> BTreeMap<Identity, Vec<PushedVersion>> {
        let mut all: BTreeMap<Identity, Vec<PushedVersion>> = BTreeMap::new();
        for ((identity, _), judged) in &self.judged {
            let (state, refusal) = match &judged.state {
                State::Loading(_) => (PushedState::Loading, None),
                State::Ready(_) => (PushedState::Ready, None),
                State::Serving => (PushedState::Serving, None),
                State::Trying => (PushedState::Canary, None),
                State::Rejected { refusal, .. } => (PushedState::Rejected, Some(refusal.clone())),
            };
            let (gate, reason) = refusal.unzip();
            let (digest, at) = (judged.version.digest, judged.at);
            let described = PushedVersion { digest, state, gate, reason, at };
            all.entry(identity.clone()).or_default().push(described);
        }
        all
    }
}

/// The next work that is done; none when it is time to ask the broker. Never, if nothing is
/// followed.
pub(super) async fn next_turn(follow: &mut Option<Follow>) -> Option<Result<Job, JoinError>> {
    let Some(follow) = follow else { return std::future::pending().await };
    let look = tokio::time::sleep_until(follow.next_look.into());
    if follow.jobs.is_empty() {
        look.await;
        return None;
    }
    tokio::select! {
        done = follow.jobs.join_next() => done,
        () = look => None,
    }
}

impl Keeper {
    /// Ask the broker what was pushed.
    pub(super) fn read_fleet(&mut self) {
        let Some(follow) = &mut self.follow else { return };
        follow.next_look = Instant::now() + LOOK_EVERY;
        if std::mem::replace(&mut follow.reading, true) {
            follow.read_again = true;
            return;
        }
        let broker = follow.broker.clone();
        follow.jobs.spawn(async move { Job::Read(read(broker.archive()).await) });
    }

    /// Wait until the broker has said once what was pushed, unless it takes long.
    pub(super) async fn learn_fleet(&mut self) {
        let deadline = Instant::now() + LEARN_PATIENCE;
        while self.follow.as_ref().is_some_and(|follow| !follow.learnt && follow.reading) {
            tokio::select! {
                turn = next_turn(&mut self.follow) => self.turn_fleet(turn),
                () = tokio::time::sleep_until(deadline.into()) => return,
            }
        }
    }

    /// Whether a pushed version is on its way.
    pub(super) fn fleet_loads(&self) -> bool {
        self.follow.as_ref().is_some_and(|follow| {
            let loads = |judged: &Judged| matches!(judged.state, State::Loading(_));
            follow.judged.values().any(loads)
        })
    }

    /// Whether a file of this name does not count: a pushed version serves in its place, or is
    /// about to.
    pub(super) fn is_shadowed(&self, identity: &Identity) -> bool {
        let Some(follow) = &self.follow else { return false };
        if self.loader.registry.is_by_fleet(identity) {
            return true;
        }
        let active = follow.active().remove(identity);
        active.is_some_and(|place| match follow.judged.get(&place).map(|judged| &judged.state) {
            Some(State::Rejected { .. }) => false,
            Some(_) | None => true,
        })
    }

    /// What is granted or trusted has changed, or somebody asked for a look.
    pub(super) fn judge_fleet_again(&mut self, all: bool) {
        let Some(follow) = &mut self.follow else { return };
        let stays = |judged: &Judged| match judged.state {
            State::Loading(_) | State::Rejected { .. } => false,
            State::Ready(_) | State::Serving => !all,
            // It goes on until it is judged anew.
            State::Trying => !all,
        };
        follow.judged.retain(|_, judged| stays(judged));
        self.follow_fleet();
        self.read_fleet();
    }

    /// Take note of what came of work, or ask the broker.
    pub(super) fn turn_fleet(&mut self, turn: Option<Result<Job, JoinError>>) {
        let Some(job) = turn else {
            self.follow_fleet();
            return self.read_fleet();
        };
        let Some(follow) = &mut self.follow else { return };
        match job {
            Ok(Job::Read(read)) => {
                follow.reading = false;
                match read {
                    Ok(fleet) => (follow.fleet, follow.learnt) = (fleet, true),
                    Err(error) => {
                        tracing::debug!(%error, "cannot look at what was pushed");
                        follow.next_look = Instant::now() + LOOK_AGAIN;
                    }
                }
                if std::mem::take(&mut follow.read_again) {
                    self.read_fleet();
                }
            }
            Ok(Job::Examined(version, began, examined)) => self.judge(&version, began, *examined),
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(%error, "loading a pushed plugin ended unexpectedly");
                let over = |judged: &Judged| matches!(&judged.state, State::Loading(task) if task.is_finished());
                follow.judged.retain(|_, judged| !over(judged));
                follow.next_look = Instant::now() + LOOK_AGAIN;
                return;
            }
        }
        self.follow_fleet();
    }

    /// Act on what a version came to at the gates.
    fn judge(&mut self, version: &Version, began: Instant, examined: Examined) {
        let place = (version.identity(), version.digest.0);
        let again = match &examined.verdict {
            Err((gate, _)) if gate == FETCH => Some(Instant::now() + LOOK_EVERY),
            Err((gate, _)) if gate == Gate::Quota.as_str() => {
                self.time_for(&place.0).or(Some(Instant::now() + LOOK_EVERY))
            }
            _ => None,
        };
        let Some(judged) = self.follow.as_mut().and_then(|it| it.judged.get_mut(&place)) else {
            return;
        };
        // One that was begun before something changed has been begun again.
        if judged.since != began || judged.version != *version {
            return;
        }
        judged.at = unix_ms();
        judged.state = match examined.verdict {
            Ok(plugin) => State::Ready(plugin.map(Box::new)),
            Err(refusal) => State::Rejected { refusal, again },
        };
        if let State::Rejected { refusal: (gate, reason), .. } = &judged.state {
            let (shown, reason) = (place.0.to_string(), reason.escape_debug());
            let (digest, distrusted) = (version.digest.short(), gate == TRUST);
            tracing::warn!(plugin = shown, digest, gate, %reason, "pushed plugin refused");
            self.turned_down(&place, distrusted);
        }
    }

    /// A version was refused: it serves no more if it is no longer trusted, and the file of its
    /// name may.
    fn turned_down(&mut self, place: &Place, distrusted: bool) {
        let registry = self.loader.registry.clone();
        let serves = registry.serving(&place.0);
        let is_this = serves.is_some_and(|serving| serving.plugin.digest().0 == place.1);
        if distrusted && is_this && registry.is_by_fleet(&place.0) {
            registry.withdraw(&place.0);
        }
        // The file of its name was passed over while this might have served.
        let active = self.follow.as_ref().and_then(|follow| follow.active().remove(&place.0));
        if active.as_ref() == Some(place) && !registry.is_by_fleet(&place.0) {
            self.doubt(&place.0);
        }
    }

    /// Bring what serves in line with what was pushed, as far as it has come.
    pub(super) fn follow_fleet(&mut self) {
        let Some(mut follow) = self.follow.take() else { return };
        let (wanted, active) = (follow.wanted(), follow.active());
        let trying = follow.trying();
        follow.judged.retain(|place, judged| {
            let (is_active, is_tried) =
                (active.get(&place.0) == Some(place), trying.contains_key(place));
            let goes_on = match &judged.state {
                // One that was replaced is judged anew before it serves again.
                State::Serving => is_active,
                State::Trying => is_active || is_tried,
                State::Rejected { refusal: (gate, _), .. } if gate == TASK_TYPE_LOST => is_tried,
                State::Loading(_) | State::Ready(_) | State::Rejected { .. } => true,
            };
            wanted.get(place) == Some(&judged.version) && goes_on
        });
        for identity in self.loader.registry.by_fleet() {
            if !active.contains_key(&identity) && follow.learnt {
                self.release(&identity);
            }
        }
        let now = Instant::now();
        for (place, version) in wanted {
            let again = |judged: &Judged| matches!(&judged.state, State::Rejected { again: Some(at), .. } if *at <= now);
            if follow.judged.get(&place).is_none_or(again) {
                let judged = self.begin_pushed(&mut follow, version, now);
                follow.judged.insert(place, judged);
            }
        }
        self.take_up_pushed(&mut follow, &active);
        self.take_up_trials(&mut follow, &trying);
        let again = follow.judged.iter().filter_map(|(place, judged)| match &judged.state {
            State::Rejected { again, .. } => *again,
            // One that waits for others before it is looked at when it has waited enough.
            State::Ready(_) => (active.get(&place.0) == Some(place)).then(|| now + PATIENCE),
            State::Loading(_) | State::Serving | State::Trying => None,
        });
        follow.next_look = again.chain([follow.next_look]).min().unwrap_or(follow.next_look);
        self.loader.registry.tell_pushed(follow.described());
        self.follow = Some(follow);
        self.tell_shadowed();
    }

    /// Say which files do not count.
    pub(super) fn tell_shadowed(&self) {
        let registry = &self.loader.registry;
        let has_file = |identity: &Identity| {
            let mut files = self.folders.get(&identity.owner).into_iter().flat_map(Folder::sizes);
            files.any(|(name, _)| name == identity.name)
        };
        let shadowed = registry.by_fleet().into_iter().filter(has_file).collect();
        registry.tell_shadowed(&shadowed);
    }

    /// Nothing of the plugin is active any more.
    fn release(&mut self, identity: &Identity) {
        tracing::info!(plugin = %identity, "no pushed version of the plugin is active any more");
        self.loader.registry.withdraw(identity);
        self.free_types_of(identity);
        self.doubt(identity);
    }

    fn begin_pushed(&mut self, follow: &mut Follow, version: Version, since: Instant) -> Judged {
        let (identity, at) = (version.identity(), unix_ms());
        // Counted with what is known of the fleet, which is out of the keeper's hands just now.
        let over = match &identity.owner {
            Some(tenant) => self.over_with(tenant, follow.sizes(tenant)).remove(&identity.name),
            None => None,
        };
        if let Some(reason) = over {
            let again = Some(since + LOOK_EVERY);
            let refusal = (Gate::Quota.to_string(), reason);
            return Judged { version, since, at, state: State::Rejected { refusal, again } };
        }
        let account = identity.owner.clone().map(|tenant| self.account(tenant));
        let pushed = Box::new(version.clone());
        let from = From::Broker(follow.broker.clone(), pushed.clone());
        let candidate = Candidate { identity, from, account };
        let examining = self.loader.clone().examine(candidate);
        let task = follow
            .jobs
            .spawn(async move { Job::Examined(pushed, since, Box::new(examining.await)) });
        Judged { version, since, at, state: State::Loading(task) }
    }

    /// Let active versions serve that have passed the gates, each owner's in the order of their
    /// names, as far as none of its before them is worth waiting for.
    fn take_up_pushed(&mut self, follow: &mut Follow, active: &BTreeMap<Identity, Place>) {
        let mut held: BTreeSet<Owner> = BTreeSet::new();
        for (identity, place) in active {
            let Some(judged) = follow.judged.get_mut(place) else { continue };
            match &mut judged.state {
                State::Loading(_) if judged.since.elapsed() < PATIENCE => {
                    held.insert(identity.owner.clone());
                }
                State::Ready(_) if held.contains(&identity.owner) => {}
                State::Ready(plugin) => {
                    let plugin = plugin.take();
                    judged.state = self.take_up_one(identity, &judged.version, plugin);
                    judged.at = unix_ms();
                }
                State::Trying => {
                    let promoted =
                        self.loader.registry.promote_trial(identity, judged.version.digest);
                    judged.state = match promoted {
                        Ok(true) => {
                            let digest = judged.version.digest.short();
                            tracing::info!(plugin = %identity, digest, "canary serves all tasks");
                            State::Serving
                        }
                        // It is judged anew.
                        Ok(false) => State::rejected_for_now("its trial ended meanwhile"),
                        Err(reason) => State::refused(TASK_TYPE_TAKEN, reason),
                    };
                    judged.at = unix_ms();
                }
                State::Loading(_) | State::Serving | State::Rejected { .. } => {}
            }
        }
    }

    fn take_up_one(
        &mut self,
        identity: &Identity,
        version: &Version,
        plugin: Option<Box<(Plugin, Remembering)>>,
    ) -> State {
        let registry = self.loader.registry.clone();
        // A file that is on its way comes too late.
        self.loading.remove(identity);
        let Some(plugin) = plugin else {
            let serving = registry.serving(identity);
            if serving.is_some_and(|serving| serving.plugin.digest() == version.digest) {
                registry.adopt(identity);
                return State::Serving;
            }
            return State::rejected_for_now("its file is gone");
        };
        let (plugin, remembering) = *plugin;
        match registry.serve(identity.clone(), plugin, remembering, true, unix_ms()) {
            Ok(()) => {
                let (shown, digest) = (identity.to_string(), version.digest.short());
                tracing::info!(plugin = shown, digest, "pushed plugin serves");
                State::Serving
            }
            Err(reason) => State::refused(TASK_TYPE_TAKEN, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_whose_type_is_taken_is_tried_again_and_one_that_lacks_a_type_is_not() {
        let again = |gate| match State::refused(gate, String::new()) {
            State::Rejected { refusal, again } if refusal.0 == gate => again,
            _ => panic!("refused"),
        };
        assert!(again(TASK_TYPE_TAKEN).is_some_and(|at| at <= Instant::now() + LOOK_AGAIN));
        assert_eq!(again(TASK_TYPE_LOST), None);
    }
}
