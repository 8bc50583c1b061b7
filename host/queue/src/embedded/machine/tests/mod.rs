//! The machine against itself: after any operations its indexes agree with its tasks, what
//! its journal told agrees with its rows, and its rows make the same machine again.

mod world;

use std::collections::BTreeSet;

use bulkhead_core::{State, Task, TaskId, TermKey, Terms};
use proptest::prelude::*;
use uuid::Uuid;

use self::world::{Rows, START_US, World, queue};
use super::{Machine, Restoring};
use crate::finding::FindingKind;
use crate::view::ListFilter;

fn rows(machine: &Machine) -> Rows {
    machine.rows().into_iter().filter_map(|row| Some((row.key, row.value?.to_vec()))).collect()
}

/// The keys of the rows that are not the same in both.
fn differing(left: &Rows, right: &Rows) -> Vec<Vec<u8>> {
    let keys: BTreeSet<&Vec<u8>> = left.keys().chain(right.keys()).collect();
    keys.into_iter().filter(|key| left.get(*key) != right.get(*key)).cloned().collect()
}

fn restored(rows: &Rows) -> Machine {
    let mut restoring = Restoring::default();
    for (key, value) in rows {
        restoring.row(key, value).unwrap();
    }
    restoring.finish().unwrap()
}

fn examined(machine: &mut Machine) {
    for at in 0..2 {
        assert_eq!(machine.examine(&queue(at), false), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn indexes_journal_and_rows_agree_after_any_operations(seed: u64) {
        let mut world = World::new(seed);
        for at in 0..1_000 {
            world.act();
            world.listen();
            if at % 50 == 0 {
                examined(&mut world.machine);
            }
        }
        examined(&mut world.machine);
        let all = rows(&world.machine);
        let untold = differing(&all, &world.told);
        prop_assert!(untold.is_empty(), "{untold:?}");
        let mut again = restored(&all);
        examined(&mut again);
        let again = rows(&again);
        let changed = differing(&again, &all);
        prop_assert!(changed.is_empty(), "{changed:?}");
    }

    #[test]
    fn damaged_rows_never_panic(seed: u64, cut in 0usize..60, byte: u8) {
        let mut world = World::new(seed);
        (0..60).for_each(|_| world.act());
        let mut restoring = Restoring::default();
        for (key, mut value) in rows(&world.machine) {
            if world.dice.one_in(20) {
                value.truncate(cut);
                value.extend([byte; 3]);
            }
            if restoring.row(&key, &value).is_err() {
                return Ok(());
            }
        }
        let _ = restoring.finish();
    }
}

#[test]
fn an_examination_finds_and_repairs_damage() {
    let mut world = World::new(7);
    let mut tasks: Vec<Task> = (0..4).map(|_| world.task()).collect();
    for task in &mut tasks {
        task.terms = Terms::default();
        task.queue = queue(0);
    }
    world.machine.submit(&tasks, START_US).unwrap();
    examined(&mut world.machine);
    let index = &mut world.machine.queues[0].index;
    let kind = index.kinds.values_mut().next().unwrap();
    let (tenant, line) = kind.lines.iter_mut().next().unwrap();
    let tenant = tenant.clone();
    let lost = line.tasks.pop_first().unwrap();
    line.tasks.insert((0, TaskId(Uuid::nil())));
    kind.leave_ring(&tenant);
    kind.pending += 5;
    index.scheduled.insert((1, tasks[0].id));
    index.uniques.insert(TermKey::new("leaked").unwrap(), tasks[1].id);
    let found = world.machine.examine(&queue(0), false);
    let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
    for kind in [
        FindingKind::Stranded,
        FindingKind::Dangling,
        FindingKind::Duplicated,
        FindingKind::Unringed,
        FindingKind::Miscounted,
        FindingKind::Leaked,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} is not among {found:?}");
    }
    assert!(found.iter().any(|finding| finding.task == Some(lost.1)));
    let repaired = world.machine.examine(&queue(0), true);
    assert!(repaired.iter().all(|finding| finding.repaired));
    examined(&mut world.machine);
    let filter = ListFilter::of(State::Pending);
    assert_eq!(world.machine.list(&queue(0), &filter, None, START_US).tasks.len(), 4);
}
