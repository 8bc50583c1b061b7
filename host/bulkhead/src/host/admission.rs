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
    machine: Arc<dyn Machine>,
    vitals: Vitals,
    admission: Admission,
    interval: Duration,
    folders: Vec<PathBuf>,
    ceiling_bytes: Option<u64>,
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
        admission.marks.is_any().then(|| Self {
            shared: shared.clone(),
            lines: lines.to_vec(),
            machine: options.machine.clone(),
            vitals: vitals.clone(),
            admission: Admission::new(admission.marks),
            interval: admission.interval,
            folders: admission.marks.disk.map_or_else(Vec::new, |_| options.written_folders()),
            ceiling_bytes: options.memory_bytes,
            cpu: None,
        })
    }

    /// Look once: a host that begins on a machine that is full claims nothing first.
    pub(super) fn look(&mut self) {
        let seen = self.state();
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

    fn state(&mut self) -> MachineState {
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
