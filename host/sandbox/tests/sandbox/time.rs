//! Deadlines, cancelling, and what a busy guest does to others.

use std::time::{Duration, Instant};

use bulkhead_core::{FailureKind, Limits, Task};
use bulkhead_sandbox::{Attempt, AttemptEnd, Cancel, Sandbox, SandboxConfig};

use crate::rig::{attempt, done, failed, load_bytes, now, run, task, unruly};
use crate::shapes;

/// Beyond what scheduling noise on a busy machine adds to a promise.
const NOISE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn wall_time_of_guest_code() {
    for spinning in ["spin", "spin-hostcall"] {
        let limits = Limits { wall_ms: 50, fuel: u64::MAX, ..Limits::default() };
        let sandbox = sandbox_without_fuel_limit();
        let plugin = crate::rig::load(&sandbox, "unruly").await;
        let began = Instant::now();
        let end = run(&plugin, spinning, "", limits).await;
        let took = began.elapsed();
        let failure = failed(&end, FailureKind::TimedOut);
        assert!(failure.message.contains("`wall` is 50 ms"), "{}", failure.message);
        assert!(took >= Duration::from_millis(50) && took < NOISE, "{took:?}");
        assert!(end.metering.cpu_us > 0, "{:?}", end.metering);
        assert!(end.metering.wall_us >= 50_000, "{:?}", end.metering);
    }
}

fn sandbox_without_fuel_limit() -> Sandbox {
    let config = SandboxConfig {
        concurrency: 8,
        ceilings: Limits { fuel: u64::MAX, wall_ms: 60_000, ..Limits::default() },
        ..Default::default()
    };
    Sandbox::new(config).unwrap()
}

#[tokio::test]
async fn wall_time_of_a_host_call() {
    let obeyed = Limits { wall_ms: 5_000, ..Limits::default() };
    done(&run(unruly().await, "sleep", "5", obeyed).await);
    let limits = Limits { wall_ms: 60, ..Limits::default() };
    let began = Instant::now();
    let end = run(unruly().await, "sleep", "60000", limits).await;
    let took = began.elapsed();
    let failure = failed(&end, FailureKind::TimedOut);
    assert!(failure.message.contains("waiting in a host call"), "{}", failure.message);
    assert!(took >= Duration::from_millis(60) && took < NOISE, "{took:?}");
    assert!(end.metering.cpu_us < 60_000, "sleeping costs no CPU: {:?}", end.metering);
}

#[tokio::test]
async fn the_deadline_may_come_before_the_limit() {
    let task = task("sleep", "60000");
    let given = Attempt { deadline_at: now() + 40, ..attempt(&task) };
    let began = Instant::now();
    let end = unruly().await.attempt(given).await.unwrap();
    assert!(began.elapsed() < NOISE, "{:?}", began.elapsed());
    let failure = failed(&end, FailureKind::TimedOut);
    assert!(failure.message.contains("its deadline came before"), "{}", failure.message);
}

#[tokio::test]
async fn a_deadline_in_the_past_runs_nothing() {
    let task = task("echo", "");
    let given = Attempt { deadline_at: 1, ..attempt(&task) };
    let end = unruly().await.attempt(given).await.unwrap();
    failed(&end, FailureKind::TimedOut);
    assert_eq!(end.metering.fuel, 0);
}

#[tokio::test]
async fn a_start_function_is_part_of_the_attempt() {
    let describe_limits = Limits { fuel: 1_000_000, ..Limits::default() };
    let config = SandboxConfig { concurrency: 1, describe_limits, ..Default::default() };
    let spins = shapes::handler("(func $spin (loop (br 0))) (start $spin)", "");
    let rejection = load_bytes(&Sandbox::new(config).unwrap(), spins).await.unwrap_err();
    assert!(rejection.message.contains("out of fuel"), "{rejection}");
}

/// Run `task` until it has been going for a while, cancel it, and see how long it
/// takes to stop.
async fn cancelled_within(task: Task) -> (Duration, AttemptEnd) {
    let plugin = unruly().await;
    let cancel = Cancel::new();
    let running = tokio::spawn({
        let cancel = cancel.clone();
        async move { plugin.attempt(Attempt { cancel, ..attempt(&task) }).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    let asked = Instant::now();
    cancel.cancel();
    let end = running.await.unwrap();
    (asked.elapsed(), end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_stops_a_guest_within_50_ms() {
    for name in ["spin", "spin-hostcall", "sleep"] {
        // The promise is about a host that has a core to run on; on a machine that is
        // busy with other things, a later round finds a quieter moment.
        let mut medians = Vec::new();
        for _ in 0..4 {
            let mut took = Vec::new();
            for _ in 0..5 {
                let (stopped_after, end) = cancelled_within(task(name, "60000")).await;
                failed(&end, FailureKind::Cancelled);
                took.push(stopped_after);
            }
            took.sort();
            medians.push(took[2]);
            if took[2] < Duration::from_millis(50) {
                break;
            }
        }
        assert!(medians.last() < Some(&Duration::from_millis(50)), "{name}: {medians:?}");
    }
}

#[tokio::test]
async fn an_attempt_cancelled_before_it_starts_runs_nothing() {
    let cancel = Cancel::new();
    cancel.cancel();
    let task = task("echo", "");
    let end = unruly().await.attempt(Attempt { cancel, ..attempt(&task) }).await.unwrap();
    failed(&end, FailureKind::Cancelled);
    assert_eq!(end.metering.fuel, 0);
}

/// On the one thread of this runtime, a guest that never gives way would starve
/// everything else.
#[tokio::test(flavor = "current_thread")]
async fn a_spinning_guest_does_not_delay_others() {
    let plugin = unruly().await;
    let cancel = Cancel::new();
    let spinning = tokio::spawn({
        let cancel = cancel.clone();
        async move {
            let task = task("spin", "");
            plugin.attempt(Attempt { cancel, ..attempt(&task) }).await.unwrap()
        }
    });
    let mut waits = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        done(&run(plugin, "echo", "me too", Limits::default()).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
        waits.push(began.elapsed());
    }
    waits.sort();
    assert!(waits[5] < Duration::from_millis(250), "{waits:?}");
    assert!(!spinning.is_finished());
    cancel.cancel();
    failed(&spinning.await.unwrap(), FailureKind::Cancelled);
}
