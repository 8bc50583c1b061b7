//! Descriptors: what a worker has open, and what the host keeps of workers that are over.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd as _;

use super::*;

/// How many descriptors this process has.
fn open_here() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What a process has open, by number; none if the kernel hides it from whoever runs this.
fn open_in(pid: u32) -> Option<BTreeMap<i32, String>> {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    let all = fs::read_dir(&folder).ok()?.flatten();
    let named = all.map(|entry| {
        let to = fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        (number, to.display().to_string())
    });
    Some(named.collect())
}

/// A host may have been started with anything open. Here it is the reading end of a pipe, once
/// for each of these numbers: who writes to the other end is told when nobody has them any more.
#[tokio::test]
async fn a_worker_has_nothing_open_that_it_was_not_given() {
    for number in [3, 77, 1_500] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
        let real = binary();
        let script = format!(
            "ulimit -n 2000\nexec {number}< '{path}'\nexec '{}' guest-worker",
            real.display()
        );
        let leaky = WorkerProcesses {
            program: program(Path::new("/bin/bash"), &["-c", &script]),
            ..processes()
        };
        let sandbox = apart(leaky);
        let plugin = load(&sandbox, "unruly").await;
        assert_eq!(done(&run(&plugin, "echo", "x", Limits::default()).await), "x");
        drop(reader);
        let pids = sandbox.worker_pids();
        assert_eq!(pids.len(), 1);
        let written = writer.write_all(b"x");
        assert!(written.is_err(), "{number}: somebody could read it");
        assert_eq!(sandbox.worker_pids(), pids, "and the worker lives");
        let Some(open) = open_in(pids[0]) else { continue };
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, to) in &open {
            let kind = to.split([':', ' ', '(']).next().unwrap_or_default();
            assert!(
                matches!(kind, "/dev/null" | "socket" | "pipe" | "anon_inode" | "/memfd")
                    || to.ends_with("/pagemap"),
                "{number} leads to {to}: {open:?}"
            );
            *kinds.entry(kind).or_default() += 1;
        }
        assert_eq!((kinds["/dev/null"], kinds["pipe"]), (2, 1), "{open:?}");
        let standard = [0, 1, 2].map(|number| open[&number].split(':').next().unwrap());
        assert_eq!(standard, ["/dev/null", "/dev/null", "pipe"]);
        // The way to the host, and a pair by which its runtime tells itself of signals.
        let sockets: BTreeSet<&String> =
            open.values().filter(|to| to.starts_with("socket:")).collect();
        assert!(sockets.len() <= 3, "{open:?}");
    }
}

#[tokio::test]
async fn workers_that_are_over_leave_nothing_open() {
    let sandbox = apart(processes());
    let plugin = load(&sandbox, "unruly").await;
    // Four at a time, as many as there may be.
    let round = async |at: usize| {
        let tasks = [0, 1, 2, 3].map(|of_round| of(&format!("t{at}-{of_round}"), "echo", "x"));
        let [a, b, c, d] = tasks.each_ref().map(|task| plugin.attempt(attempt(task)));
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        for end in [a, b, c, d] {
            assert_eq!(done(&end.unwrap()), "x");
        }
        sandbox.worker_pids().into_iter().for_each(kill);
        until("they are over", || sandbox.worker_pids().is_empty()).await;
    };
    round(0).await;
    let mut before = open_here();
    until("the first are forgotten", || {
        let now = open_here();
        std::mem::replace(&mut before, now) <= now
    })
    .await;
    for at in 1..=12 {
        round(at).await;
    }
    until("nothing is left of fifty workers", || open_here() <= before).await;
}
