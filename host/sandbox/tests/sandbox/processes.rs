//! Worker processes: what runs in them comes to the same, what brings them down stays within
//! them. They are the real binary's.

use std::path::Path;
use std::time::{Duration, Instant};

use bulkhead_core::{FailureKind, Limits, Outcome, TenantName};
use bulkhead_sandbox::{
    Attempt, Isolation, Layer, Sandbox, SandboxConfig, SandboxError, WorkerProcesses, WorkerProgram,
};

use crate::rig::{attempt, done, failed, guest, load, run, task};
use crate::worker::{binary, worker};

/// A guest worker of the real binary.
pub(crate) fn processes() -> WorkerProcesses {
    WorkerProcesses {
        program: WorkerProgram {
            program: binary(),
            arguments: vec!["guest-worker".into()],
            environment: vec![("MIMALLOC_ARENA_RESERVE".into(), "0".into())],
        },
        most: 4,
        threads: 2,
        idle: Duration::from_secs(60),
        strict: true,
    }
}

/// A sandbox whose guests run in worker processes.
pub(crate) fn apart(config: SandboxConfig, processes: WorkerProcesses) -> Sandbox {
    let isolation = Isolation::Process(processes);
    Sandbox::new(SandboxConfig { concurrency: 8, isolation, compiler: worker(), ..config }).unwrap()
}

fn plain() -> Sandbox {
    apart(SandboxConfig::default(), processes())
}

#[tokio::test]
async fn what_runs_apart_comes_to_the_same() {
    let sandbox = plain();
    let plugin = load(&sandbox, "unruly").await;
    let end = run(&plugin, "echo", "hello", Limits::default()).await;
    assert_eq!(done(&end), "hello");
    assert!(end.metering.fuel > 0 && end.metering.wall_us > 0, "{:?}", end.metering);
    let limits = Limits { fuel: 1_000_000, ..Limits::default() };
    failed(&run(&plugin, "spin", "", limits).await, FailureKind::OutOfFuel);
    let command = load(&sandbox, "command").await;
    assert_eq!(command.kind(), bulkhead_sandbox::PluginKind::Command);
}
