//! Whether a host should take on more work, by how its machine stands.
//!
//! Pure: [`Admission`] is told what was read and answers what is strained. Between two marks it
//! stays as it was, so that a reading that trembles at a mark changes nothing. What runs is not
//! its affair.

use std::fmt;

/// Strained from `high` on, until it is at `low` or below. Both are shares, usually from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// From here on it is too much.
    pub high: f64,
    /// From here down it is well again; at most `high`.
    pub low: f64,
}

/// Strained while less than `least_bytes` are free, until `resume_bytes` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskMark {
    /// Below this it is too little.
    pub least_bytes: u64,
    /// From here on it is well again; at least `least_bytes`.
    pub resume_bytes: u64,
}

/// When a host takes on no more work. What has no mark is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AdmissionMarks {
    /// The share of the machine's CPUs that is busy.
    pub cpu: Option<Mark>,
    /// The share of memory that is in use: the host's of its ceiling, or the machine's,
    /// whichever is more.
    pub memory: Option<Mark>,
    /// What is free where the host writes.
    pub disk: Option<DiskMark>,
}

impl AdmissionMarks {
    /// Whether anything has a mark.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.cpu.is_some() || self.memory.is_some() || self.disk.is_some()
    }
}

/// What was read of a machine. What could not be read is not strained.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MachineState {
    /// The share of its CPUs that is busy.
    pub cpu: Option<f64>,
    /// The share of memory that is in use.
    pub memory: Option<f64>,
    /// Folders with the bytes that are free there.
    pub disks: Vec<(String, u64)>,
}

/// Something of a machine that is beyond its mark.
#[derive(Debug, Clone, PartialEq)]
pub enum Strain {
    /// So much of the CPUs is busy, and work goes on at the mark's lower end.
    Cpu(f64, Mark),
    /// So much of the memory is in use.
    Memory(f64, Mark),
    /// So many bytes are free in this folder.
    Disk(String, u64, DiskMark),
}

impl Strain {
    /// `cpu`, `memory` or `disk`.
    #[must_use]
    pub fn resource(&self) -> &'static str {
        match self {
            Self::Cpu(..) => "cpu",
            Self::Memory(..) => "memory",
            Self::Disk(..) => "disk",
        }
    }
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &f64| (share * 100.0).round();
        let mib = |bytes: &u64| bytes >> 20;
        match self {
            Self::Cpu(busy, Mark { low, .. }) => {
                write!(f, "the CPU is {} % busy; work goes on at {} %", percent(busy), percent(low))
            }
            Self::Memory(used, Mark { low, .. }) => {
                let (used, low) = (percent(used), percent(low));
                write!(f, "{used} % of the memory is in use; work goes on at {low} %")
            }
            Self::Disk(folder, free, DiskMark { resume_bytes, .. }) => {
                let folder = folder.escape_debug();
                let (free, resume) = (mib(free), mib(resume_bytes));
                write!(f, "`{folder}` has {free} MiB free; work goes on at {resume} MiB")
            }
        }
    }
}

/// Remembers what is strained.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Admission {
    marks: AdmissionMarks,
    cpu: bool,
    memory: bool,
    disks: Vec<String>,
}

impl Admission {
    /// With nothing strained.
    #[must_use]
    pub fn new(marks: AdmissionMarks) -> Self {
        Self { marks, ..Self::default() }
    }

    /// What is strained now; work is taken on while nothing is.
    pub fn judge(&mut self, seen: &MachineState) -> Vec<Strain> {
        let cpu = self.marks.cpu.zip(seen.cpu);
        self.cpu = cpu.is_some_and(|(mark, busy)| is_beyond(mark, busy, self.cpu));
        let memory = self.marks.memory.zip(seen.memory);
        self.memory = memory.is_some_and(|(mark, used)| is_beyond(mark, used, self.memory));
        let disks: Vec<(&String, u64, DiskMark)> = match self.marks.disk {
            None => Vec::new(),
            Some(mark) => {
                let short = |folder: &String, free: u64| {
                    let bound = match self.disks.contains(folder) {
                        true => mark.resume_bytes.max(mark.least_bytes),
                        false => mark.least_bytes,
                    };
                    free < bound
                };
                let disks = seen.disks.iter().filter(|(folder, free)| short(folder, *free));
                disks.map(|(folder, free)| (folder, *free, mark)).collect()
            }
        };
        self.disks = disks.iter().map(|(folder, ..)| (*folder).clone()).collect();
        let cpu = cpu.filter(|_| self.cpu).map(|(mark, busy)| Strain::Cpu(busy, mark));
        let memory = memory.filter(|_| self.memory).map(|(mark, used)| Strain::Memory(used, mark));
        let disks =
            disks.into_iter().map(|(folder, free, mark)| Strain::Disk(folder.clone(), free, mark));
        cpu.into_iter().chain(memory).chain(disks).collect()
    }
}

fn is_beyond(mark: Mark, reading: f64, was: bool) -> bool {
    reading >= mark.high || was && reading > mark.low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARK: Mark = Mark { high: 0.9, low: 0.7 };

    fn cpu(readings: &[f64]) -> Vec<bool> {
        let mut admission =
            Admission::new(AdmissionMarks { cpu: Some(MARK), ..AdmissionMarks::default() });
        let strained = |cpu: &f64| {
            let seen = MachineState { cpu: Some(*cpu), ..MachineState::default() };
            !admission.judge(&seen).is_empty()
        };
        readings.iter().map(strained).collect()
    }

    #[test]
    fn between_the_marks_it_stays_as_it_was() {
        let strained = cpu(&[0.8, 0.89, 0.9, 0.8, 0.71, 0.95, 0.7, 0.8]);
        assert_eq!(strained, [false, false, true, true, true, true, false, false]);
    }

    #[test]
    fn each_folder_is_for_itself_and_says_how_it_stands() {
        let mark = DiskMark { least_bytes: 100 << 20, resume_bytes: 200 << 20 };
        let mut admission =
            Admission::new(AdmissionMarks { disk: Some(mark), ..AdmissionMarks::default() });
        let mut judge = |a: u64, b: u64| -> Vec<String> {
            let disks = vec![("/a\n".to_owned(), a << 20), ("/b".to_owned(), b << 20)];
            let seen = MachineState { disks, ..MachineState::default() };
            admission.judge(&seen).iter().map(Strain::to_string).collect()
        };
        assert!(judge(100, 150).is_empty());
        assert_eq!(judge(99, 150), ["`/a\\n` has 99 MiB free; work goes on at 200 MiB"]);
        assert_eq!(judge(199, 150).len(), 1);
        assert_eq!(judge(199, 99).len(), 2);
        assert_eq!(judge(200, 150), ["`/b` has 150 MiB free; work goes on at 200 MiB"]);
        assert!(judge(200, 200).is_empty());
    }

    #[test]
    fn what_has_no_mark_or_no_reading_strains_nothing() {
        let full = MachineState { cpu: Some(1.0), memory: Some(1.0), disks: vec![("/".into(), 0)] };
        assert!(Admission::new(AdmissionMarks::default()).judge(&full).is_empty());
        let marks = AdmissionMarks { memory: Some(MARK), ..AdmissionMarks::default() };
        assert!(marks.is_any() && !AdmissionMarks::default().is_any());
        let mut admission = Admission::new(marks);
        let strains = admission.judge(&full);
        assert_eq!(strains.iter().map(Strain::resource).collect::<Vec<_>>(), ["memory"]);
        assert_eq!(strains[0].to_string(), "100 % of the memory is in use; work goes on at 70 %");
        assert!(admission.judge(&MachineState::default()).is_empty());
    }

    proptest! {
        #[test]
        fn it_changes_only_beyond_a_mark(readings in prop::collection::vec(0.0..1.0_f64, 1..100)) {
            let strained = cpu(&readings);
            let mut was = false;
            for (reading, is) in readings.iter().zip(strained) {
                match (was, is) {
                    (false, true) => prop_assert!(*reading >= MARK.high),
                    (true, false) => prop_assert!(*reading <= MARK.low),
                    _ => {}
                }
                was = is;
            }
        }
    }
}
