//! What is counted of task types, as a host tells it of itself.

use std::collections::BTreeMap;

use bulkhead_core::FailureKind;
use bulkhead_queue::{HostInfo, TypeFigures};

use super::Metrics;

impl Metrics {
    /// The figures of each task type over all queues, by type; at most [`HostInfo::TYPES`].
    pub(crate) fn types(&self) -> Vec<TypeFigures> {
        let families = self.families();
        let mut types: BTreeMap<String, TypeFigures> = BTreeMap::new();
        // The labels are the queue, the type and, of attempts, the outcome.
        families.attempts.visit(|labels, attempts| {
            let [_, task_type, outcome] = labels else { return };
            if *outcome == "returned" {
                return;
            }
            let of = figures(&mut types, task_type);
            of.attempts += attempts.total();
            // Nobody failed where somebody cancelled.
            if *outcome != "done" && *outcome != FailureKind::Cancelled.as_str() {
                of.failed += attempts.total();
            }
        });
        families.run.visit(|labels, run| {
            let [_, task_type] = labels else { return };
            let of = figures(&mut types, task_type);
            let buckets = run.buckets();
            of.run.resize(buckets.len(), 0);
            of.run.iter_mut().zip(buckets).for_each(|(sum, more)| *sum += more);
        });
        families.fuel.visit(|labels, fuel| {
            let [_, task_type] = labels else { return };
            figures(&mut types, task_type).fuel += fuel.total();
        });
        types.into_values().take(HostInfo::TYPES).collect()
    }
}

fn figures<'a>(
    types: &'a mut BTreeMap<String, TypeFigures>,
    task_type: &str,
) -> &'a mut TypeFigures {
    let of = types.entry(task_type.to_owned()).or_default();
    if of.task_type.is_empty() {
        of.task_type = task_type.to_owned();
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_summed_up_over_queues_and_outcomes() {
        let metrics = Metrics::default();
        let families = metrics.families();
        for (queue, outcome, attempts) in [
            ("a", "done", 5),
            ("b", "done", 3),
            ("a", "timed_out", 2),
            ("a", "cancelled", 1),
            ("a", "returned", 7),
        ] {
            families.attempts.of(&[queue, "mail", outcome]).add(attempts);
        }
        families.run.of(&["a", "mail"]).observe(90);
        families.run.of(&["b", "mail"]).observe(240);
        families.fuel.of(&["a", "mail"]).add(40);
        families.fuel.of(&["b", "mail"]).add(2);
        let types = metrics.types();
        let [mail] = &types[..] else { panic!("{types:?}") };
        assert_eq!((mail.attempts, mail.failed, mail.fuel), (11, 2, 42));
        assert_eq!(mail.run[..3], [1, 1, 0]);
        assert_eq!(mail.run.len(), bulkhead_queue::TIMES_US.len() + 1);
    }
}
