//! What handlers come to when no limit is in the way.

use std::sync::{Arc, Mutex};

use bulkhead_core::{FailureKind, Limits, Outcome, Payload, TraceContext};
use bulkhead_sandbox::{Attempt, ProgressSink};

use crate::rig::{attempt, done, failed, now, run, task, unruly};

#[tokio::test]
async fn an_output_comes_back_as_it_was_given() {
    let end = run(unruly().await, "echo", "ping", Limits::default()).await;
    assert_eq!(end.outcome, Outcome::Done(Payload::new(Payload::TEXT, "ping")));
    assert!(end.metering.fuel > 0 && end.metering.fuel < 10_000_000, "{:?}", end.metering);
    assert!(end.metering.peak_memory_bytes >= 1 << 16, "{:?}", end.metering);
    assert!(end.metering.wall_us >= end.metering.instantiate_us, "{:?}", end.metering);
}

#[tokio::test]
async fn the_handler_sees_its_task() {
    let mut task = task("context", "the payload");
    task.metadata = vec![("b".into(), "1".into()), ("a".into(), "2".into())];
    task.trace = Some(TraceContext { traceparent: "00-1-2-01".into(), tracestate: None });
    let deadline_at = now() + 5_000;
    let given = Attempt { attempt: 3, max_attempts: 9, deadline_at, ..attempt(&task) };
    let end = unruly().await.attempt(given).await.unwrap();
    let seen: serde_json::Value = serde_json::from_str(done(&end)).unwrap();
    assert_eq!(seen["id"], "00000000-0000-0000-0000-000000000007");
    assert_eq!(seen["task_type"], "context");
    assert_eq!(seen["tenant"], "acme");
    assert_eq!(seen["queue"], "default");
    assert_eq!((seen["attempt"].as_u64(), seen["max_attempts"].as_u64()), (Some(3), Some(9)));
    assert_eq!(seen["metadata"], serde_json::json!([["b", "1"], ["a", "2"]]));
    assert_eq!(seen["traceparent"], "00-1-2-01");
    assert_eq!(seen["content_type"], Payload::TEXT);
    assert_eq!(seen["payload"], "the payload");
    assert_eq!(seen["cancelled"], false);
    let seen_deadline = seen["deadline_ms"].as_u64().unwrap();
    assert!(seen_deadline.abs_diff(deadline_at) <= 1, "{seen_deadline} {deadline_at}");
    let remaining = seen["remaining_ms"].as_u64().unwrap();
    assert!((1..=5_000).contains(&remaining), "{remaining}");
}

#[tokio::test]
async fn a_handler_asks_for_another_attempt() {
    let end = run(unruly().await, "retry", "1500", Limits::default()).await;
    let failure = failed(&end, FailureKind::Retry);
    assert_eq!(failure.message, "not now");
    assert_eq!(failure.retry_after_ms, Some(1_500));

    let end = run(unruly().await, "retry", "", Limits::default()).await;
    assert_eq!(failed(&end, FailureKind::Retry).retry_after_ms, None);
}

#[tokio::test]
async fn a_handler_refuses_for_good() {
    let end = run(unruly().await, "reject", "abc", Limits::default()).await;
    let failure = failed(&end, FailureKind::Reject);
    assert_eq!(failure.message, "never");
    assert_eq!(failure.details.as_deref(), Some(r#"{"bytes":3}"#));
}

#[tokio::test]
async fn a_panic_names_its_message_and_place() {
    let end = run(unruly().await, "panic", "too bad", Limits::default()).await;
    let failure = failed(&end, FailureKind::Trapped);
    assert!(failure.message.contains("too bad"), "{}", failure.message);
    assert!(failure.message.starts_with("panicked at "), "{}", failure.message);
    assert!(failure.message.contains("crash.rs:"), "{}", failure.message);
    assert!(!failure.backtrace.is_empty() && failure.backtrace.len() <= 32);
}

#[tokio::test]
async fn a_panic_is_named_even_when_the_log_is_full() {
    let limits = Limits { log_bytes: 0, ..Limits::default() };
    let end = run(unruly().await, "panic", "too bad", limits).await;
    assert!(failed(&end, FailureKind::Trapped).message.contains("too bad"));
    assert!(end.logs.is_empty());
}

#[tokio::test]
async fn a_trap_without_a_panic_names_the_trap() {
    let end = run(unruly().await, "trap", "", Limits::default()).await;
    let failure = failed(&end, FailureKind::Trapped);
    assert!(failure.message.contains("unreachable"), "{}", failure.message);
}

#[tokio::test]
async fn an_exit_is_no_answer() {
    for code in ["0", "1", "7"] {
        let end = run(unruly().await, "exit", code, Limits::default()).await;
        let failure = failed(&end, FailureKind::Trapped);
        assert!(failure.message.contains("exited with code"), "{}", failure.message);
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<(f32, String)>>);

impl ProgressSink for Heard {
    fn report(&self, fraction: f32, message: &str) {
        self.0.lock().unwrap().push((fraction, message.to_owned()));
    }
}

#[tokio::test]
async fn progress_is_heard_while_the_handler_runs() {
    let heard = Arc::new(Heard::default());
    let task = task("progress", "");
    let given = Attempt { progress: Some(heard.clone()), ..attempt(&task) };
    unruly().await.attempt(given).await.unwrap();
    let heard = heard.0.lock().unwrap();
    let expected = [(0.25, "a quarter"), (0.5, "half"), (1.0, "all")];
    assert_eq!(*heard, expected.map(|(fraction, message)| (fraction, message.to_owned())));
}

#[tokio::test]
async fn attempts_share_nothing() {
    for _ in 0..50 {
        let end = run(unruly().await, "panic", "", Limits::default()).await;
        failed(&end, FailureKind::Trapped);
        let end = run(unruly().await, "echo", "still here", Limits::default()).await;
        assert_eq!(done(&end), "still here");
    }
}

#[tokio::test]
async fn guest_text_is_bounded() {
    let end = run(unruly().await, "panic", &"x".repeat(100_000), Limits::default()).await;
    let failure = failed(&end, FailureKind::Trapped);
    assert!(failure.message.len() <= 4_096, "{}", failure.message.len());
    assert!(failure.message.ends_with('…'));
    assert!(failure.backtrace.iter().all(|frame| frame.len() <= 256), "{:?}", failure.backtrace);

    let mut named = task("echo", "x");
    named.payload.content_type = "t".repeat(256);
    let end = unruly().await.attempt(attempt(&named)).await.unwrap();
    assert_eq!(done(&end), "x");
    named.payload.content_type = "t".repeat(257);
    let end = unruly().await.attempt(attempt(&named)).await.unwrap();
    let failure = failed(&end, FailureKind::ResultTooLarge);
    assert!(failure.message.contains("257 bytes"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_attempts_at_once_keep_to_themselves() {
    let plugin = unruly().await;
    let attempts = (0..48_u32).map(|at| {
        tokio::spawn(async move {
            let limits = Limits { memory_bytes: 8 << 20, fuel: 100_000_000, ..Limits::default() };
            for round in 0..10 {
                let text = format!("{at}/{round}");
                match at % 4 {
                    0 => {
                        let end = run(plugin, "alloc", "16777216", limits).await;
                        failed(&end, FailureKind::OutOfMemory);
                    }
                    1 => {
                        let end = run(plugin, "panic", &text, limits).await;
                        assert!(failed(&end, FailureKind::Trapped).message.ends_with(&text));
                    }
                    2 => {
                        let end = run(plugin, "spin", "", limits).await;
                        failed(&end, FailureKind::OutOfFuel);
                    }
                    _ => assert_eq!(done(&run(plugin, "echo", &text, limits).await), text),
                }
            }
        })
    });
    for ended in attempts.collect::<Vec<_>>() {
        ended.await.unwrap();
    }
}
