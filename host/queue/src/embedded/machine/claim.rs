//! Claims: turn by turn, to the tenant with the least virtual time.

use std::sync::Arc;

use bulkhead_core::{TaskId, TaskType, TenantName};
use bytes::Bytes;

use super::journal::Touch;
use super::queue::Queue;
use super::task::{Kept, Place};
use super::{FOREVER_MS, Now};
use crate::event::EventKind;
use crate::serves::Offers;
use crate::step::Step;

/// Tasks that one turn takes while another tenant has work.
const TURN: u32 = 16;
/// Between lines of one tenant, heads so close count as equally old, in microseconds.
const SLACK_US: i64 = 10_000;
/// Turns of one claim.
const MAX_TURNS: usize = 64;
/// Expired tasks that one turn passes over.
const EXPIRED_AT_MOST: u32 = 200;
/// Tasks that one claim gives at most.
const MAX_WANT: u32 = 1_000;

/// A claim whose record is not decoded yet.
#[derive(Debug)]
pub(crate) struct RawClaim {
    pub(crate) id: TaskId,
    pub(crate) token: u64,
    pub(crate) tenant: TenantName,
    pub(crate) task_type: TaskType,
    pub(crate) record: Bytes,
    /// What happened to it, if it may have waited for others.
    pub(crate) history: Vec<Bytes>,
    pub(crate) attempt: u32,
    pub(crate) cancelled: bool,
    /// Of the record and all that happened to the task.
    pub(crate) bytes: u64,
}

/// What a claim came to.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) claims: Vec<RawClaim>,
    /// As many as were wanted, so that there may be more.
    pub(super) full: bool,
    /// There is more to be had at once.
    pub(super) again: bool,
}

/// The line whose turn it is in one type.
struct Head {
    tenant: TenantName,
    /// Its tenant's, which may be in the past.
    virtual_time: u64,
    /// Other tenants have work of the type, and are served.
    shared: bool,
    score: i64,
}

/// What a host serves, a type for all tenants or for one, and its head as far as it is known.
struct Served<'a> {
    task_type: &'a TaskType,
    only: Option<&'a TenantName>,
    head: Option<Head>,
}

impl<'a> Served<'a> {
    fn all(offers: &Offers<'a>) -> Vec<Self> {
        let of_all =
            offers.types.iter().map(|task_type| Self { task_type, only: None, head: None });
        let narrow = offers.narrow.iter().flat_map(|(task_type, tenants)| {
            tenants.iter().map(|only| Self { task_type, only: Some(only), head: None })
        });
        of_all.chain(narrow).collect()
    }
}

impl Queue {
    pub(super) fn claim(&mut self, step: &Step<'_>, offers: &Offers<'_>, now: Now) -> Claimed {
        let want = step.want.min(MAX_WANT).min(self.queue_room(now));
        let mut claimed = Claimed::default();
        if want == 0 {
            return claimed;
        }
        let mut served = Served::all(offers);
        let lease = Lease {
            token: self.facts.counters.token + 1,
            host: step.host.into(),
            until_ms: now.ms()
                + u64::try_from(step.lease.as_millis()).unwrap_or(u64::MAX).min(FOREVER_MS),
        };
        claimed.again = true;
        let mut room = Room { left_bytes: step.claim_bytes, spared: false };
        for _ in 0..MAX_TURNS {
            let left = want - u32::try_from(claimed.claims.len()).unwrap_or(u32::MAX).min(want);
            if left == 0
                || !self.take_turn(&mut served, left, &lease, &mut room, &mut claimed.claims, now)
            {
                claimed.again = false;
                break;
            }
            if room.spared {
                break;
            }
        }
        if !claimed.claims.is_empty() {
            self.facts.counters.token = lease.token;
            self.journal.counters();
        }
        claimed.full = claimed.claims.len() >= step.want.min(MAX_WANT) as usize;
        if claimed.claims.len() >= want as usize || room.spared {
            // There may be work left: pass the wake-up on.
            for served in &served {
                let kind = self.index.kinds.get(served.task_type);
                if kind.is_some_and(|kind| kind.has_turn(served.only)) {
                    self.wake(served.task_type, served.only);
                }
            }
        }
        claimed
    }

    /// One turn of one tenant. `false` if nobody has work that may be claimed.
    fn take_turn(
        &mut self,
        served: &mut [Served<'_>],
        left: u32,
        lease: &Lease,
        room: &mut Room,
        claims: &mut Vec<RawClaim>,
        now: Now,
    ) -> bool {
        for served in served.iter_mut() {
            if served.head.is_none() && self.type_room(served.task_type, now) > 0 {
                served.head = self.look(served.task_type, served.only, now);
            }
        }
        // The tenant with the least virtual time, where none is in the past (of those that are,
        // the one that is furthest behind), and its oldest or most urgent line.
        let present = self.facts.counters.present;
        let by_time = |served: &Served<'_>| {
            let head = served.head.as_ref()?;
            Some((head.virtual_time.max(present), head.virtual_time, head.score))
        };
        let Some(first) = least(served, by_time) else { return false };
        let Some(head) = served[first].head.as_ref() else { return false };
        let (tenant, from) = (head.tenant.clone(), head.virtual_time.max(present));
        let own = |served: &Served<'_>| {
            served.head.as_ref().filter(|head| head.tenant == tenant).map(|head| (head.score, 0))
        };
        let Some(best) = least(served, own) else { return false };
        let next_own = served
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != best)
            .filter_map(|(_, served)| own(served))
            .min()
            .map(|(score, _)| score);
        let rivals = served
            .iter()
            .filter_map(|served| served.head.as_ref())
            .any(|head| head.shared || head.tenant != tenant);
        let task_type = served[best].task_type;

        let mut quota = left.min(self.type_room(task_type, now));
        quota = quota.min(self.tenant_room(&tenant, now).unwrap_or(0));
        if rivals {
            quota = quota.min(TURN);
        }
        let latest = next_own.map_or(i64::MAX, |score| score.saturating_add(SLACK_US));
        let mut taken = 0;
        // What expired is looked at on the way, so much at most.
        for _ in 0..quota.saturating_add(EXPIRED_AT_MOST) {
            if taken == quota {
                break;
            }
            let head = self
                .index
                .kinds
                .get(task_type)
                .and_then(|kind| kind.lines.get(&tenant)?.tasks.first().copied());
            let Some((_, id)) = head.filter(|(score, _)| *score <= latest) else { break };
            let bytes = self.tasks.get(&id).map_or(0, Kept::bytes);
            if bytes > room.left_bytes && !claims.is_empty() {
                room.spared = true;
                break;
            }
            if let Some(claim) = self.start(id, lease, now) {
                room.left_bytes = room.left_bytes.saturating_sub(bytes);
                claims.push(claim);
                taken += 1;
            }
        }
        self.move_on(task_type, &tenant, from, taken);
        for served in served.iter_mut() {
            if served.task_type == task_type
                || served.head.as_ref().is_some_and(|head| head.tenant == tenant)
            {
                served.head = None;
            }
        }
        true
    }

    /// The head of a type's ring, past those that a limit holds back; of one tenant's line
    /// alone if the type is served for `only` that one. A ring is in the order of turns
    /// whatever the present is.
    fn look(&mut self, task_type: &TaskType, only: Option<&TenantName>, now: Now) -> Option<Head> {
        loop {
            let kind = self.index.kinds.get(task_type)?;
            let (at, tenant) = match only {
                None => kind.ring.first()?.clone(),
                Some(only) => (kind.lines.get(only)?.virtual_time?, only.clone()),
            };
            let own = self.facts.shares.get(&tenant).map_or(0, |share| share.virtual_time);
            if own > at {
                // Served through another type since: correct its place and look again.
                self.index.kinds.get_mut(task_type)?.place_in_ring(&tenant, own);
                continue;
            }
            if let Err(until) = self.tenant_room(&tenant, now) {
                self.park(task_type, &tenant, until);
                continue;
            }
            let kind = self.index.kinds.get(task_type)?;
            let score = kind.lines.get(&tenant)?.tasks.first()?.0;
            let shared = only.is_none() && kind.ring.len() > 1;
            return Some(Head { tenant, virtual_time: at, shared, score });
        }
    }

    /// Put a task under a lease; nothing if it expired instead.
    fn start(&mut self, id: TaskId, lease: &Lease, now: Now) -> Option<RawClaim> {
        let kept = self.tasks.get(&id)?;
        if kept.expires_at().is_some_and(|at| at <= now.ms()) {
            self.expire(id, now);
            return None;
        }
        let claim = kept.claim(id, lease.token);
        let (task_type, tenant) = (kept.task_type.clone(), kept.tenant.clone());
        let key = kept.key().cloned();
        let (token, host, until_ms) = (lease.token, lease.host.clone(), lease.until_ms);
        self.shift(id, |kept| {
            kept.place = Place::Running { token, host, until_ms };
            kept.started = true;
        });
        self.spend(&task_type, &tenant, key.as_ref(), now);
        self.tell(EventKind::Started, id, now);
        Some(claim)
    }

    /// Move a tenant's virtual time by what it took.
    fn move_on(&mut self, task_type: &TaskType, tenant: &TenantName, from: u64, taken: u32) {
        if taken == 0 {
            return;
        }
        let stride = self.facts.policy.tenant(tenant).stride();
        let to = from.saturating_add(stride.saturating_mul(u64::from(taken)));
        self.facts.shares.entry(tenant.clone()).or_default().virtual_time = to;
        // A tenant alone may take more than a turn: who comes next starts one turn behind it.
        let alone = u64::from(taken.saturating_sub(TURN));
        self.facts.counters.present = from.saturating_add(stride.saturating_mul(alone));
        if let Some(kind) = self.index.kinds.get_mut(task_type) {
            kind.place_in_ring(tenant, to);
        }
        self.journal.note(|| Touch::Share(tenant.clone()));
        self.journal.counters();
    }
}

/// Bytes of records that a claim may still bring.
struct Room {
    left_bytes: u64,
    /// Whether a task stayed in line for its record's length.
    spared: bool,
}

/// What the claims of one step share.
struct Lease {
    token: u64,
    host: Arc<str>,
    until_ms: u64,
}

/// The place of the least key; among equals the last.
fn least<K: Ord>(served: &[Served<'_>], key: impl Fn(&Served<'_>) -> Option<K>) -> Option<usize> {
    let mut best: Option<(usize, K)> = None;
    for (at, served) in served.iter().enumerate().rev() {
        if let Some(key) = key(served)
            && best.as_ref().is_none_or(|(_, least)| key < *least)
        {
            best = Some((at, key));
        }
    }
    best.map(|(at, _)| at)
}
