//! What is derived from the tasks of a queue: lines, rings, lanes, times and counts.
//!
//! A task enters and leaves all indexes by its place in two functions, so that no edge
//! can forget one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bulkhead_core::{Bounds, State, TaskId, TaskRef, TaskType, TenantName, TermKey};

use super::task::{Kept, Place};

/// Ended tasks that are listed; older ones are found by their id only.
pub(super) const ENDED_LISTED: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) kinds: BTreeMap<TaskType, Kind>,
    pub(super) tenants: BTreeMap<TenantName, Load>,
    pub(super) lanes: BTreeMap<TermKey, Lane>,
    /// When tokens come back to lanes that wait for them, in microseconds.
    pub(super) lanes_due: BTreeSet<(u64, TermKey)>,
    /// When limited tenants are looked at again, in microseconds.
    pub(super) parked: BTreeSet<(u64, TenantName)>,
    pub(super) blocked: BTreeSet<(u64, TaskId)>,
    /// Blocked tasks whose parents were not looked for yet.
    pub(super) unlinked: BTreeSet<(u64, TaskId)>,
    pub(super) scheduled: BTreeSet<(u64, TaskId)>,
    pub(super) leases: BTreeSet<(u64, TaskId)>,
    pub(super) expiring: BTreeSet<(u64, TaskId)>,
    /// Ended tasks by the end of their retention.
    pub(super) keeping: BTreeSet<(u64, TaskId)>,
    pub(super) dead: BTreeSet<(u64, TaskId)>,
    /// The newest ended tasks that are no dead letters.
    pub(super) ended: BTreeMap<u64, TaskId>,
    pub(super) uniques: HashMap<TermKey, TaskId>,
    /// Pending tasks that lanes hold back.
    pub(super) held_back: u64,
    /// Lanes that something happened to since [`super::queue::Queue::stir`].
    pub(super) stirred: BTreeSet<TermKey>,
    /// Parked tenants of which a task stopped running since then.
    pub(super) freed: BTreeSet<TenantName>,
    /// Tasks that left `blocked` since then, with the parents they still waited for.
    pub(super) unblocked: Vec<(TaskId, Vec<TaskRef>)>,
}

/// A task type's lines and the ring of tenants that have one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kind {
    pub(super) lines: BTreeMap<TenantName, Line>,
    /// Tenants by virtual time.
    pub(super) ring: BTreeSet<(u64, TenantName)>,
    pub(super) pending: u64,
    pub(super) running: u32,
}

/// The pending tasks of one type and tenant.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) tasks: BTreeSet<(i64, TaskId)>,
    /// Its tenant's place in the ring, unless a limit keeps it out.
    pub(super) virtual_time: Option<u64>,
}

/// A tenant's tasks.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Load {
    /// That have not ended.
    pub(super) open: u64,
    pub(super) running: u32,
    /// When its lines are looked at again, in microseconds, if a limit keeps them out.
    pub(super) parked_until: Option<u64>,
}

/// The tasks of one key.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lane {
    /// The key's bounds, once they were looked up.
    pub(super) bounds: Option<Option<Bounds>>,
    pub(super) waiting: BTreeSet<(i64, TaskId)>,
    /// In line and not claimed.
    pub(super) let_in: BTreeSet<(i64, TaskId)>,
    pub(super) running: u32,
    /// When it is looked at again, in microseconds.
    pub(super) due_us: Option<u64>,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.let_in.is_empty() && self.running == 0
    }
}

/// A mutable entry, made when missing.
pub(super) fn entry<'a, K: Ord + Clone, V: Default>(
    map: &'a mut BTreeMap<K, V>,
    key: &K,
) -> &'a mut V {
    map.entry(key.clone()).or_default()
}

impl Index {
    /// Add a task where its place puts it. `join_at` is the virtual time at which its
    /// tenant joins a ring.
    pub(super) fn enter(&mut self, id: TaskId, kept: &Kept, join_at: u64) {
        match &kept.place {
            Place::Blocked { linked } => {
                self.blocked.insert((kept.seq, id));
                if !linked {
                    self.unlinked.insert((kept.seq, id));
                }
            }
            Place::Scheduled { due_ms } => {
                self.scheduled.insert((*due_ms, id));
            }
            Place::Line { score } => {
                let parked =
                    self.tenants.get(&kept.tenant).is_some_and(|t| t.parked_until.is_some());
                let kind = entry(&mut self.kinds, &kept.task_type);
                kind.pending += 1;
                entry(&mut kind.lines, &kept.tenant).tasks.insert((*score, id));
                if !parked {
                    kind.join_ring(&kept.tenant, join_at);
                }
                if let Some(key) = kept.key() {
                    self.stir_lane(key).let_in.insert((*score, id));
                }
            }
            Place::Lane { score } => {
                entry(&mut self.kinds, &kept.task_type).pending += 1;
                self.held_back += 1;
                if let Some(key) = kept.key() {
                    self.stir_lane(key).waiting.insert((*score, id));
                }
            }
            Place::Running { until_ms, .. } => {
                self.leases.insert((*until_ms, id));
                entry(&mut self.kinds, &kept.task_type).running += 1;
                entry(&mut self.tenants, &kept.tenant).running += 1;
                if let Some(key) = kept.key() {
                    self.stir_lane(key).running += 1;
                }
            }
            Place::Ended { state, until_ms, number } => {
                self.keeping.insert((*until_ms, id));
                if *state == State::Failed {
                    self.dead.insert((*until_ms, id));
                } else {
                    self.ended.insert(*number, id);
                    if self.ended.len() > ENDED_LISTED {
                        self.ended.pop_first();
                    }
                }
                return;
            }
        }
        entry(&mut self.tenants, &kept.tenant).open += 1;
        if let Some(at) = kept.expires_at() {
            self.expiring.insert((at, id));
        }
    }

    /// Take a task out of where its place put it.
    pub(super) fn leave(&mut self, id: TaskId, kept: &Kept) {
        match &kept.place {
            Place::Blocked { .. } => {
                self.blocked.remove(&(kept.seq, id));
                self.unlinked.remove(&(kept.seq, id));
                self.unblocked.push((id, kept.waits().to_vec()));
            }
            Place::Scheduled { due_ms } => {
                self.scheduled.remove(&(*due_ms, id));
            }
            Place::Line { score } => {
                if let Some(kind) = self.kinds.get_mut(&kept.task_type) {
                    kind.pending = kind.pending.saturating_sub(1);
                    kind.leave_line(&kept.tenant, *score, id);
                }
                if let Some(key) = kept.key() {
                    self.stir_lane(key).let_in.remove(&(*score, id));
                }
            }
            Place::Lane { score } => {
                if let Some(kind) = self.kinds.get_mut(&kept.task_type) {
                    kind.pending = kind.pending.saturating_sub(1);
                }
                self.held_back = self.held_back.saturating_sub(1);
                if let Some(key) = kept.key() {
                    self.stir_lane(key).waiting.remove(&(*score, id));
                }
            }
            Place::Running { until_ms, .. } => {
                self.leases.remove(&(*until_ms, id));
                if let Some(kind) = self.kinds.get_mut(&kept.task_type) {
                    kind.running = kind.running.saturating_sub(1);
                }
                if let Some(load) = self.tenants.get_mut(&kept.tenant) {
                    load.running = load.running.saturating_sub(1);
                    if load.parked_until.is_some() {
                        self.freed.insert(kept.tenant.clone());
                    }
                }
                if let Some(key) = kept.key() {
                    let lane = self.stir_lane(key);
                    lane.running = lane.running.saturating_sub(1);
                }
            }
            Place::Ended { until_ms, number, .. } => {
                self.keeping.remove(&(*until_ms, id));
                self.dead.remove(&(*until_ms, id));
                if self.ended.get(number) == Some(&id) {
                    self.ended.remove(number);
                }
                return;
            }
        }
        if let Some(load) = self.tenants.get_mut(&kept.tenant) {
            load.open = load.open.saturating_sub(1);
        }
        if let Some(at) = kept.expires_at() {
            self.expiring.remove(&(at, id));
        }
    }

    fn stir_lane(&mut self, key: &TermKey) -> &mut Lane {
        if !self.stirred.contains(key) {
            self.stirred.insert(key.clone());
        }
        entry(&mut self.lanes, key)
    }
}

impl Kind {
    /// Make sure that a tenant with a line stands in the ring.
    pub(super) fn join_ring(&mut self, tenant: &TenantName, at: u64) {
        if let Some(line) = self.lines.get_mut(tenant)
            && line.virtual_time.is_none()
        {
            line.virtual_time = Some(at);
            self.ring.insert((at, tenant.clone()));
        }
    }

    /// Move a tenant in the ring.
    pub(super) fn place_in_ring(&mut self, tenant: &TenantName, at: u64) {
        if let Some(line) = self.lines.get_mut(tenant)
            && let Some(old) = line.virtual_time
        {
            self.ring.remove(&(old, tenant.clone()));
            line.virtual_time = Some(at);
            self.ring.insert((at, tenant.clone()));
        }
    }

    /// Take a tenant out of the ring while its line stays.
    pub(super) fn leave_ring(&mut self, tenant: &TenantName) {
        if let Some(line) = self.lines.get_mut(tenant)
            && let Some(old) = line.virtual_time.take()
        {
            self.ring.remove(&(old, tenant.clone()));
        }
    }

    /// Whether somebody waits for a turn: anybody, or this tenant.
    pub(super) fn has_turn(&self, only: Option<&TenantName>) -> bool {
        match only {
            None => !self.ring.is_empty(),
            Some(only) => self.lines.get(only).is_some_and(|line| line.virtual_time.is_some()),
        }
    }

    fn leave_line(&mut self, tenant: &TenantName, score: i64, id: TaskId) {
        let Some(line) = self.lines.get_mut(tenant) else { return };
        line.tasks.remove(&(score, id));
        if line.tasks.is_empty() {
            let old = line.virtual_time;
            self.lines.remove(tenant);
            if let Some(old) = old {
                self.ring.remove(&(old, tenant.clone()));
            }
        }
    }
}
