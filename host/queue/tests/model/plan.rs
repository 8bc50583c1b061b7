//! Tasks, terms and policies chosen at random from a small world, so that they meet often.

use std::collections::BTreeMap;

use bulkhead_core::{
    BatchRef, Bounds, Conflict, LimitsRequest, OnFailedParent, Payload, Priority, QueuePolicy,
    Rate, Task, TaskId, TaskRef, TenantName, TenantPolicy, TermKey, Terms, Unique, UnixMs,
    WhenSpent,
};

use crate::chance::Chance;
use crate::world::{Kind, TENANTS, TYPES, World, task_type, tenant};

/// Bounds by key or prefix.
pub(crate) type Keys = BTreeMap<String, Bounds>;

const KEYS: [&str; 4] = ["k", "kk", "kx", "free"];
/// How many events each queue keeps: more than are compared.
pub(crate) const EVENTS: u32 = 200;
const UNIQUE_KEYS: [&str; 3] = ["u", "uu", "v"];

impl World {
    /// A task for this queue.
    pub(crate) fn new_task(&self, chance: &mut Chance, queue: usize) -> Task {
        let id = TaskId(chance.uuid());
        Task {
            id,
            task_type: task_type(chance.of(&TYPES)),
            queue: self.queues[queue].clone(),
            tenant: self.tenant(chance),
            priority: chance.of(&[
                Priority::NORMAL,
                Priority::NORMAL,
                Priority::HIGH,
                Priority::LOW,
                Priority::CRITICAL,
            ]),
            payload: payload(chance),
            metadata: Vec::new(),
            trace: None,
            limits: LimitsRequest::default(),
            submitted_at: self.now(),
            terms: self.terms(chance, queue),
        }
    }

    fn tenant(&self, chance: &mut Chance) -> TenantName {
        let of_all = chance.weighed(&[5, 3, 1]);
        tenant(TENANTS[if self.kind == Kind::Bounds { 0 } else { of_all }])
    }

    fn terms(&self, chance: &mut Chance, queue: usize) -> Terms {
        let mut terms = Terms::default();
        if chance.once_in(4) {
            return terms;
        }
        let now = self.now();
        let soon = |chance: &mut Chance| -> UnixMs {
            let at = now + 1 + chance.next() % chance.of(&[20, 3_000, 40_000]);
            // Now and then it is over already.
            if chance.once_in(8) { now - chance.next() % 3 } else { at }
        };
        if chance.once_in(3) {
            terms.key = Some(TermKey::new(chance.of(&KEYS)).unwrap());
        }
        if chance.once_in(4) {
            terms.unique = Some(Unique {
                key: TermKey::new(chance.of(&UNIQUE_KEYS)).unwrap(),
                window_ms: chance.once_in(3).then(|| chance.of(&[50, 4_000, 60_000])),
                conflict: chance.of(&[Conflict::Reject, Conflict::Existing, Conflict::Replace]),
            });
        }
        if chance.once_in(5) {
            terms.not_before = Some(soon(chance));
        }
        if chance.once_in(6) {
            terms.expires_at = Some(soon(chance));
        }
        if chance.once_in(8) {
            terms.retention_ms = Some(chance.of(&[0, 1, 300, 30_000, 600_000]));
        }
        // In which order children of several parents that end together enter one lane is each
        // broker's own affair.
        if chance.once_in(3) && (self.is_loose() || terms.key.is_none()) {
            terms.after = self.parents(chance, queue);
            terms.on_failed_parent =
                chance.of(&[OnFailedParent::Fail, OnFailedParent::Cancel, OnFailedParent::Run]);
        }
        if chance.once_in(20) {
            // A batch that this task is no member of, or that nobody opened.
            let id = bulkhead_core::BatchId(chance.uuid());
            terms.batch =
                Some(BatchRef { queue: self.queues[crate::world::QUEUES - 1].clone(), id });
        }
        terms
    }

    fn parents(&self, chance: &mut Chance, queue: usize) -> Vec<TaskRef> {
        let name = &self.queues[queue];
        // Mostly of its own queue. Whether a callback that is made by the very call that waits
        // for it is found is each broker's own affair.
        let near: Vec<&TaskRef> = self
            .known
            .iter()
            .filter(|task| self.is_loose() || !self.callbacks.contains(&task.id))
            .filter(|task| task.queue == *name || chance.once_in(2))
            .collect();
        let mut parents: Vec<TaskRef> = Vec::new();
        for _ in 0..=chance.below(3) {
            let parent = match chance.any(&near) {
                Some(parent) if !chance.once_in(12) => (*parent).clone(),
                _ => TaskRef { queue: chance.of(&self.queues), id: TaskId(chance.uuid()) },
            };
            // Now and then one parent is named twice.
            if !parents.contains(&parent) || chance.once_in(4) {
                parents.push(parent);
            }
        }
        parents
    }
}

pub(crate) fn payload(chance: &mut Chance) -> Payload {
    let bytes = chance.of(&[0, 3, 40, 400]);
    Payload::new(Payload::BINARY, vec![(chance.next() % 251) as u8; bytes])
}

pub(crate) fn policy(chance: &mut Chance, kind: Kind, keys: Keys) -> QueuePolicy {
    let mut policy = QueuePolicy { events: Some(EVENTS), keys, ..QueuePolicy::default() };
    if chance.once_in(4) {
        return policy;
    }
    let shared = |chance: &mut Chance| match kind {
        Kind::Turns => TenantPolicy {
            in_flight: None,
            rate: None,
            fuel_per_minute: None,
            kib_ms_per_minute: None,
            when_spent: WhenSpent::Wait,
            ..tenant_policy(chance)
        },
        Kind::Bounds | Kind::Loose => tenant_policy(chance),
    };
    for name in TENANTS {
        if chance.once_in(3) {
            policy.tenants.insert(tenant(name), shared(chance));
        }
    }
    policy.other_tenants = chance.once_in(4).then(|| shared(chance));
    if kind == Kind::Turns {
        return policy;
    }
    if chance.once_in(4) {
        policy.concurrency = Some(chance.of(&[1, 2, 5, 9]));
    }
    if chance.once_in(5) {
        policy.rate = Some(rate(chance));
    }
    for name in TYPES {
        if chance.once_in(5) {
            policy.types.insert(task_type(name), bounds(chance));
        }
    }
    policy
}

/// Bounds of keys.
pub(crate) fn keys(chance: &mut Chance) -> Keys {
    let mut keys = Keys::new();
    for pattern in ["k", "k*", "kk*", "free", "*"] {
        if chance.once_in(3) {
            keys.insert(pattern.to_owned(), bounds(chance));
        }
    }
    keys
}

fn bounds(chance: &mut Chance) -> Bounds {
    let concurrency = chance.once_in(2).then(|| chance.of(&[1, 1, 2, 4]));
    let rate = chance.once_in(2).then(|| rate(chance));
    Bounds { concurrency, rate }
}

fn rate(chance: &mut Chance) -> Rate {
    Rate {
        interval_us: chance.of(&[1_000, 250_000, 3_000_000, 60_000_000]),
        burst: chance.of(&[1, 2, 5]),
    }
}

fn tenant_policy(chance: &mut Chance) -> TenantPolicy {
    let mut tenant = TenantPolicy {
        weight: chance.of(&[1, 10, 10, 35, 1_000]),
        in_flight: chance.once_in(4).then(|| chance.of(&[1, 2, 4])),
        rate: chance.once_in(4).then(|| rate(chance)),
        pending: chance.once_in(4).then(|| chance.of(&[0, 3, 8])),
        payload_bytes: chance.once_in(6).then(|| chance.of(&[300, 600])),
        fuel_per_minute: chance.once_in(5).then(|| chance.of(&[1, 700, 5_000])),
        kib_ms_per_minute: chance.once_in(5).then(|| chance.of(&[1_000_000, 30_000_000])),
        when_spent: WhenSpent::Wait,
    };
    if tenant.is_metered() && chance.once_in(3) {
        tenant.when_spent = WhenSpent::Refuse;
    }
    tenant
}
