//! The stated bounds, on the state machine in simulated time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded_stage;

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_core::{Bounds, Priority, QueuePolicy, Rate, Task, TenantPolicy, TermKey, Terms};
use bulkhead_queue::machine::Machine;
use bulkhead_queue::{Claim, Settlement, Step};
use embedded_stage::*;
use proptest::prelude::*;

const START_US: u64 = 1_700_000_000_000_000;
const HOUR_US: u64 = 3_600_000_000;

fn step(machine: &mut Machine, settle: &[Settlement], want: u32, now_us: u64) -> Vec<Claim> {
    step_of(machine, &["a", "b"], settle, want, now_us)
}

fn step_of(
    machine: &mut Machine,
    types: &[&str],
    settle: &[Settlement],
    want: u32,
    now_us: u64,
) -> Vec<Claim> {
    let serves: Vec<_> = types.iter().map(|name| of_type(name).into()).collect();
    let step = Step {
        host: "h",
        settle,
        renew: &[],
        progress: &[],
        want,
        claim_bytes: u64::MAX,
        serves: &serves,
        lease: Duration::from_secs(86_400),
        reclaim: true,
        dead_retention_ms: DAY_MS,
        apart: false,
    };
    machine.step(&queue(), &step, now_us).unwrap().claims
}

fn tasks_of(tenant_name: &str, count: usize) -> Vec<Task> {
    (0..count)
        .map(|at| Task {
            tenant: tenant(tenant_name),
            ..task(if at % 3 == 0 { "b" } else { "a" }, fresh_id())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// A tenant whose single task comes into line waits for at most one turn of every other
    /// tenant, and for what makes up for a turn that it had just now; whatever hosts of
    /// another type were given meanwhile.
    #[test]
    fn a_single_task_waits_no_longer_than_the_stated_bound(
        weights in proptest::collection::vec(1u32..200, 1..6),
        own in 1u32..200,
        depth in 50usize..2_000,
        taken in 0usize..1_500,
        elsewhere in prop_oneof![Just(0usize), 1usize..20_000],
        turn in 0usize..=16,
        want in 1u32..100,
    ) {
        let mut machine = Machine::new();
        let of = |weight| TenantPolicy { weight, ..TenantPolicy::default() };
        let mut policy = QueuePolicy::default();
        policy.tenants.insert(tenant("single"), of(own));
        let mut bound = 0u64;
        for (at, weight) in weights.iter().enumerate() {
            policy.tenants.insert(tenant(&format!("t{at}")), of(*weight));
            let made_up_for = (turn as u64 * of(own).stride()).div_ceil(of(*weight).stride());
            bound += 16 + made_up_for;
        }
        machine.set_policy(&queue(), &policy, START_US);
        for at in 0..weights.len() {
            machine.submit(&tasks_of(&format!("t{at}"), depth), START_US).unwrap();
        }
        let mut gone = 0;
        while gone < taken.min(weights.len() * depth / 2) {
            gone += step(&mut machine, &[], want, START_US).len();
        }
        let busy: Vec<Task> = (0..elsewhere)
            .map(|_| Task { tenant: tenant("busy"), ..task("elsewhere", fresh_id()) })
            .collect();
        machine.submit(&busy, START_US).unwrap();
        while !step_of(&mut machine, &["elsewhere"], &[], 250, START_US).is_empty() {}
        let mut before = tasks_of("single", turn);
        machine.submit(&before, START_US).unwrap();
        while !before.is_empty() {
            let claims = step(&mut machine, &[], want, START_US);
            before.retain(|task| claims.iter().all(|claim| claim.id != task.id));
        }
        let single = tasks_of("single", 1).remove(0);
        machine.submit(std::slice::from_ref(&single), START_US + 1).unwrap();
        let mut waited = 0;
        loop {
            let claims = step(&mut machine, &[], want, START_US + 2);
            prop_assert!(!claims.is_empty());
            if let Some(at) = claims.iter().position(|claim| claim.id == single.id) {
                waited += at as u64;
                break;
            }
            waited += claims.len() as u64;
        }
        prop_assert!(waited <= bound, "waited for {waited}, the bound is {bound}");
    }

    /// However often hosts of another type move the present past all tenants of a ring, each
    /// of them waits no longer between its tasks than for a turn of every other tenant and for
    /// what makes up for its own.
    #[test]
    fn hosts_of_other_types_let_nobody_starve(
        weights in proptest::collection::vec(1u32..200, 2..5),
        rounds in proptest::collection::vec((1u32..60, 0usize..300), 1..60),
    ) {
        let mut machine = Machine::new();
        let of = |weight| TenantPolicy { weight, ..TenantPolicy::default() };
        let names: Vec<String> = (0..weights.len()).map(|at| format!("t{at}")).collect();
        let mut policy = QueuePolicy::default();
        for (name, weight) in names.iter().zip(&weights) {
            policy.tenants.insert(tenant(name), of(*weight));
            machine.submit(&tasks_of(name, 2_000), START_US).unwrap();
        }
        machine.set_policy(&queue(), &policy, START_US);
        let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
        for (want, elsewhere) in rounds {
            let busy: Vec<Task> = (0..elsewhere)
                .map(|_| Task { tenant: tenant("busy"), ..task("elsewhere", fresh_id()) })
                .collect();
            machine.submit(&busy, START_US).unwrap();
            while !step_of(&mut machine, &["elsewhere"], &[], 250, START_US).is_empty() {}
            for claim in step(&mut machine, &[], want, START_US) {
                let served = claim.task.unwrap().tenant;
                for name in &names {
                    *waiting.entry(name).or_default() += 1;
                }
                let (served, _) = waiting.get_key_value(served.as_str()).unwrap();
                let served = *served;
                waiting.insert(served, 0);
            }
            for (name, own) in names.iter().zip(&weights) {
                let stride = of(*own).stride();
                let bound: u64 = weights
                    .iter()
                    .map(|weight| 16 + (16 * stride).div_ceil(of(*weight).stride()))
                    .sum();
                let waited = waiting.get(name.as_str()).copied().unwrap_or(0);
                prop_assert!(waited <= bound, "`{name}` waits for {waited}, bound {bound}");
            }
        }
    }

    /// Over any span, no more than burst and rate are started, whatever bounds: queue, type,
    /// tenant or key; and what is held back goes on when its tokens are back.
    #[test]
    fn no_span_starts_more_than_burst_and_rate(
        which in 0usize..4,
        interval_us in 1_000u64..500_000,
        burst in 1u32..8,
        waits in proptest::collection::vec(0u64..600_000, 1..60),
    ) {
        let rate = Some(Rate { interval_us, burst });
        let bounds = Bounds { concurrency: None, rate };
        let of_tenant = TenantPolicy { rate, ..TenantPolicy::default() };
        let policy = match which {
            0 => QueuePolicy { rate, ..Default::default() },
            1 => QueuePolicy { types: [(of_type("a"), bounds)].into(), ..Default::default() },
            2 => QueuePolicy { other_tenants: Some(of_tenant), ..Default::default() },
            _ => QueuePolicy { keys: [("k".to_owned(), bounds)].into(), ..Default::default() },
        };
        let mut machine = Machine::new();
        machine.set_policy(&queue(), &policy, START_US);
        let key = Some(TermKey::new("k").unwrap());
        let tasks: Vec<Task> = (0..500)
            .map(|_| Task { terms: Terms { key: key.clone(), ..Terms::default() }, ..task("a", fresh_id()) })
            .collect();
        machine.submit(&tasks, START_US).unwrap();
        let (mut now_us, mut started) = (START_US, 0u64);
        for wait in waits {
            now_us += wait;
            let claims = step(&mut machine, &[], 100, now_us);
            // Some are settled at once, which must not free a token.
            let settle: Vec<Settlement> = claims.iter().step_by(2).map(done).collect();
            started += claims.len() as u64 + step(&mut machine, &settle, 100, now_us).len() as u64;
            let most = u64::from(burst) + (now_us - START_US) / interval_us;
            prop_assert!(started <= most, "{started} started, {most} are allowed");
        }
        let open = 500 - started;
        now_us += interval_us * u64::from(burst);
        let again = step(&mut machine, &[], 100, now_us).len() as u64;
        prop_assert_eq!(again, open.min(u64::from(burst)));
        prop_assert_eq!(machine.examine(&queue(), false), []);
    }

    /// A lower priority waits at most for what came within its head start.
    #[test]
    fn nothing_starves(
        low in 0u8..100, high in 1u8..=100, flood in 1usize..50, pace_us in 1u64..60_000_000,
    ) {
        prop_assume!(low < high);
        let mut machine = Machine::new();
        let of = |level: u8| Task { priority: Priority::try_from(level).unwrap(), ..task("a", fresh_id()) };
        let waiting = of(low);
        machine.submit(std::slice::from_ref(&waiting), START_US).unwrap();
        let head_start_us = u64::from(high - low) * 36_000_000;
        let mut now_us = START_US;
        loop {
            now_us += pace_us * flood as u64;
            machine.submit(&(0..flood).map(|_| of(high)).collect::<Vec<_>>(), now_us).unwrap();
            let claims = step(&mut machine, &[], 1, now_us);
            if claims[0].id == waiting.id {
                break;
            }
            prop_assert!(now_us <= START_US + head_start_us + pace_us * flood as u64 + HOUR_US / 2);
            if now_us > START_US + head_start_us {
                // What came later has no head start left: only the backlog is ahead.
                let ahead = step(&mut machine, &[], 1_000, now_us);
                let found = ahead.iter().any(|claim| claim.id == waiting.id) || ahead.len() == 1_000;
                prop_assert!(found);
                break;
            }
        }
    }
}

/// Two types of one tenant, where the one that came later is the more urgent: the turn is
/// the tenant's, and the urgent one goes first.
#[test]
fn an_urgent_line_that_joined_later_does_not_stop_its_tenant() {
    let mut machine = Machine::new();
    let of = |task_type: &str, tenant_name: &str| Task {
        tenant: tenant(tenant_name),
        ..task(task_type, fresh_id())
    };
    let first = of("a", "both");
    machine.submit(std::slice::from_ref(&first), START_US).unwrap();
    // Others move the present virtual time on.
    machine.submit(&(0..100).map(|_| of("b", "other")).collect::<Vec<_>>(), START_US).unwrap();
    let only_b = [of_type("b").into()];
    let taken = Step {
        host: "h",
        settle: &[],
        renew: &[],
        progress: &[],
        want: 40,
        claim_bytes: u64::MAX,
        serves: &only_b,
        lease: Duration::from_secs(60),
        reclaim: false,
        dead_retention_ms: DAY_MS,
        apart: false,
    };
    assert_eq!(machine.step(&queue(), &taken, START_US).unwrap().claims.len(), 40);
    let urgent = Task { priority: Priority::CRITICAL, ..of("b", "both") };
    machine.submit(std::slice::from_ref(&urgent), START_US).unwrap();
    let claims = step(&mut machine, &[], 100, START_US);
    assert_eq!(claims.len(), 62);
    let places: BTreeMap<_, _> =
        claims.iter().enumerate().map(|(place, claim)| (claim.id, place)).collect();
    assert!(places[&urgent.id] < places[&first.id]);
}
