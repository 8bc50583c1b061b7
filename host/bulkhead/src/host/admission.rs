//! Whether the host takes on more work: reads how its machine stands, every so often, and stops
//! claims while a mark is passed. What runs goes on, and its ends are settled.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bulkhead_core::{Admission, MachineState};

use super::vitals::Vitals;
use crate::machine::{CpuTime, Machine};
use crate::options::HostOptions;
use crate::serve::{Line, Shared};

/// Keeps an eye on one host's machine.
pub(super) struct Doorkeeper {
    shared: Arc<Shared>,
    lines: Vec<Arc<Line>>,
    vitals: Vitals,
    admission: Admission,
    interval: Duration,
    gauge: Gauge,
}

/// Reads how a machine stands.
struct Gauge {
    machine: Arc<dyn Machine>,
    folders: Vec<PathBuf>,
    ceiling_bytes: Option<u64>,
    /// As it was at the last look.
    cpu: Option<CpuTime>,
}

impl Doorkeeper {
    /// For a host that has marks; nothing for another one.
    pub(super) fn of(
        shared: &Arc<Shared>,
        lines: &[Arc<Line>],
        options: &HostOptions,
        vitals: &Vitals,
    ) -> Option<Self> {
        let admission = &options.admission;
        let folders = || admission.marks.disk.map_or_else(Vec::new, |_| options.written_folders());
        admission.marks.is_any().then(|| Self {
            shared: shared.clone(),
            lines: lines.to_vec(),
            vitals: vitals.clone(),
            admission: Admission::new(admission.marks),
            interval: admission.interval,
            gauge: Gauge {
                machine: options.machine.clone(),
                folders: folders(),
                ceiling_bytes: options.memory_bytes,
                cpu: None,
            },
        })
    }

    /// Look once: a host that begins on a machine that is full claims nothing first.
    pub(super) fn look(&mut self) {
        let seen = self.gauge.read();
        let why: Vec<String> =
            self.admission.judge(&seen).iter().map(ToString::to_string).collect();
        let refuses = !why.is_empty();
        if refuses != self.shared.refuses.swap(refuses, Ordering::AcqRel) {
            if refuses {
                tracing::warn!(reason = %why.join("; "),
                    "the host claims nothing more; what runs goes on");
            } else {
                tracing::info!("the host claims again");
                self.shared.room.ring();
                self.lines.iter().for_each(|line| line.wake());
            }
        }
        self.vitals.refuse(why);
    }

    /// Look again and again.
    pub(super) async fn watch(mut self) {
        loop {
            tokio::time::sleep(self.interval).await;
            self.look();
        }
    }
}

impl Gauge {
    fn read(&mut self) -> MachineState {
        let cpu = self.machine.cpu();
        let busy = cpu.zip(self.cpu).and_then(|(now, before)| now.busy_since(&before));
        self.cpu = cpu;
        let share = |used: u64, all: u64| used as f64 / all.max(1) as f64;
        let machine = self.machine.memory().map(|memory| {
            share(memory.total_bytes.saturating_sub(memory.available_bytes), memory.total_bytes)
        });
        let own = self.machine.resident_bytes().zip(self.ceiling_bytes);
        let own = own.map(|(resident, ceiling)| share(resident, ceiling));
        let disks = self.folders.iter().filter_map(|folder| {
            Some((folder.display().to_string(), self.machine.free_bytes(folder)?))
        });
        MachineState {
            cpu: busy,
            memory: own.into_iter().chain(machine).reduce(f64::max),
            disks: disks.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use parking_lot::Mutex;

    use super::*;
    use crate::machine::MemoryUse;

    /// Spends 30 of 100 parts of its CPU time idle between two looks.
    #[derive(Debug, Default)]
    struct Busy(Mutex<u64>);

    impl Machine for Busy {
        fn cpu(&self) -> Option<CpuTime> {
            let mut looks = self.0.lock();
            *looks += 1;
            Some(CpuTime { all: *looks * 100, idle: *looks * 30 })
        }
        fn memory(&self) -> Option<MemoryUse> {
            Some(MemoryUse { total_bytes: 100, available_bytes: 60 })
        }
        fn resident_bytes(&self) -> Option<u64> {
            Some(9)
        }
        fn process_cpu_us(&self) -> Option<u64> {
            None
        }
        fn free_bytes(&self, folder: &Path) -> Option<u64> {
            folder.is_absolute().then_some(7)
        }
    }

    #[test]
    fn cpu_time_is_known_from_the_second_look_and_the_fuller_memory_counts() {
        let gauge = |ceiling_bytes| Gauge {
            machine: Arc::new(Busy::default()),
            folders: vec!["/data".into(), "elsewhere".into()],
            ceiling_bytes,
            cpu: None,
        };
        let mut bounded = gauge(Some(10));
        let first = bounded.read();
        assert_eq!((first.cpu, first.memory), (None, Some(0.9)), "9 of 10 are resident");
        assert_eq!(first.disks, [("/data".to_owned(), 7)], "what cannot be read is not there");
        assert_eq!(bounded.read().cpu, Some(0.7));
        for ceiling_bytes in [None, Some(1_000)] {
            assert_eq!(gauge(ceiling_bytes).read().memory, Some(0.4), "of the machine's");
        }
    }
}
