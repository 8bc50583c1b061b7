//! The most memory that attempts can come to hold: a sum of bounds, each kept somewhere else.
//!
//! A guest has its memories and tables; the host has, on its behalf, what a call lifts out of
//! them, its input and output, its log, its handles, and what each granted capability may hold,
//! which the capability itself says beside the bounds that it keeps. Pure arithmetic: whoever
//! starts attempts holds so much of the host's budget while they run.

use bulkhead_core::Limits;

use crate::capability::CapabilitySet;
use crate::capability::{enqueue, fs, http, kv, secrets};
use crate::engine::MAX_INSTANCES_BYTES;
use crate::failure;
use crate::grants::Grants;
use crate::journal;

/// The store, its tables, its future and its timers.
const STORE_BYTES: u64 = 256 << 10;

/// What one handle takes: an entry in the guest's table, up to two in the host's, and what is
/// behind them, a timer at most.
const HANDLE_BYTES: u64 = 1 << 10;

/// What a plugin's values come to at most, twice: as they are read and as they are given.
const CONFIG_BYTES: u64 = 2 << 20;

/// What an ended attempt holds for each byte of what is told to the broker: itself, its record,
/// the command and what is written to the connection.
pub const SETTLING_COPIES: u64 = 4;

/// What a plugin's grants can make the host hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Granted {
    /// For a call.
    call: u64,
    /// For each of its tasks, and further until its end is told to the broker.
    task: u64,
}

impl Granted {
    /// What of `grants` is used, by a guest of so many handles and open files.
    pub(crate) fn of(grants: &Grants, uses: CapabilitySet, handles: u32, open_files: u32) -> Self {
        let sum =
            |parts: [Option<u64>; 5]| parts.into_iter().flatten().fold(0_u64, u64::saturating_add);
        let call = sum([
            grants.kv.filter(|_| uses.kv).map(|grant| kv::held_bytes(&grant)),
            grants.http.as_ref().filter(|_| uses.http).map(|g| http::held_bytes(g, handles)),
            uses.fs.then(|| fs::held_bytes(open_files)),
            uses.config.then_some(CONFIG_BYTES),
            uses.secrets.then(|| secrets::held_bytes(grants.secrets.len())),
        ]);
        let enqueue = grants.enqueue.as_ref().filter(|_| uses.enqueue);
        Self { call, task: enqueue.map_or(0, enqueue::held_bytes) }
    }
}

/// The most that a call can come to hold: under the limits that the attempts in it share, for
/// attempts with these limits of their own and so many bytes of payload, with these grants.
pub(crate) fn need_bytes(
    shared: &Limits,
    attempts: impl IntoIterator<Item = (Limits, u64)>,
    granted: Granted,
    random_bytes: u64,
) -> u64 {
    let (mut running, mut ended, mut results) = (0_u64, 0_u64, 0_u64);
    for (own, payload_bytes) in attempts {
        let words = journal::held_bytes(own.log_bytes)
            .saturating_add(failure::MAX_BYTES)
            .saturating_add(granted.task);
        // A command reads a copy; beside it there is what the claim brought, which the host
        // counts among its claims.
        running = running.saturating_add(words).saturating_add(payload_bytes);
        ended = ended.saturating_add(words);
        results = results.saturating_add(own.result_bytes);
    }
    // All results together come by one call, or are what one command wrote.
    ended = ended.saturating_add(results.min(shared.hostcall_bytes.max(shared.result_bytes)));
    let running = [
        shared.memory_bytes,
        lifted_bytes(shared),
        // The output of a command, while its buffer grows.
        shared.result_bytes.saturating_mul(3),
        journal::held_bytes(shared.log_bytes),
        u64::from(shared.handles) * HANDLE_BYTES,
        MAX_INSTANCES_BYTES,
        random_bytes,
        granted.call,
        STORE_BYTES,
    ]
    .into_iter()
    .fold(running, u64::saturating_add);
    running.max(ended.saturating_mul(SETTLING_COPIES))
}

/// What one call lifts, with what the allocator adds to the shortest texts.
fn lifted_bytes(limits: &Limits) -> u64 {
    limits.hostcall_bytes.saturating_add(limits.hostcall_bytes / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grants::{EnqueueGrant, HttpGrant, KvGrant};

    const NONE: Granted = Granted { call: 0, task: 0 };

    fn need(limits: &Limits, payload_bytes: u64, granted: Granted) -> u64 {
        need_bytes(limits, [(*limits, payload_bytes)], granted, 1 << 20)
    }

    #[test]
    fn the_default_limits_need_no_more_than_is_documented() {
        let need = need(&Limits::default(), 8 << 20, NONE);
        assert!((128 << 20..220 << 20).contains(&need), "{} MiB", need >> 20);
    }

    #[test]
    fn each_limit_raises_the_need_by_what_it_lets_in() {
        let base = Limits::default();
        let rise = |limits: Limits| need(&limits, 0, NONE) - need(&base, 0, NONE);
        let mib = 1 << 20;
        assert_eq!(rise(Limits { memory_bytes: base.memory_bytes + mib, ..base }), mib);
        assert_eq!(rise(Limits { hostcall_bytes: base.hostcall_bytes + mib, ..base }), 3 * mib / 2);
        assert_eq!(rise(Limits { result_bytes: base.result_bytes + mib, ..base }), 3 * mib);
        assert_eq!(rise(Limits { handles: base.handles + 1_024, ..base }), mib);
        assert!(rise(Limits { log_bytes: base.log_bytes + mib, ..base }) >= mib);
        assert_eq!(rise(Limits { fuel: 1, wall_ms: 1, ..base }), 0);
        assert_eq!(need(&base, mib, NONE) - need(&base, 0, NONE), mib);
    }

    #[test]
    fn each_grant_that_is_used_raises_the_need() {
        let all = Grants {
            kv: Some(KvGrant::default()),
            http: Some(HttpGrant::default()),
            config: true,
            secrets: ["a".to_owned()].into(),
            enqueue: Some(EnqueueGrant::default()),
            ..Grants::default()
        };
        let of = |uses| Granted::of(&all, uses, 1_000, 128);
        assert_eq!(of(CapabilitySet::default()), NONE, "what is not used costs nothing");
        for (uses, at_least) in [
            (CapabilitySet { kv: true, ..Default::default() }, 3 * (64_u64 << 10)),
            (CapabilitySet { http: true, ..Default::default() }, (18 << 20) + 32 * (416 << 10)),
            (CapabilitySet { fs: true, ..Default::default() }, 128 * (64 << 10)),
            (CapabilitySet { config: true, ..Default::default() }, 1 << 20),
            (CapabilitySet { secrets: true, ..Default::default() }, 64 << 10),
        ] {
            let granted = of(uses);
            assert!(granted.call >= at_least && granted.call < 64 << 20, "{uses:?}: {granted:?}");
            assert_eq!(granted.task, 0);
        }
        let enqueue = of(CapabilitySet { enqueue: true, ..Default::default() });
        assert!(enqueue.call == 0 && enqueue.task >= 8 << 20, "{enqueue:?}");
    }

    #[test]
    fn a_batch_needs_its_memory_once() {
        let limits = Limits::default();
        let one = need(&limits, 1_000, NONE);
        let many = need_bytes(&limits, (0..16).map(|_| (limits, 1_000)), NONE, 1 << 20);
        assert!(many > one && many < 2 * one, "{one} {many}");
    }

    proptest! {
        /// No limit, however large, makes the sum wrap to little.
        #[test]
        fn a_need_is_never_less_than_a_part_of_it(
            memory_bytes: u64, result_bytes: u64, hostcall_bytes: u64, log_bytes: u64,
            handles: u32, payload: u64, call: u64, task: u64,
        ) {
            let limits = Limits {
                memory_bytes, result_bytes, hostcall_bytes, log_bytes, handles,
                ..Limits::default()
            };
            let need = need(&limits, payload, Granted { call, task: task / 2 });
            for part in [memory_bytes, hostcall_bytes, result_bytes, payload, call] {
                prop_assert!(need >= part);
            }
        }
    }
}
