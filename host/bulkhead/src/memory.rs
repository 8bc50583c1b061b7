//! How a host divides the memory that it may have.
//!
//! A fixed part is for the host itself, for what its pool of compartments keeps, and for the
//! records of claimed tasks; the rest is the budget from which plugins and attempts hold the
//! most that they can come to. Pure arithmetic; `docs/security.md` has the table of all parts.

/// What a host with nothing to do has, and what its connections, its log, its loops and its
/// threads take at most while it works.
const HOST_BYTES: u64 = 64 << 20;

/// The same for each thread that runs guests: its stack and what its allocator keeps.
const THREAD_BYTES: u64 = 1 << 20;

/// A record is in memory as it comes from the connection, as a value of the protocol and as a
/// task, one after the other and for a moment all of them; and as a task while it is looked
/// for after an answer was lost.
const RECORD_COPIES: u64 = 4;

/// What a task has beside its payload and metadata: its terms, and the reports of its attempts.
const RECORD_REST_BYTES: u64 = 1 << 20;

/// The most that one step brings, and that all claimed tasks have.
const MOST_STEP_BYTES: u64 = 32 << 20;
const MOST_CLAIM_BYTES: u64 = 128 << 20;

/// The least budget that makes sense.
const LEAST_BUDGET_BYTES: u64 = 16 << 20;

/// Memory, and thereby pages, are kept in whole ones of these.
const PAGE_BYTES: u64 = 64 << 10;

/// What decides how much a host needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) guest_threads: usize,
    /// Most bytes of a task's payload and metadata.
    pub(crate) task_bytes: u64,
    /// Memories that compartments have room for.
    pub(crate) memories: u64,
}

/// Bounds on the records of claimed tasks, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimBytes {
    /// Of all claimed tasks of a host.
    pub(crate) all: u64,
    /// Of those that one step brings.
    pub(crate) step: u64,
}

/// A host's memory, divided. All in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Division {
    /// For the host itself.
    pub(crate) host: u64,
    /// What the pool of compartments may keep.
    pub(crate) pool: u64,
    /// For the records of claimed tasks.
    pub(crate) claims: ClaimBytes,
    /// For plugins and attempts.
    pub(crate) budget: u64,
}

/// Bytes of each memory that stay resident in the pool, of `wanted`, if all of them together
/// are to be no more than an eighth of `total_bytes`.
pub(crate) fn keep_resident_bytes(total_bytes: u64, wanted: u64, shape: &Shape) -> u64 {
    let each = total_bytes / 8 / shape.memories.max(1);
    each.min(wanted) / PAGE_BYTES * PAGE_BYTES
}

/// Bounds on records in a host that may have so much memory.
pub(crate) fn claim_bytes(total_bytes: u64, shape: &Shape) -> ClaimBytes {
    let record = shape.task_bytes.saturating_add(RECORD_REST_BYTES);
    let most = MOST_CLAIM_BYTES.max(2 * record);
    let all = (total_bytes / 32).clamp(2 * record, most);
    ClaimBytes { all, step: (all / 4).clamp(record, MOST_STEP_BYTES.max(record)) }
}

/// Divide `total_bytes`, of which the pool keeps `pool_bytes`; how much is too little.
pub(crate) fn divide(total_bytes: u64, pool_bytes: u64, shape: &Shape) -> Result<Division, u64> {
    let host = HOST_BYTES + THREAD_BYTES * shape.guest_threads as u64;
    let claims = claim_bytes(total_bytes, shape);
    let fixed = host + pool_bytes + claims.all * RECORD_COPIES;
    match total_bytes.checked_sub(fixed).filter(|budget| *budget >= LEAST_BUDGET_BYTES) {
        Some(budget) => Ok(Division { host, pool: pool_bytes, claims, budget }),
        None => Err(fixed + LEAST_BUDGET_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHAPE: Shape = Shape { guest_threads: 2, task_bytes: 8 << 20, memories: 264 };

    #[test]
    fn a_small_host_has_less_of_everything_and_a_large_one_mostly_budget() {
        let small = divide(512 << 20, 100 << 20, &SHAPE).unwrap();
        assert_eq!(small.claims, ClaimBytes { all: 18 << 20, step: 9 << 20 });
        let large = divide(16 << 30, 400 << 20, &SHAPE).unwrap();
        assert_eq!(large.claims, ClaimBytes { all: 128 << 20, step: 32 << 20 });
        assert!(large.budget > 14 << 30, "{large:?}");
        assert_eq!(keep_resident_bytes(16 << 30, 1 << 20, &SHAPE), 1 << 20);
        assert_eq!(keep_resident_bytes(512 << 20, 1 << 20, &SHAPE), 192 << 10);
        assert_eq!(keep_resident_bytes(64 << 20, 1 << 20, &SHAPE), 0);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(
            total_bytes in 0_u64..1 << 40, pool in 0_u64..1 << 32, task_bytes in 0_u64..200 << 20,
        ) {
            let shape = Shape { task_bytes, ..SHAPE };
            match divide(total_bytes, pool, &shape) {
                Ok(Division { host, pool, claims, budget }) => {
                    prop_assert_eq!(host + pool + 4 * claims.all + budget, total_bytes);
                    prop_assert!(claims.step >= task_bytes, "any task comes");
                    prop_assert!(claims.all >= 2 * claims.step || claims.step == claims.all / 2);
                    prop_assert!(budget >= 16 << 20);
                }
                Err(least) => prop_assert!(least > total_bytes),
            }
        }
    }
}
