//! What an attempt itself costs: a fresh compartment for a handler that does nothing.
//!
//! `attempt_overhead` is a Rust guest with many handlers; `attempt_overhead_idle` is
//! the smallest one. Build the guests with `cargo xtask guests` and run with
//! `RUST_LIB_BACKTRACE=0`, as hosts do.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark, not an interface")]

use std::path::PathBuf;

use bulkhead_core::{
    Limits, LimitsRequest, Outcome, Payload, Priority, QueueName, Task, TaskId, TaskType,
    TenantName, UnixMs,
};
use bulkhead_sandbox::{
    Attempt, Cancel, Manifest, Plugin, PluginSource, Sandbox, SandboxConfig, Services,
};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

const PAYLOAD_BYTES: usize = 200;

fn load(runtime: &Runtime, sandbox: &Sandbox, guest: &str) -> Plugin {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let path = target.join(format!("wasm32-wasip2/guest/{guest}.wasm"));
    let bytes = std::fs::read(path).expect("the guests; build them with `cargo xtask guests`");
    let source = PluginSource {
        name: guest.to_owned(),
        bytes,
        manifest: Manifest::default(),
        account: None,
    };
    runtime.block_on(sandbox.load(source)).expect("a good guest")
}

fn task(task_type: &str) -> Task {
    Task {
        id: TaskId(Uuid::from_u128(7)),
        task_type: TaskType::new(task_type).expect("a task type"),
        queue: QueueName::new("default").expect("a queue"),
        tenant: TenantName::new("default").expect("a tenant"),
        priority: Priority::NORMAL,
        payload: Payload::new(Payload::BINARY, vec![7; PAYLOAD_BYTES]),
        metadata: Vec::new(),
        trace: None,
        limits: LimitsRequest::default(),
        submitted_at: 0,
        terms: Default::default(),
    }
}

fn attempt_overhead(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let sandbox = Sandbox::new(SandboxConfig::default()).expect("a sandbox");
    for (id, guest, task_type) in
        [("attempt_overhead", "unruly", "noop"), ("attempt_overhead_idle", "idle", "idle")]
    {
        let plugin = load(&runtime, &sandbox, guest);
        let task = task(task_type);
        criterion.bench_function(id, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let attempt = Attempt {
                    task: &task,
                    attempt: 1,
                    max_attempts: 5,
                    deadline_at: UnixMs::MAX,
                    limits: Limits::default(),
                    cancel: Cancel::new(),
                    progress: None,
                    parents: None,
                    services: Services::default(),
                };
                let end = plugin.attempt(attempt).await.expect("a free compartment");
                assert!(matches!(end.outcome, Outcome::Done(_)), "{:?}", end.outcome);
            });
        });
    }
}

criterion_group!(benches, attempt_overhead);
criterion_main!(benches);
