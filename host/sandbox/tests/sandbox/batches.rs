//! Several attempts in one call: what is each one's own, and what they share.

use std::sync::{Arc, Mutex};

use bulkhead_core::{FailureKind, Limits, Task};
use bulkhead_sandbox::{
    Attempt, AttemptEnd, BatchEnd, Cancel, Gate, Manifest, PluginSource, ProgressSink, Sandbox,
    SandboxConfig,
};

use crate::rig::{attempt, done, failed, guest, load_bytes, run, sandbox, task, task_type, unruly};
use crate::shapes;

fn tasks(commands: &[&str]) -> Vec<Task> {
    commands.iter().map(|command| task("together", command)).collect()
}

/// The commands as one batch, each under `limits`.
async fn together(commands: &[&str], limits: Limits) -> BatchEnd {
    let tasks = tasks(commands);
    let attempts = tasks.iter().map(|task| Attempt { limits, ..attempt(task) });
    unruly().await.attempt_batch(attempts.collect()).await.unwrap()
}

#[track_caller]
fn all_failed(end: &BatchEnd, kind: FailureKind, says: &str) {
    assert!(end.fell);
    for end in &end.ends {
        let failure = failed(end, kind);
        assert!(failure.message.contains(says), "{}", failure.message);
    }
}

#[tokio::test]
async fn each_task_has_its_own_result() {
    let end = together(&["a", "fail", "c"], Limits::default()).await;
    assert!(!end.fell);
    assert_eq!(done(&end.ends[0]), "a: 1 of 3", "in one call");
    let failure = failed(&end.ends[1], FailureKind::Reject);
    assert_eq!(
        (failure.message.as_str(), failure.details.as_deref()),
        ("as it was told", Some("1"))
    );
    assert_eq!(done(&end.ends[2]), "c: 3 of 3");
}

#[tokio::test]
async fn the_description_bounds_a_batch_and_the_manifest_lowers_it() {
    let handler = |plugin: &bulkhead_sandbox::Plugin, name: &str| {
        plugin.handler(&task_type(name)).unwrap().max_batch
    };
    let plugin = unruly().await;
    assert_eq!((handler(plugin, "together"), handler(plugin, "echo")), (16, 1));
    for (asked, got) in [(4, 4), (1, 1), (200, 16)] {
        let manifest = Manifest { max_batch: Some(asked), ..Manifest::default() };
        let source =
            PluginSource { name: "unruly".into(), bytes: guest("unruly"), manifest, account: None };
        let plugin = sandbox().await.load(source).await.unwrap();
        assert_eq!((handler(&plugin, "together"), handler(&plugin, "echo")), (got, 1));
    }
    let manifest = Manifest { max_batch: Some(0), ..Manifest::default() };
    let source =
        PluginSource { name: "unruly".into(), bytes: guest("unruly"), manifest, account: None };
    assert_eq!(sandbox().await.load(source).await.unwrap_err().gate, Gate::Manifest);
}

#[tokio::test]
async fn sizes_without_sense_are_refused() {
    let load = async |size: u32, more: &str| {
        let plugin = shapes::batch(size, more, "");
        load_bytes(sandbox().await, shapes::component(&plugin)).await
    };
    load(2, shapes::HANDLE_BATCH).await.unwrap();
    load(256, shapes::HANDLE_BATCH).await.unwrap();
    load(1, "").await.unwrap();
    for (size, more, says) in [
        (0, shapes::HANDLE_BATCH, "up to 0; use 1 to 256"),
        (257, shapes::HANDLE_BATCH, "up to 257"),
        (2, "", "does not export"),
    ] {
        let rejection = load(size, more).await.unwrap_err();
        assert_eq!(rejection.gate, Gate::Description, "{rejection}");
        assert!(rejection.message.contains(says), "{rejection}");
    }
}

#[tokio::test]
async fn a_wrong_number_of_results_is_nobodys() {
    let end = together(&["a", "short", "c"], Limits::default()).await;
    all_failed(&end, FailureKind::Trapped, "the handler returned 2 results for 3 inputs");

    // Without an SDK in between.
    let plugin = shapes::component(&shapes::batch(2, shapes::HANDLE_BATCH, ""));
    let plugin = load_bytes(sandbox().await, plugin).await.unwrap();
    let tasks = [task("shape", ""), task("shape", "")];
    let end = plugin.attempt_batch(tasks.iter().map(attempt).collect()).await.unwrap();
    all_failed(&end, FailureKind::Trapped, "returned 0 results for a batch of 2 tasks");
}

#[tokio::test]
async fn a_trap_ends_all() {
    let end = together(&["a", "panic", "c"], Limits::default()).await;
    all_failed(&end, FailureKind::Trapped, "as it was told");
    let end = together(&["a", "c"], Limits::default()).await;
    assert!(!end.fell, "the next batch has an instance of its own");
}

#[tokio::test]
async fn fuel_is_the_sum() {
    let used = run(unruly().await, "together", "a", Limits::default()).await.metering.fuel;
    let less = Limits { fuel: used / 10 * 9, ..Limits::default() };
    failed(&run(unruly().await, "together", "a", less).await, FailureKind::OutOfFuel);
    // What an instance costs is spent once for all.
    let end = together(&["a"; 8], less).await;
    assert!(!end.fell, "{:?}", end.ends[0].outcome);
    let spent: u64 = end.ends.iter().map(|end| end.metering.fuel).sum();
    assert!(spent > less.fuel && spent <= 8 * less.fuel, "{spent} of {}", less.fuel);

    let end = together(&["a", "spin"], less).await;
    all_failed(&end, FailureKind::OutOfFuel, &format!("`fuel` = {}", 2 * less.fuel));
    let spent: u64 = end.ends.iter().map(|end| end.metering.fuel).sum();
    assert_eq!(spent, 2 * less.fuel, "divided evenly");
}

#[tokio::test]
async fn memory_and_time_are_the_least() {
    let tasks = tasks(&["a", "sleep 60000"]);
    let wall = |wall_ms| Limits { wall_ms, ..Limits::default() };
    let attempts = vec![
        Attempt { limits: wall(60), ..attempt(&tasks[0]) },
        Attempt { limits: wall(20_000), ..attempt(&tasks[1]) },
    ];
    let end = unruly().await.attempt_batch(attempts).await.unwrap();
    all_failed(&end, FailureKind::TimedOut, "`wall` is 60 ms");

    let memory = |memory_bytes| Limits { memory_bytes, ..Limits::default() };
    let attempts = |second| {
        vec![
            Attempt { limits: memory(32 << 20), ..attempt(&tasks[0]) },
            Attempt { limits: memory(second), ..attempt(&tasks[0]) },
        ]
    };
    let end = unruly().await.attempt_batch(attempts(16 << 20)).await.unwrap();
    assert!(!end.fell);
    assert_eq!(end.ends[0].metering.peak_memory_bytes, end.ends[1].metering.peak_memory_bytes);
    let end = unruly().await.attempt_batch(attempts(1 << 16)).await.unwrap();
    all_failed(&end, FailureKind::OutOfMemory, "`memory` is 65536 bytes");
}

#[tokio::test]
async fn results_are_bounded_for_each() {
    let limits = Limits { result_bytes: 1_000, ..Limits::default() };
    let end = together(&["bytes 900", "bytes 1001", "bytes 900"], limits).await;
    assert!(!end.fell);
    assert_eq!(done(&end.ends[0]).len(), 900);
    failed(&end.ends[1], FailureKind::ResultTooLarge);
    assert_eq!(done(&end.ends[2]).len(), 900);
}

#[tokio::test]
async fn results_together_are_held_to_what_one_call_may_take() {
    let limits = Limits { hostcall_bytes: 10_000, ..Limits::default() };
    assert!(!together(&["bytes 4000", "bytes 4000"], limits).await.fell);
    let end = together(&["bytes 6000", "bytes 6000"], limits).await;
    all_failed(&end, FailureKind::ResultTooLarge, "10000 bytes");
}

#[tokio::test]
async fn logs_are_each_ones_own_among_what_they_share() {
    let end = together(&["log one", "b", "log three"], Limits::default()).await;
    let lines = |end: &AttemptEnd| -> Vec<String> {
        end.logs.iter().map(|line| line.message.clone()).collect()
    };
    assert_eq!(lines(&end.ends[0]), ["together", "one"]);
    assert_eq!(lines(&end.ends[1]), ["together"]);
    assert_eq!(lines(&end.ends[2]), ["together", "three"]);
    assert!(end.ends[0].metering.log_bytes > end.ends[1].metering.log_bytes);

    let none = Limits { log_bytes: 0, ..Limits::default() };
    let end = together(&["log one", "b"], none).await;
    assert!(end.ends.iter().all(|end| end.logs.is_empty()));
    let dropped: Vec<u64> = end.ends.iter().map(|end| end.metering.log_lines_dropped).collect();
    assert_eq!(dropped, [2, 1]);
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl ProgressSink for Heard {
    fn report(&self, _: f32, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[tokio::test]
async fn progress_is_the_task_in_focus() {
    let (tasks, heard) = (tasks(&["a", "b"]), [Arc::new(Heard::default()), Arc::default()]);
    let attempts = tasks.iter().zip(&heard).map(|(task, heard)| {
        let sink: Arc<dyn ProgressSink> = heard.clone();
        Attempt { progress: Some(sink), ..attempt(task) }
    });
    unruly().await.attempt_batch(attempts.collect()).await.unwrap();
    assert_eq!(*heard[0].0.lock().unwrap(), ["a"]);
    assert_eq!(*heard[1].0.lock().unwrap(), ["b"]);
}

#[tokio::test]
async fn a_cancelled_task_ends_so_and_the_others_go_on() {
    let tasks = tasks(&["a", "wait", "c"]);
    let cancel = Cancel::new();
    let mut attempts: Vec<_> = tasks.iter().map(attempt).collect();
    attempts[1].cancel = cancel.clone();
    let (end, ()) = tokio::join!(unruly().await.attempt_batch(attempts), async {
        tokio::task::yield_now().await;
        cancel.cancel();
    });
    let end = end.unwrap();
    assert!(!end.fell);
    assert_eq!(done(&end.ends[0]), "a: 1 of 3");
    failed(&end.ends[1], FailureKind::Cancelled);
    assert_eq!(done(&end.ends[2]), "c: 3 of 3");
}

#[tokio::test]
async fn a_batch_stops_when_all_are_cancelled() {
    let tasks = tasks(&["sleep 60000", "spin"]);
    let cancels = [Cancel::new(), Cancel::new()];
    let attempts = tasks.iter().zip(&cancels);
    let attempts =
        attempts.map(|(task, cancel)| Attempt { cancel: cancel.clone(), ..attempt(task) });
    let (end, ()) = tokio::join!(unruly().await.attempt_batch(attempts.collect()), async {
        for cancel in &cancels {
            tokio::task::yield_now().await;
            cancel.cancel();
        }
    });
    let end = end.unwrap();
    assert!(!end.fell, "nobody is to blame");
    for end in &end.ends {
        failed(end, FailureKind::Cancelled);
    }
}

#[tokio::test]
async fn a_cancelled_task_is_not_blamed_for_the_others() {
    let tasks = tasks(&["a", "panic"]);
    let attempts: Vec<_> = tasks.iter().map(attempt).collect();
    attempts[0].cancel.cancel();
    let end = unruly().await.attempt_batch(attempts).await.unwrap();
    assert!(end.fell);
    failed(&end.ends[0], FailureKind::Cancelled);
    failed(&end.ends[1], FailureKind::Trapped);
}

#[tokio::test]
async fn parents_are_those_of_the_task() {
    let tasks = tasks(&["parents", "parents"]);
    let mut attempts: Vec<_> = tasks.iter().map(attempt).collect();
    let parent = bulkhead_core::Parent { task: tasks[0].task_ref(), state: None, output: None };
    attempts[1].parents = Some(Arc::from(vec![parent]));
    let end = unruly().await.attempt_batch(attempts).await.unwrap();
    assert_eq!((done(&end.ends[0]), done(&end.ends[1])), ("0", "1"));
}

#[tokio::test]
async fn without_batches_each_runs_alone() {
    let tasks = [task("echo", "a"), task("panic", "b"), task("echo", "c")];
    let loaded = load_bytes(sandbox().await, guest("idle")).await.unwrap();
    assert!(loaded.attempt_batch(Vec::new()).await.unwrap().ends.is_empty());

    let command = crate::rig::command().await;
    let named = [task("command", "one"), task("command", "two")];
    let end = command.attempt_batch(named.iter().map(attempt).collect()).await.unwrap();
    assert_eq!((end.ends.len(), end.fell), (2, false));

    // The SDK itself runs what takes no batches one by one; the host never asks it to.
    let end = unruly().await.attempt_batch(tasks.iter().map(attempt).collect()).await.unwrap();
    failed(&end.ends[0], FailureKind::Reject);
}

#[tokio::test]
async fn a_full_pool_is_the_hosts_affair() {
    let config = SandboxConfig { concurrency: 1, concurrent_loads: 1, ..Default::default() };
    let sandbox = Sandbox::new(config).unwrap();
    let plugin = crate::rig::load(&sandbox, "unruly").await;
    let tasks = tasks(&["sleep 200", "a"]);
    let batch = || plugin.attempt_batch(tasks.iter().map(attempt).collect());
    let (first, second, third) = tokio::join!(batch(), batch(), batch());
    assert!(!first.unwrap().fell && !second.unwrap().fell);
    assert!(third.unwrap_err().to_string().contains("raise `concurrency`"));
}
