//! Examination: indexes are derived anew from the tasks and compared with those in use.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_core::{QueueName, TaskId, TaskType, TenantName};

use super::Machine;
use super::index::{Index, Kind, Lane, Load};
use super::queue::Queue;
use super::task::Place;
use crate::finding::{Finding, FindingKind};

/// One membership of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Member<'a> {
    Line(&'a TaskType, &'a TenantName, i64),
    LetIn(&'a str, i64),
    Waiting(&'a str, i64),
    Timed(&'static str, u64),
}

impl Machine {
    /// Look for disagreement between a queue's tasks and its indexes, and repair it if
    /// asked.
    pub fn examine(&mut self, queue: &QueueName, repair: bool) -> Vec<Finding> {
        let Some(at) = self.enter(queue) else { return Vec::new() };
        let fresh = self.queues[at].derive();
        let mut findings = self.queues[at].compare(&fresh);
        findings.extend(self.compare_links(at));
        if repair && !findings.is_empty() {
            self.queues[at].index = fresh;
            self.link_all();
            for finding in &mut findings {
                finding.repaired = true;
            }
        }
        findings
    }

    /// Links of this queue's blocked tasks.
    fn compare_links(&self, at: usize) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |kind, task, detail: String| {
            findings.push(Finding { kind, task: Some(task), detail, repaired: false });
        };
        for (id, kept) in &self.queues[at].tasks {
            if kept.place != (Place::Blocked { linked: true }) {
                continue;
            }
            for parent in kept.waits() {
                let linked = self.node(parent).and_then(|node| self.links.get(&node));
                if !linked.is_some_and(|children| children.contains(&(at, *id))) {
                    let detail = format!("it waits for {parent}, which does not know of it");
                    find(FindingKind::Stranded, *id, detail);
                }
            }
        }
        for (parent, children) in &self.links {
            for (_, id) in children.iter().filter(|child| child.0 == at) {
                let kept = self.queues[at].tasks.get(id);
                let waits = kept.is_some_and(|kept| {
                    kept.place == Place::Blocked { linked: true }
                        && kept.waits().iter().any(|waited| self.node(waited) == Some(*parent))
                });
                if !waits {
                    let detail =
                        format!("it is linked to {}, which it does not wait for", parent.1);
                    find(FindingKind::Leaked, *id, detail);
                }
            }
        }
        findings
    }
}

impl Queue {
    /// All indexes, from the tasks alone. Holders of unique keys are kept where they may
    /// hold them.
    fn derive(&self) -> Index {
        let mut fresh = Index::default();
        for (id, kept) in &self.tasks {
            fresh.enter(*id, kept, self.facts.join_at(&kept.tenant));
            if let Some(hold) = kept.ties.as_ref().and_then(|ties| ties.unique.as_ref())
                && self.index.uniques.get(&hold.key) == Some(id)
                && (hold.until_ms.is_some() || !kept.place.has_ended())
            {
                fresh.uniques.insert(hold.key.clone(), *id);
            }
        }
        fresh
    }

    fn compare(&self, fresh: &Index) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |kind, task, detail| {
            findings.push(Finding { kind, task, detail, repaired: false });
        };
        let (used, derived) = (members(&self.index), members(fresh));
        for (id, member) in derived.difference(&used) {
            find(FindingKind::Stranded, Some(*id), format!("it is missing from {member:?}"));
        }
        for (id, member) in used.difference(&derived) {
            let kind = match self.tasks.contains_key(id) {
                true => FindingKind::Duplicated,
                false => FindingKind::Dangling,
            };
            find(kind, Some(*id), format!("it does not belong in {member:?}"));
        }
        self.compare_ended(fresh, &mut find);
        self.compare_rings(&mut find);
        let (used, derived) = (counts(&self.index), counts(fresh));
        for name in used.keys().chain(derived.keys()).collect::<BTreeSet<_>>() {
            let (is, ought) = (used.get(name).unwrap_or(&0), derived.get(name).unwrap_or(&0));
            if is != ought {
                let detail = format!("{name} is {is} where {ought} are there");
                find(FindingKind::Miscounted, None, detail);
            }
        }
        for (key, id) in &self.index.uniques {
            if fresh.uniques.get(key) != Some(id) {
                let detail =
                    format!("the unique key `{key}` is held by a task that cannot hold it");
                find(FindingKind::Leaked, Some(*id), detail);
            }
        }
        findings
    }

    /// The list of ends holds the newest; what was pushed out of it stays out.
    fn compare_ended(
        &self,
        fresh: &Index,
        find: &mut impl FnMut(FindingKind, Option<TaskId>, String),
    ) {
        let oldest = self.index.ended.keys().next().copied();
        for (number, id) in &fresh.ended {
            let beyond = oldest.is_some_and(|oldest| *number < oldest);
            if !beyond && self.index.ended.get(number) != Some(id) {
                find(
                    FindingKind::Stranded,
                    Some(*id),
                    "it is missing from the list of ends".into(),
                );
            }
        }
        for (number, id) in &self.index.ended {
            let ended = self.tasks.get(id).is_some_and(
                |kept| matches!(kept.place, Place::Ended { number: of, .. } if of == *number),
            );
            if !ended {
                let detail = "it does not belong in the list of ends".into();
                find(FindingKind::Dangling, Some(*id), detail);
            }
        }
    }

    /// A tenant with a line stands in its ring, unless a limit keeps it out.
    fn compare_rings(&self, find: &mut impl FnMut(FindingKind, Option<TaskId>, String)) {
        for (task_type, kind) in &self.index.kinds {
            for (tenant, line) in &kind.lines {
                let rung =
                    line.virtual_time.is_some_and(|at| kind.ring.contains(&(at, tenant.clone())));
                let load = self.index.tenants.get(tenant);
                let parked = load.is_some_and(|load| load.parked_until.is_some());
                if !rung && !parked {
                    let detail = format!("the line {task_type}/{tenant} is in no ring");
                    find(FindingKind::Unringed, None, detail);
                }
            }
            for (_, tenant) in &kind.ring {
                if kind.lines.get(tenant).is_none_or(|line| line.tasks.is_empty()) {
                    let detail = format!("the ring of {task_type} names {tenant}, who has no line");
                    find(FindingKind::Unringed, None, detail);
                }
            }
        }
    }
}

/// Every membership of an index but the list of ends.
fn members(index: &Index) -> BTreeSet<(TaskId, Member<'_>)> {
    let mut all = BTreeSet::new();
    for (task_type, kind) in &index.kinds {
        for (tenant, line) in &kind.lines {
            let of = |(score, id): &(i64, TaskId)| (*id, Member::Line(task_type, tenant, *score));
            all.extend(line.tasks.iter().map(of));
        }
    }
    for (key, lane) in &index.lanes {
        let of = |(score, id): &(i64, TaskId)| (*id, Member::LetIn(key.as_str(), *score));
        all.extend(lane.let_in.iter().map(of));
        let of = |(score, id): &(i64, TaskId)| (*id, Member::Waiting(key.as_str(), *score));
        all.extend(lane.waiting.iter().map(of));
    }
    for (name, set) in [
        ("blocked", &index.blocked),
        ("unlinked", &index.unlinked),
        ("scheduled", &index.scheduled),
        ("leases", &index.leases),
        ("expiring", &index.expiring),
        ("keeping", &index.keeping),
        ("dead", &index.dead),
    ] {
        all.extend(set.iter().map(|(at, id)| (*id, Member::Timed(name, *at))));
    }
    all
}

/// Every count of an index that is not 0.
fn counts(index: &Index) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::from([("held back".to_owned(), index.held_back)]);
    for (task_type, Kind { pending, running, .. }) in &index.kinds {
        all.insert(format!("pending of type {task_type}"), *pending);
        all.insert(format!("running of type {task_type}"), u64::from(*running));
    }
    for (tenant, Load { open, running, .. }) in &index.tenants {
        all.insert(format!("open of tenant {tenant}"), *open);
        all.insert(format!("running of tenant {tenant}"), u64::from(*running));
    }
    for (key, Lane { running, .. }) in &index.lanes {
        all.insert(format!("running of key {key}"), u64::from(*running));
    }
    all.retain(|_, count| *count > 0);
    all
}
