//! What bounds hold back: how much room queue, types and tenants have left.

use bulkhead_core::{
    Bounds, MinuteBucket, Rate, TaskType, TenantName, TenantPolicy, TermKey, WhenSpent,
};

use super::Now;
use super::journal::Touch;
use super::queue::Queue;
use crate::held::{HeldBy, HeldTenant};
use crate::view::SubmitAnswer;

/// The answer to a task that a quota of its tenant keeps out.
pub(super) fn over_quota(
    queue: &Queue,
    tenant: &TenantName,
    record_bytes: usize,
    now: Now,
) -> Option<SubmitAnswer> {
    let policy = queue.facts.policy.tenant(tenant);
    if policy.payload_bytes.is_some_and(|most| record_bytes as u64 > most) {
        return Some(SubmitAnswer::OverPayload);
    }
    let open = queue.index.tenants.get(tenant).map_or(0, |load| load.open);
    if policy.pending.is_some_and(|most| open >= most) {
        return Some(SubmitAnswer::OverPending);
    }
    if policy.when_spent == WhenSpent::Wait {
        return None;
    }
    let (until_us, _) = queue.spent_until(tenant, &policy, now)?;
    Some(SubmitAnswer::OverUsage(until_us.div_ceil(1_000)))
}

/// Why a tenant's lines are passed over, as when they are to be looked at again: at a time
/// in microseconds, or when one of its tasks has stopped running.
pub(super) type LookAgain = u64;

fn room(concurrency: Option<u32>, running: u32) -> u32 {
    concurrency.map_or(u32::MAX, |most| most.saturating_sub(running))
}

fn tokens(rate: Option<Rate>, tokens_us: u64, now: Now) -> u32 {
    rate.map_or(u32::MAX, |rate| rate.available(bucket(rate, tokens_us, now), now.us()))
}

/// A bucket's arrival time. One that an earlier, slower rate left behind counts as empty
/// now, so that a changed rate does not wait for it.
pub(super) fn bucket(rate: Rate, tokens_us: u64, now: Now) -> u64 {
    let empty_us = rate.interval_us.saturating_mul(u64::from(rate.burst));
    tokens_us.min(now.us().saturating_add(empty_us))
}

/// The arrival time after one claim.
fn after_one(rate: Rate, tokens_us: u64, now: Now) -> u64 {
    rate.spend(bucket(rate, tokens_us, now), now.us(), 1)
}

impl Queue {
    /// How many tasks may be claimed of the queue.
    pub(super) fn queue_room(&self, now: Now) -> u32 {
        if self.facts.paused {
            return 0;
        }
        let policy = &self.facts.policy;
        let running = u32::try_from(self.index.leases.len()).unwrap_or(u32::MAX);
        room(policy.concurrency, running).min(tokens(
            policy.rate,
            self.facts.counters.tokens_us,
            now,
        ))
    }

    /// How many tasks of a type may be claimed.
    pub(super) fn type_room(&self, task_type: &TaskType, now: Now) -> u32 {
        let facts = self.facts.types.get(task_type);
        if facts.is_some_and(|facts| facts.paused) {
            return 0;
        }
        let Some(bounds) = self.facts.policy.types.get(task_type) else { return u32::MAX };
        let running = self.index.kinds.get(task_type).map_or(0, |kind| kind.running);
        let tokens_us = facts.map_or(0, |facts| facts.tokens_us);
        room(bounds.concurrency, running).min(tokens(bounds.rate, tokens_us, now))
    }

    /// How many tasks of a tenant may be claimed; at none, when to look again.
    pub(super) fn tenant_room(&self, tenant: &TenantName, now: Now) -> Result<u32, LookAgain> {
        if self.facts.policy.tenants.is_empty() && self.facts.policy.other_tenants.is_none() {
            return Ok(u32::MAX);
        }
        let policy = self.facts.policy.tenant(tenant);
        let running = self.index.tenants.get(tenant).map_or(0, |load| load.running);
        let free = room(policy.in_flight, running);
        if free == 0 {
            return Err(u64::MAX);
        }
        if let Some((until_us, _)) = self.spent_until(tenant, &policy, now) {
            return Err(until_us);
        }
        let tokens_us = self.facts.shares.get(tenant).map_or(0, |share| share.tokens_us);
        match (policy.rate, tokens(policy.rate, tokens_us, now)) {
            (Some(rate), 0) => Err(rate.ready_at_us(bucket(rate, tokens_us, now), 1)),
            (_, tokens) => Ok(free.min(tokens)),
        }
    }

    /// Until when, in microseconds, a tenant's quotas of a minute are spent, and the one that
    /// is for the longest.
    fn spent_until(
        &self,
        tenant: &TenantName,
        policy: &TenantPolicy,
        now: Now,
    ) -> Option<(LookAgain, HeldBy)> {
        if !policy.is_metered() {
            return None;
        }
        let share = self.facts.shares.get(tenant)?;
        let until =
            |bucket: MinuteBucket, quota: Option<u64>| bucket.empty_until_us(quota?, now.us());
        let fuel = until(share.fuel, policy.fuel_per_minute).map(|at| (at, HeldBy::Fuel));
        let memory = until(share.memory, policy.kib_ms_per_minute).map(|at| (at, HeldBy::Memory));
        match (fuel, memory) {
            (Some(fuel), Some(memory)) => Some(if memory.0 > fuel.0 { memory } else { fuel }),
            (fuel, memory) => fuel.or(memory),
        }
    }

    /// By which bound a parked tenant is held back; nothing if none of them holds any more.
    pub(super) fn held(&self, tenant: &TenantName, now: Now) -> Option<HeldTenant> {
        let until_us = self.tenant_room(tenant, now).err()?;
        let spent = || self.spent_until(tenant, &self.facts.policy.tenant(tenant), now);
        let by = match until_us {
            u64::MAX => HeldBy::InFlight,
            _ => spent().map_or(HeldBy::Rate, |(_, by)| by),
        };
        let until = (until_us != u64::MAX).then(|| until_us.div_ceil(1_000));
        Some(HeldTenant { tenant: tenant.to_string(), by, until })
    }

    /// The bounds of a key, if it has any.
    pub(super) fn key_bounds(&self, key: &TermKey) -> Option<Bounds> {
        if self.facts.policy.keys.is_empty() {
            return None;
        }
        let known = self.index.lanes.get(key).and_then(|lane| lane.bounds);
        known.unwrap_or_else(|| self.facts.policy.key_bounds(key.as_str()))
    }

    /// Take the tokens of one claim.
    pub(super) fn spend(
        &mut self,
        task_type: &TaskType,
        tenant: &TenantName,
        key: Option<&TermKey>,
        now: Now,
    ) {
        let policy = &self.facts.policy;
        if let Some(rate) = policy.rate {
            let tokens_us = &mut self.facts.counters.tokens_us;
            *tokens_us = after_one(rate, *tokens_us, now);
        }
        if let Some(rate) = policy.types.get(task_type).and_then(|bounds| bounds.rate) {
            let facts = self.facts.types.entry(task_type.clone()).or_default();
            facts.tokens_us = after_one(rate, facts.tokens_us, now);
            self.journal.note(|| Touch::Type(task_type.clone()));
        }
        if (!policy.tenants.is_empty() || policy.other_tenants.is_some())
            && let Some(rate) = policy.tenant(tenant).rate
        {
            let share = self.facts.shares.entry(tenant.clone()).or_default();
            share.tokens_us = after_one(rate, share.tokens_us, now);
            self.journal.note(|| Touch::Share(tenant.clone()));
        }
        if let Some(key) = key
            && let Some(rate) = self.key_bounds(key).and_then(|bounds| bounds.rate)
        {
            let tokens_us = self.facts.key_tokens.entry(key.clone()).or_default();
            *tokens_us = after_one(rate, *tokens_us, now);
            self.journal.note(|| Touch::KeyTokens(key.clone()));
        }
    }

    /// Keep a tenant's line of this type out of its ring until `until`.
    pub(super) fn park(&mut self, task_type: &TaskType, tenant: &TenantName, until: LookAgain) {
        if let Some(kind) = self.index.kinds.get_mut(task_type) {
            kind.leave_ring(tenant);
        }
        if let Some(load) = self.index.tenants.get_mut(tenant) {
            if let Some(old) = load.parked_until.replace(until) {
                self.index.parked.remove(&(old, tenant.clone()));
            }
            self.index.parked.insert((until, tenant.clone()));
        }
    }

    /// Let a tenant's lines into their rings again.
    pub(super) fn unpark(&mut self, tenant: &TenantName) {
        let Some(load) = self.index.tenants.get_mut(tenant) else { return };
        let Some(until) = load.parked_until.take() else { return };
        let idle = load.open == 0;
        self.index.parked.remove(&(until, tenant.clone()));
        if idle {
            self.index.tenants.remove(tenant);
        }
        let at = self.facts.join_at(tenant);
        let mut woken = Vec::new();
        for (task_type, kind) in &mut self.index.kinds {
            if kind.lines.contains_key(tenant) {
                kind.join_ring(tenant, at);
                woken.push(task_type.clone());
            }
        }
        for task_type in woken {
            self.wake(&task_type, Some(tenant));
        }
    }

    /// Let in again whose time has come.
    pub(super) fn unpark_due(&mut self, now: Now) {
        while let Some((until, tenant)) = self.index.parked.first()
            && *until <= now.us()
        {
            let tenant = tenant.clone();
            self.unpark(&tenant);
        }
    }
}
