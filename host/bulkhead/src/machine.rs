//! How the machine stands on which a host runs: what its CPUs, memory and disks are busy with.
//!
//! Read through a trait, since programs that embed a host may know better, as where a cgroup
//! bounds what the machine would give. What cannot be read is not there.

use std::fmt;
use std::path::Path;

/// Time that CPUs have spent, in any unit, since any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTime {
    /// Busy or not.
    pub all: u64,
    /// With nothing to do.
    pub idle: u64,
}

impl CpuTime {
    /// The share that was busy since `before`, from 0 to 1; nothing if no time has passed.
    #[must_use]
    pub fn busy_since(&self, before: &Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        let idle = self.idle.saturating_sub(before.idle).min(all);
        Some((all - idle) as f64 / all as f64)
    }
}

/// A machine's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// That it has.
    pub total_bytes: u64,
    /// That processes could still have.
    pub available_bytes: u64,
}

/// Where a host learns how its machine stands. Looks are taken every few seconds, on a thread
/// that others need; they must be short.
pub trait Machine: fmt::Debug + Send + Sync {
    /// The time that all CPUs have spent so far.
    fn cpu(&self) -> Option<CpuTime>;
    /// The machine's memory.
    fn memory(&self) -> Option<MemoryUse>;
    /// What this process has resident, in bytes.
    fn resident_bytes(&self) -> Option<u64>;
    /// The CPU time of this process so far, in microseconds.
    fn process_cpu_us(&self) -> Option<u64>;
    /// What an ordinary user may still write in a folder, in bytes; of one that is not there,
    /// in the next above it.
    fn free_bytes(&self, folder: &Path) -> Option<u64>;
}

/// The machine as Linux shows it. In a container CPU and memory are still the machine's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linux;

impl Machine for Linux {
    fn cpu(&self) -> Option<CpuTime> {
        cpu_time(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    fn memory(&self) -> Option<MemoryUse> {
        let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
        Some(MemoryUse {
            total_bytes: bytes_of(&meminfo, "MemTotal:")?,
            available_bytes: bytes_of(&meminfo, "MemAvailable:")?,
        })
    }

    fn resident_bytes(&self) -> Option<u64> {
        bytes_of(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
    }

    fn process_cpu_us(&self) -> Option<u64> {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = u64::try_from(spent.tv_sec).ok()?;
        Some(seconds * 1_000_000 + u64::try_from(spent.tv_nsec).ok()? / 1_000)
    }

    fn free_bytes(&self, folder: &Path) -> Option<u64> {
        let there = folder.ancestors().find_map(|folder| {
            // A relative path ends in one without a name: here.
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            rustix::fs::statvfs(folder).ok()
        })?;
        Some(there.f_bavail.saturating_mul(there.f_frsize))
    }
}

/// The first line of `/proc/stat`. Time that a guest of this machine had is counted in others.
fn cpu_time(stat: &str) -> Option<CpuTime> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields = line.split_whitespace().take(8).map(str::parse::<u64>);
    let fields = fields.collect::<Result<Vec<u64>, _>>().ok()?;
    // Waiting for a disk is idle time, too.
    let idle = fields.get(3)? + fields.get(4).unwrap_or(&0);
    Some(CpuTime { all: fields.iter().sum(), idle })
}

/// A line in kB of a file below `/proc`.
fn bytes_of(text: &str, line: &str) -> Option<u64> {
    let found = text.lines().find_map(|text| text.strip_prefix(line))?;
    found.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_busy_where_it_is_neither_idle_nor_waits_for_disks() {
        let before = cpu_time("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!(before, CpuTime { all: 100, idle: 80 });
        let after = CpuTime { all: 200, idle: 105 };
        assert_eq!(after.busy_since(&before), Some(0.75));
        assert_eq!(after.busy_since(&after), None);
        assert_eq!(before.busy_since(&after), None, "a clock that goes back tells nothing");
        for odd in ["", "cpu", "cpu  a b c d", "cpu  1 2 3", "intr 1 2 3 4 5"] {
            assert_eq!(cpu_time(odd), None, "{odd}");
        }
    }

    #[test]
    fn sizes_are_read_from_their_lines() {
        let text = "MemTotal:  10 kB\nMemAvailable: 4 kB\nOdd: 3\n";
        assert_eq!(bytes_of(text, "MemAvailable:"), Some(4_096));
        assert_eq!((bytes_of(text, "Odd:"), bytes_of(text, "Nothing:")), (None, None));
    }

    #[test]
    fn this_machine_shows_everything() {
        let (cpu, memory) = (Linux.cpu().unwrap(), Linux.memory().unwrap());
        assert!(cpu.all > cpu.idle);
        assert!(memory.total_bytes > memory.available_bytes);
        assert!(Linux.resident_bytes().unwrap() > 1 << 20);
        assert!(Linux.process_cpu_us().unwrap() < 3_600_000_000);
        let folder = tempfile::tempdir().unwrap();
        let free = |path: &Path| Linux.free_bytes(path).unwrap();
        assert!(free(&folder.path().join("not/there")) > 0 && free(Path::new("nowhere")) > 0);
    }
}
