//! The compile worker: what it makes, what stops it, and what its end means. It is the real
//! binary's.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bulkhead_core::Outcome;
use bulkhead_sandbox::{
    Compiler, Gate, PluginKind, Rejection, Sandbox, SandboxConfig, WorkerProgram,
};
use wasm_encoder::{Function, ValType};

use crate::modules::command;
use crate::rig::{attempt, guest, load, load_bytes, task};

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/bulkhead");
    assert!(path.exists(), "{} is not built; run `cargo xtask test`", path.display());
    path
}

pub(crate) fn worker() -> Compiler {
    Compiler::Worker(WorkerProgram {
        program: binary(),
        arguments: vec!["compile-worker".into()],
        environment: vec![("MIMALLOC_ARENA_RESERVE".into(), "0".into())],
    })
}

/// A worker that is the same, and leaves a line with its process id in a file when it starts.
fn counted(log: &Path) -> Compiler {
    let script =
        format!("echo $$ >> '{}'; exec '{}' compile-worker", log.display(), binary().display());
    shell(&script)
}

fn shell(script: &str) -> Compiler {
    Compiler::Worker(WorkerProgram {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Vec::new(),
    })
}

pub(crate) fn sandbox(config: SandboxConfig) -> Sandbox {
    Sandbox::new(SandboxConfig { concurrency: 1, ..config }).unwrap()
}

/// A valid command whose functions hold so many operations each, which a compiler has to hold
/// in memory all at once.
pub(crate) fn heavy(functions: u32, operations: u32) -> Vec<u8> {
    let mut body = Function::new([(8, ValType::I64)]);
    for at in 0..operations {
        let mut body = body.instructions();
        body.local_get(at % 8).local_get((at / 8) % 8).i64_mul();
        body.i64_const(i64::from(at)).i64_add().local_set((at / 3) % 8);
    }
    body.instructions().end();
    command(&vec![body; functions as usize])
}

fn check(loaded: Result<bulkhead_sandbox::Plugin, Rejection>, gate: Gate, says: &str) {
    let rejection = loaded.expect_err(says);
    assert_eq!(rejection.gate, gate, "{rejection}");
    assert!(rejection.message.contains(says), "{rejection}");
}

/// What workers left in their log.
fn started(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Wait until a process is gone.
async fn gone(pid: &str) {
    let began = Instant::now();
    while Path::new("/proc").join(pid).exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "{pid} is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_worker_makes_what_a_thread_makes() {
    let sandbox = sandbox(SandboxConfig { compiler: worker(), ..Default::default() });
    let plugin = load(&sandbox, "unruly").await;
    assert_eq!((plugin.kind(), plugin.load_times().cached), (PluginKind::Component, false));
    let end = plugin.attempt(attempt(&task("echo", "hello"))).await.unwrap();
    assert!(matches!(end.outcome, Outcome::Done(ref out) if out.data == b"hello"), "{end:?}");
    assert_eq!(load(&sandbox, "command").await.kind(), PluginKind::Command);
    let adapted = load_bytes(&sandbox, heavy(1, 10)).await.unwrap();
    assert_eq!(adapted.kind(), PluginKind::Adapted);
}

#[tokio::test]
async fn what_takes_too_long_is_killed_and_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("started");
    let compile_budget = Duration::from_millis(700);
    let compiler = counted(&log);
    let sandbox = sandbox(SandboxConfig { compiler, compile_budget, ..Default::default() });
    let slow = heavy(40, 100_000);
    check(load_bytes(&sandbox, slow.clone()).await, Gate::CompileBudget, "`compile_budget`");
    let first = started(&log);
    assert_eq!(first.len(), 1);
    gone(&first[0]).await;
    check(load_bytes(&sandbox, slow.clone()).await, Gate::CompileBudget, "`compile_budget`");
    assert_eq!(started(&log), first, "the same content is not compiled again");
    let mut changed = slow;
    // An empty custom section: other content.
    changed.extend_from_slice(&[0, 2, 1, b'x']);
    check(load_bytes(&sandbox, changed).await, Gate::CompileBudget, "`compile_budget`");
    assert_eq!(started(&log).len(), 2, "a changed file is");
}

#[tokio::test]
async fn what_takes_too_much_memory_is_refused() {
    let (compiler, compile_memory_bytes) = (worker(), 384 << 20);
    let sandbox = sandbox(SandboxConfig { compiler, compile_memory_bytes, ..Default::default() });
    let large = load_bytes(&sandbox, heavy(4, 160_000)).await;
    check(large, Gate::Compile, "`compile_memory`");
    load(&sandbox, "idle").await;
}

#[tokio::test]
async fn what_takes_too_much_cpu_time_is_killed() {
    let (compiler, compile_cpu) = (worker(), Duration::from_secs(1));
    let sandbox = sandbox(SandboxConfig { compiler, compile_cpu, ..Default::default() });
    check(load_bytes(&sandbox, heavy(40, 100_000)).await, Gate::CompileBudget, "`compile_cpu`");
    load(&sandbox, "idle").await;
}

#[tokio::test]
async fn a_crash_is_the_files_and_trouble_with_the_worker_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("started");
    let of = |compiler| sandbox(SandboxConfig { compiler, ..Default::default() });
    let crash = |how: &str| shell(&format!("echo $$ >> '{}'; {how}", log.display()));
    let crashing = of(crash("kill -SEGV $$"));
    for _ in 0..2 {
        check(load_bytes(&crashing, guest("idle")).await, Gate::Compile, "crashes the compiler");
    }
    assert_eq!(started(&log).len(), 1);
    let odd = of(crash("echo odd >&2; exit 3"));
    for _ in 0..2 {
        check(load_bytes(&odd, guest("idle")).await, Gate::Compile, "not the file's");
    }
    assert_eq!(started(&log).len(), 3, "tried again");
    let liar = of(crash("printf '\\377\\377\\377\\377'; cat > /dev/null"));
    check(load_bytes(&liar, guest("idle")).await, Gate::Compile, "compile worker");
    let missing = Compiler::Worker(WorkerProgram {
        program: "/nonexistent/worker".into(),
        arguments: Vec::new(),
        environment: Vec::new(),
    });
    check(load_bytes(&of(missing), guest("idle")).await, Gate::Compile, "cannot be started");
}

#[tokio::test]
async fn nothing_waits_for_a_file_that_burns_its_budget() {
    let config = SandboxConfig {
        compiler: worker(),
        compile_budget: Duration::from_secs(20),
        ..Default::default()
    };
    let sandbox = sandbox(config);
    let burning = load_bytes(&sandbox, heavy(50, 100_000));
    tokio::pin!(burning);
    tokio::select! {
        burned = &mut burning => panic!("it is over first: {burned:?}"),
        _ = load(&sandbox, "idle") => {}
    }
}
