//! How much memory this process may have, as far as the machine says.

use std::fmt;
use std::path::{Path, PathBuf};

/// A bound on memory that a cgroup of the first kind means none by.
const NO_BOUND_BYTES: u64 = 1 << 60;

/// The memory that a process may have, and what says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineMemory {
    /// In bytes.
    pub bytes: u64,
    /// Whether it is a cgroup's limit, and not what the machine has.
    pub limited: bool,
}

impl fmt::Display for MachineMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.limited { "the cgroup's limit" } else { "the machine's memory" })
    }
}

impl MachineMemory {
    /// Look at the machine; nothing if it does not say.
    #[must_use]
    pub fn look() -> Option<Self> {
        Self::under(Path::new("/"))
    }

    /// The smaller of what the machine has and what the cgroups above this process allow, with
    /// `proc` and `sys` under `root`.
    fn under(root: &Path) -> Option<Self> {
        let read = |path: PathBuf| std::fs::read_to_string(path).ok();
        let machine = read(root.join("proc/meminfo")).as_deref().and_then(total_bytes);
        let cgroups = read(root.join("proc/self/cgroup")).unwrap_or_default();
        let limits = limit_files(&cgroups, &root.join("sys/fs/cgroup"));
        let limits = limits.into_iter().filter_map(|file| read(file)?.trim().parse().ok());
        let limit = limits.filter(|bytes| (1..NO_BOUND_BYTES).contains(bytes)).min();
        match (machine, limit) {
            (Some(machine), Some(limit)) if limit < machine => {
                Some(Self { bytes: limit, limited: true })
            }
            (Some(bytes), _) => Some(Self { bytes, limited: false }),
            (None, limit) => limit.map(|bytes| Self { bytes, limited: true }),
        }
    }
}

/// `MemTotal` of `/proc/meminfo`.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

/// Where the limits of the cgroups are that `/proc/self/cgroup` names, and of all above them.
fn limit_files(cgroups: &str, mounted: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, name) = match controllers {
            "" => (mounted.to_owned(), "memory.max"),
            several if several.split(',').any(|one| one == "memory") => {
                (mounted.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be one that is not mounted there; its root is.
        let own = Path::new(path.trim_start_matches('/'));
        files.extend(own.ancestors().map(|above| base.join(above).join(name)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<MachineMemory> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        MachineMemory::under(root.path())
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemFree:  1 kB\nMemTotal:       1024 kB\nMemAvailable: 5 kB\n");

    #[test]
    fn the_least_of_machine_and_cgroups_counts() {
        let plain = Some(MachineMemory { bytes: 1 << 20, limited: false });
        assert_eq!(machine(&[MEMINFO]), plain);
        let second = ("proc/self/cgroup", "0::/a.slice/b\n");
        let unbounded = ("sys/fs/cgroup/a.slice/b/memory.max", "max\n");
        assert_eq!(machine(&[MEMINFO, second, unbounded]), plain);
        let limited = |bytes| Some(MachineMemory { bytes, limited: true });
        let above = ("sys/fs/cgroup/a.slice/memory.max", "4096\n");
        assert_eq!(machine(&[MEMINFO, second, unbounded, above]), limited(4_096));
        let own = ("sys/fs/cgroup/a.slice/b/memory.max", "2048");
        assert_eq!(machine(&[MEMINFO, second, own, above]), limited(2_048));
        assert_eq!(machine(&[second, own]), limited(2_048));
        let wide = ("sys/fs/cgroup/a.slice/b/memory.max", "99999999999");
        assert_eq!(machine(&[MEMINFO, second, wide]), plain);
    }

    #[test]
    fn cgroups_of_the_first_kind_are_understood() {
        let first = ("proc/self/cgroup", "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n");
        let root = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8192\n");
        let limited = Some(MachineMemory { bytes: 8_192, limited: true });
        assert_eq!(machine(&[MEMINFO, first, root]), limited);
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert!(!machine(&[MEMINFO, first, none]).unwrap().limited);
    }

    #[test]
    fn a_machine_that_says_nothing_or_nonsense_is_no_bound() {
        assert_eq!(machine(&[]), None);
        assert_eq!(machine(&[("proc/meminfo", "MemTotal: many\n")]), None);
        let odd = ("proc/self/cgroup", "0::/\n:\nx\n");
        assert_eq!(machine(&[odd, ("sys/fs/cgroup/memory.max", "-1")]), None);
    }
}
