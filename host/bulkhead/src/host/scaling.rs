//! The host's own eyes and hands for the autoscaler of `core`: what it sees of its load, every
//! so often, and how many attempts it then lets run at once.
//!
//! While the broker is away nothing is seen, and nothing changes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{AutoscalePolicy, Autoscaler, MemoryLoad, Observation, Priority};
use bulkhead_queue::{QueueError, QueueStats};

use super::vitals::Vitals;
use crate::machine::Machine;
use crate::options::{AutoscaleOptions, HostOptions};
use crate::serve::{Line, Shared, Tally};

/// Looks at how many attempts run, for each observation: tasks can be short.
const LOOKS: u32 = 20;

/// What follows the load of one host.
pub(super) struct Scaling {
    shared: Arc<Shared>,
    lines: Vec<Arc<Line>>,
    machine: Arc<dyn Machine>,
    vitals: Vitals,
    tally: Arc<Tally>,
    interval: Duration,
    policy: AutoscalePolicy,
    ceiling_bytes: Option<u64>,
    /// Whether attempts spend their CPU time in other processes.
    is_apart: bool,
}

impl AutoscaleOptions {
    /// What the controller is to keep to in a host of these options.
    pub(super) fn policy(&self, options: &HostOptions) -> AutoscalePolicy {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cpus = cores.min(options.guest_threads);
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        AutoscalePolicy {
            min: self.min,
            max: self.max.unwrap_or(options.concurrency).min(options.concurrency),
            up: self.up,
            down: self.down,
            pick_up_target_ms: self.pick_up_target.map(ms),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        }
    }
}

impl Scaling {
    /// For a host that is to follow its load; nothing for another one.
    pub(super) fn of(
        shared: &Arc<Shared>,
        lines: &[Arc<Line>],
        options: &HostOptions,
        vitals: &Vitals,
    ) -> Option<Self> {
        let autoscale = options.autoscale.as_ref()?;
        Some(Self {
            shared: shared.clone(),
            lines: lines.to_vec(),
            machine: options.machine.clone(),
            vitals: vitals.clone(),
            tally: shared.tally.clone()?,
            interval: autoscale.interval,
            policy: autoscale.policy(options),
            ceiling_bytes: options.memory_bytes,
            is_apart: options.isolation.process,
        })
    }

    /// Follow it for ever.
    pub(super) async fn follow(self) {
        let mut scaler = Autoscaler::new(self.policy);
        self.shared.metrics.autoscale_to(self.shared.permits.total());
        let began = Instant::now();
        let (mut cpu_us, mut looked_at) = (self.machine.process_cpu_us(), began);
        loop {
            let in_flight = self.in_flight().await;
            let pending = match self.pending().await {
                Ok(pending) => pending,
                Err(error) => {
                    tracing::debug!(%error, "cannot see what waits; concurrency stays");
                    continue;
                }
            };
            let (work, pick_up_ms) = self.tally.take();
            let now = Instant::now();
            let spent_us = self.machine.process_cpu_us();
            let own_us = spent_us.zip(cpu_us).map_or(0, |(now, before)| now.saturating_sub(before));
            let apart_us = if self.is_apart { work.cpu_us } else { 0 };
            let elapsed_us = now.duration_since(looked_at).as_secs_f64() * 1e6;
            (cpu_us, looked_at) = (spent_us, now);
            let could_us = elapsed_us * f64::from(self.policy.cpus);
            let at_ms = now.duration_since(began).as_millis();
            let verdict = scaler.observe(&Observation {
                at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
                in_flight,
                pending,
                work,
                cpu_busy: (own_us.saturating_add(apart_us) as f64 / could_us).min(1.0),
                pick_up_ms,
                memory: self.memory(),
            });
            self.vitals.note(verdict);
            self.shared.metrics.autoscaled(&verdict);
            if verdict.is_change() {
                tracing::info!(concurrency = verdict.to, signal = %verdict.reason.signal(),
                    "concurrency {verdict}");
                self.shared.permits.set_total(verdict.to);
                self.lines.iter().for_each(|line| line.wake());
            } else {
                tracing::debug!(concurrency = verdict.to, "concurrency stays at {verdict}");
            }
        }
    }

    /// How many attempts run, on the average until the next observation.
    async fn in_flight(&self) -> u32 {
        let mut seen = 0;
        for _ in 0..LOOKS {
            tokio::time::sleep(self.interval / LOOKS).await;
            seen += self.shared.permits.used();
        }
        // What is half used counts as used.
        (seen + LOOKS / 2) / LOOKS
    }

    /// What waits that this host could claim.
    async fn pending(&self) -> Result<[u64; Priority::CLASSES], QueueError> {
        let served: HashSet<String> = {
            let table = self.shared.registry.table();
            table.serves().iter().map(|serves| serves.task_type.to_string()).collect()
        };
        let mut pending = [0; Priority::CLASSES];
        for line in &self.lines {
            let stats = self.shared.broker.stats(&line.queue.name).await?;
            for (sum, class) in pending.iter_mut().zip(claimable(&stats, &served)) {
                *sum += class;
            }
        }
        Ok(pending)
    }

    fn memory(&self) -> Option<MemoryLoad> {
        let ceiling = self.ceiling_bytes?;
        let budget = &self.shared.budget;
        let resident = self.machine.resident_bytes().unwrap_or(0);
        Some(MemoryLoad {
            resident: resident as f64 / ceiling.max(1) as f64,
            fits: budget.fits(self.shared.registry.table().most_bytes()),
            waiting: budget.status().waiting,
        })
    }
}

/// What of a queue's lines can be claimed, by priority class: of the types that are served and
/// not paused, which are taken to be as urgent as all together.
fn claimable(stats: &QueueStats, served: &HashSet<String>) -> [u64; Priority::CLASSES] {
    let in_line: u64 = stats.by_priority.iter().sum();
    if stats.paused || in_line == 0 {
        return [0; Priority::CLASSES];
    }
    let open = stats.by_type.iter().filter(|depth| !depth.paused);
    let ours: u64 =
        open.filter(|depth| served.contains(&depth.task_type)).map(|depth| depth.pending).sum();
    let ours = ours.min(in_line);
    stats
        .by_priority
        .map(|class| (u128::from(class) * u128::from(ours) / u128::from(in_line)) as u64)
}

#[cfg(test)]
mod tests {
    use bulkhead_queue::TypeDepth;

    use super::*;

    #[test]
    fn only_what_could_be_claimed_counts() {
        let depth = |task_type: &str, pending, paused| TypeDepth {
            task_type: task_type.into(),
            pending,
            paused,
        };
        let stats = QueueStats {
            by_priority: [0, 60, 0, 40],
            by_type: vec![depth("a", 50, false), depth("b", 30, true), depth("c", 20, false)],
            ..QueueStats::default()
        };
        let served: HashSet<String> = ["a".to_owned(), "b".to_owned()].into();
        assert_eq!(claimable(&stats, &served), [0, 30, 0, 20]);
        assert_eq!(claimable(&stats, &HashSet::new()), [0; 4]);
        let paused = QueueStats { paused: true, ..stats };
        assert_eq!(claimable(&paused, &served), [0; 4]);
        assert_eq!(claimable(&QueueStats::default(), &served), [0; 4]);
    }
}
