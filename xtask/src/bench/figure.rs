//! The figures by name, and which program measures each.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Criterion.
    Attempt,
    /// The load benchmark, in the group of this name.
    Load(&'static str),
    /// The same, and only together with the peers.
    Peers(&'static str),
}

/// Every figure, in the order in which they are shown.
const FIGURES: [(&str, Source); 24] = [
    ("drain_noop", Source::Load("drain_noop")),
    ("ratio_rust_task_queue", Source::Peers("drain_noop")),
    ("ratio_apalis", Source::Peers("drain_noop")),
    ("pickup_p50", Source::Load("pickup")),
    ("pickup_p99", Source::Load("pickup")),
    ("submit_bulk", Source::Load("drain_noop")),
    ("attempt_overhead", Source::Attempt),
    ("reload", Source::Load("reload")),
    ("start_cached", Source::Load("start_cached")),
    ("start_compiling", Source::Load("start_cached")),
    ("host_rss", Source::Load("host_rss")),
    ("host_cpu", Source::Load("drain_noop")),
    ("redis_cpu", Source::Load("drain_noop")),
    ("drain_noop_64", Source::Load("host_rss")),
    ("drain_embedded_memory", Source::Load("drain_embedded")),
    ("drain_embedded_durable", Source::Load("drain_embedded")),
    ("drain_cluster", Source::Load("drain_cluster")),
    ("depth_claim_share", Source::Load("depth")),
    ("depth_bytes_per_pending", Source::Load("depth")),
    ("depth_longest_deep", Source::Load("depth")),
    ("depth_longest_due", Source::Load("depth")),
    ("depth_longest_in_flight", Source::Load("depth")),
    ("drain_rust_task_queue", Source::Peers("drain_noop")),
    ("drain_apalis", Source::Peers("drain_noop")),
];

/// Where a figure is shown; those that this list does not know come last.
pub(super) fn rank(name: &str) -> usize {
    FIGURES.iter().position(|(known, _)| *known == name).unwrap_or(FIGURES.len())
}

/// The figures that are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    wanted: Vec<(&'static str, Source)>,
    /// Nothing was left out, so figures that nobody listed are welcome.
    is_everything: bool,
}

impl Selection {
    /// The figure named `only`, or else those whose names contain it; all without it.
    pub(super) fn new(only: Option<&str>, peers: bool) -> Result<Self> {
        let only = only.unwrap_or_default();
        let is_named = FIGURES.iter().any(|(name, _)| *name == only);
        let matches = |name: &str| if is_named { name == only } else { name.contains(only) };
        let matching: Vec<_> = FIGURES.into_iter().filter(|(name, _)| matches(name)).collect();
        if matching.is_empty() {
            let names: Vec<_> = FIGURES.iter().map(|(name, _)| *name).collect();
            bail!("no figure is called `{only}`: there are {}", names.join(", "));
        }
        let is_measured = |source| peers || !matches!(source, Source::Peers(_));
        let wanted: Vec<_> =
            matching.into_iter().filter(|(_, source)| is_measured(*source)).collect();
        ensure!(!wanted.is_empty(), "`{only}` compares with other task queues: add --peers");
        Ok(Self { wanted, is_everything: only.is_empty() })
    }

    /// Whether a figure that was measured is to be shown.
    pub(super) fn includes(&self, name: &str) -> bool {
        self.is_everything || self.wanted.iter().any(|(wanted, _)| *wanted == name)
    }

    pub(super) fn needs_attempt(&self) -> bool {
        self.wanted.iter().any(|(_, source)| *source == Source::Attempt)
    }

    pub(super) fn needs_load(&self) -> bool {
        !self.load_groups().is_empty()
    }

    /// The groups of the load benchmark to run; `None` stands for all of them at once.
    pub(super) fn load_groups(&self) -> Vec<Option<&'static str>> {
        if self.is_everything {
            return vec![None];
        }
        let groups: BTreeSet<_> = self
            .wanted
            .iter()
            .filter_map(|(_, source)| match source {
                Source::Load(group) | Source::Peers(group) => Some(Some(*group)),
                Source::Attempt => None,
            })
            .collect();
        groups.into_iter().collect()
    }

    /// An error if a wanted figure is not among those that were measured.
    pub(super) fn check(&self, is_measured: impl Fn(&str) -> bool) -> Result<()> {
        let missing: Vec<_> =
            self.wanted.iter().map(|(name, _)| *name).filter(|name| !is_measured(name)).collect();
        ensure!(missing.is_empty(), "not measured: {}", missing.join(", "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(only: &str, peers: bool) -> Selection {
        Selection::new(Some(only), peers).unwrap()
    }

    #[test]
    fn everything_is_measured_in_one_call_and_peers_only_on_request() {
        let all = Selection::new(None, false).unwrap();
        assert_eq!(all.load_groups(), [None]);
        assert!(all.needs_attempt() && all.includes("a new figure"));
        all.check(|name| !name.contains("apalis")).unwrap();
        let error = Selection::new(None, true).unwrap().check(|name| name != "ratio_apalis");
        assert_eq!(error.unwrap_err().to_string(), "not measured: ratio_apalis");
    }

    #[test]
    fn one_figure_runs_its_group_only() {
        let bulk = select("submit_bulk", false);
        assert_eq!(bulk.load_groups(), [Some("drain_noop")]);
        assert!(bulk.includes("submit_bulk") && !bulk.includes("drain_noop"));
        let attempt = select("attempt_overhead", false);
        assert!(attempt.needs_attempt() && !attempt.needs_load());
        assert_eq!(select("ratio", true).load_groups(), [Some("drain_noop")]);
    }

    #[test]
    fn a_full_name_is_that_figure_and_a_part_is_all_that_contain_it() {
        assert!(!select("drain_noop", false).includes("drain_noop_64"));
        let drains = select("drain", false);
        let groups = ["drain_cluster", "drain_embedded", "drain_noop", "host_rss"].map(Some);
        assert_eq!(drains.load_groups(), groups);
    }

    #[test]
    fn what_cannot_be_measured_is_said() {
        let error = Selection::new(Some("speed"), false).unwrap_err().to_string();
        assert!(error.contains("`speed`") && error.contains("pickup_p99"), "{error}");
        let error = Selection::new(Some("ratio"), false).unwrap_err().to_string();
        assert!(error.contains("add --peers"), "{error}");
    }

    #[test]
    fn figures_keep_their_order() {
        assert!(rank("drain_noop") < rank("ratio_apalis"));
        assert!(rank("drain_apalis") < rank("a new figure"));
    }
}
