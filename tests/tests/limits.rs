//! Every outcome and what follows from it, and every limit, obeyed and violated, through
//! a real host.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bulkhead_core::{Backoff, FailureKind, LimitsRequest, RetryPolicy, State, Terms};
use bulkhead_queue::{Entry, NewTask, Next, TaskView};
use bulkhead_tests::{
    RedisServer, Site, eventually, failure, guest, install_as, module_guest, output, task,
};

/// At most so many attempts, `delay_ms` apart.
fn attempts(max_attempts: u32, delay_ms: u64) -> Terms {
    let backoff = Backoff::Fixed { delay_ms };
    let policy = RetryPolicy { max_attempts, backoff, jitter: 0.0, ..Default::default() };
    Terms { retry: Some(policy.into()), ..Terms::default() }
}

/// Submit a task and wait for its end.
async fn end_of(site: &Site, new: NewTask) -> TaskView {
    let id = site.client.submit(new).await.expect("submitted").id;
    site.wait(id).await
}

/// When each attempt started and what followed it.
fn course(view: &TaskView) -> Vec<(u64, Next)> {
    let ended = |entry: &Entry| match entry {
        Entry::Ended(next, report) => Some((report.started_at, *next)),
        _ => None,
    };
    view.history.iter().map(|entry| ended(entry).expect("an ended attempt")).collect()
}

fn nexts(view: &TaskView) -> Vec<Next> {
    course(view).into_iter().map(|(_, next)| next).collect()
}

/// A configuration file outside the plugin folder, as a flag.
fn settings(site: &Site, text: &str) -> PathBuf {
    let path = site.folder().join("settings.toml");
    std::fs::write(&path, text).expect("write the settings");
    path
}

#[tokio::test]
async fn an_output_completes_the_task() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    let view = site.ended("echo", "ping").await;
    assert_eq!((view.state, nexts(&view)), (State::Completed, vec![Next::Completed]));
    assert_eq!(output(&view), "ping");
}

#[tokio::test]
async fn failures_have_their_dispositions() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;

    // The handler asks for a longer wait than the policy has: it is waited for.
    let view = end_of(&site, NewTask { terms: attempts(3, 10), ..task("retry", "250") }).await;
    assert_eq!(view.state, State::Failed);
    assert_eq!(failure(&view).kind, FailureKind::Retry);
    let course = course(&view);
    let waits: Vec<u64> = course.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(waits.len() == 2 && waits.iter().all(|wait| (250..5_000).contains(wait)), "{waits:?}");
    assert_eq!(nexts(&view), [Next::Retry, Next::Retry, Next::DeadLetter]);

    let view = end_of(&site, NewTask { terms: attempts(5, 20), ..task("flaky", "2") }).await;
    assert_eq!((view.state, view.attempts()), (State::Completed, 3));
    assert_eq!(output(&view), "done at attempt 3");
    assert_eq!(nexts(&view), [Next::Retry, Next::Retry, Next::Completed]);

    let view = end_of(&site, NewTask { terms: attempts(5, 20), ..task("reject", "abc") }).await;
    assert_eq!((view.state, nexts(&view)), (State::Failed, vec![Next::DeadLetter]));
    let refused = failure(&view);
    assert_eq!((refused.kind, refused.message.as_str()), (FailureKind::Reject, "never"));
    assert_eq!(refused.details.as_deref(), Some("{\"bytes\":3}"));
}

#[tokio::test]
async fn traps_are_retried_and_say_where_they_happened() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    let view = end_of(&site, NewTask { terms: attempts(2, 20), ..task("panic", "too bad") }).await;
    assert_eq!((view.state, nexts(&view)), (State::Failed, vec![Next::Retry, Next::DeadLetter]));
    let trapped = failure(&view);
    assert_eq!(trapped.kind, FailureKind::Trapped);
    assert!(trapped.message.starts_with("panicked at "), "{}", trapped.message);
    assert!(trapped.message.contains("crash.rs:"), "{}", trapped.message);
    assert!(trapped.message.contains("too bad"), "{}", trapped.message);
    let named = trapped.backtrace.iter().any(|frame| frame.contains("unruly::crash::panics"));
    assert!(named, "{:#?}", trapped.backtrace);

    for (task_type, payload, says) in
        [("trap", "", "unreachable"), ("exit", "3", "exited with code 1 instead of returning")]
    {
        let new = NewTask { terms: attempts(1, 0), ..task(task_type, payload) };
        let view = end_of(&site, new).await;
        let trapped = failure(&view);
        assert_eq!((view.state, trapped.kind), (State::Failed, FailureKind::Trapped));
        assert!(trapped.message.contains(says), "{}", trapped.message);
    }
}

/// A task that passes with the host's limits and fails with its own.
struct Case {
    task_type: &'static str,
    payload: &'static str,
    limits: LimitsRequest,
    kind: FailureKind,
    says: &'static str,
}

#[tokio::test]
async fn a_tasks_own_limits_are_violated_and_the_hosts_obeyed() {
    let none = LimitsRequest::default();
    let cases = [
        Case {
            task_type: "burn",
            payload: "1000000",
            limits: LimitsRequest { fuel: Some(1_000_000), ..none },
            kind: FailureKind::OutOfFuel,
            says: "`fuel` = 1000000",
        },
        Case {
            task_type: "alloc",
            payload: "33554432",
            limits: LimitsRequest { memory_bytes: Some(16 << 20), ..none },
            kind: FailureKind::OutOfMemory,
            says: "`memory` is 16777216 bytes",
        },
        Case {
            task_type: "burn",
            payload: "200000000",
            limits: LimitsRequest { wall_ms: Some(50), ..none },
            kind: FailureKind::TimedOut,
            says: "timed out after 50 ms: the guest was still running",
        },
        Case {
            task_type: "sleep",
            payload: "300",
            limits: LimitsRequest { wall_ms: Some(50), ..none },
            kind: FailureKind::TimedOut,
            says: "timed out after 50 ms: the guest was waiting in a host call",
        },
        Case {
            task_type: "big-result",
            payload: "100000",
            limits: LimitsRequest { result_bytes: Some(50_000), ..none },
            kind: FailureKind::ResultTooLarge,
            says: "`result`",
        },
    ];
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    for Case { task_type, payload, limits, kind, says } in cases {
        let new = NewTask { terms: attempts(1, 0), ..task(task_type, payload) };
        let obeyed = end_of(&site, new.clone()).await;
        assert_eq!(obeyed.state, State::Completed, "{task_type}: {obeyed:?}");
        let violated = end_of(&site, NewTask { limits, ..new }).await;
        assert_eq!(violated.state, State::Failed, "{task_type}: {violated:?}");
        let failure = failure(&violated);
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(says), "{}", failure.message);
    }
}

#[tokio::test]
async fn the_hosts_own_limits_are_violated_and_obeyed() {
    let site = Site::new().await;
    let file = settings(&site, "[limits]\nhandles = 100\nfuel = 500_000_000\n");
    let _host = site.host("host", &["--config", &file.to_string_lossy()]).await;
    for (task_type, obeyed, violated, kind) in [
        ("handles", "50", "150", FailureKind::TooManyHandles),
        ("alloc", "67108864", "134217728", FailureKind::OutOfMemory),
        ("burn", "1000", "1000000000", FailureKind::OutOfFuel),
        ("big-result", "8000000", "8388609", FailureKind::ResultTooLarge),
        ("recurse", "", "", FailureKind::StackOverflow),
    ] {
        // There is no shallow recursion to ask `recurse` for; every other call is one.
        if kind != FailureKind::StackOverflow {
            let view = site.ended(task_type, obeyed).await;
            assert_eq!(view.state, State::Completed, "{task_type}: {view:?}");
        }
        let view = site.ended(task_type, violated).await;
        assert_eq!((view.state, view.attempts()), (State::Failed, 1), "no retry: {view:?}");
        assert_eq!(failure(&view).kind, kind, "{view:?}");
    }
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_and_the_task_completes() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    for task_type in ["log-flood", "stdout-flood"] {
        let few = site.ended(task_type, "50").await;
        let report = few.last_report().expect("a report");
        assert_eq!((report.logs.len(), report.metering.log_lines_dropped), (50, 0));

        let limits = LimitsRequest { log_bytes: Some(5_000), ..Default::default() };
        let flood = end_of(&site, NewTask { limits, ..task(task_type, "3000") }).await;
        assert_eq!(flood.state, State::Completed);
        let report = flood.last_report().expect("a report");
        let kept: usize = report.logs.iter().map(|line| line.message.len()).sum();
        assert!(kept > 2_000 && kept <= 5_000, "{kept}");
        assert_eq!(report.logs.len() as u64 + report.metering.log_lines_dropped, 3_000);
        assert!(report.metering.log_bytes >= 300_000, "{:?}", report.metering);
    }
}

/// Host 500 M fuel, 64 MiB, 5 s; manifest 1 G, 16 MiB, 2 s; the task's own below,
/// between and above them: each limit is the least of the three.
#[tokio::test]
async fn the_least_of_host_manifest_and_task_counts() {
    let site = Site::new().await;
    let manifest = "[limits]\nfuel = 1_000_000_000\nmemory = \"16MiB\"\nwall = \"2s\"\n";
    std::fs::write(site.folder().join("unruly.toml"), manifest).expect("write the manifest");
    let text = "[limits]\nfuel = 50_000_000\nmemory = \"64MiB\"\nwall = \"5s\"\n";
    let file = settings(&site, text);
    let _host = site.host("host", &["--config", &file.to_string_lossy()]).await;
    let fuel = |fuel| LimitsRequest { fuel: Some(fuel), ..Default::default() };
    let memory = |bytes| LimitsRequest { memory_bytes: Some(bytes), ..Default::default() };
    let wall = |ms| LimitsRequest { wall_ms: Some(ms), ..Default::default() };
    let none = LimitsRequest::default();
    for (task_type, payload, limits, says) in [
        ("burn", "900000000", none, "`fuel` = 50000000;"),
        ("burn", "900000000", fuel(u64::MAX), "`fuel` = 50000000;"),
        ("burn", "900000000", fuel(600_000), "`fuel` = 600000;"),
        ("alloc", "50000000", none, "`memory` is 16777216 bytes;"),
        ("alloc", "50000000", memory(32 << 20), "`memory` is 16777216 bytes;"),
        ("alloc", "50000000", memory(8 << 20), "`memory` is 8388608 bytes;"),
        ("sleep", "60000", none, "`wall` is 2000 ms;"),
        ("sleep", "60000", wall(4_000), "`wall` is 2000 ms;"),
        ("sleep", "60000", wall(150), "`wall` is 150 ms;"),
    ] {
        let new = NewTask { limits, terms: attempts(1, 0), ..task(task_type, payload) };
        let view = end_of(&site, new).await;
        let message = &failure(&view).message;
        assert!(message.contains(says), "{task_type} {limits:?}: `{says}` is not in: {message}");
    }
}

#[tokio::test]
async fn a_spinning_guest_delays_no_other_and_is_cancelled() {
    let site = Site::new().await;
    // Enough fuel to spin until it is cancelled.
    let file = settings(&site, "[limits]\nfuel = 1_000_000_000_000_000\nwall = \"2m\"\n");
    let flags = ["--config", &file.to_string_lossy(), "--concurrency", "8"];
    let _host = site.host("host", &flags).await;
    let mut busy = site.submit_many(4, "spin", "").await;
    busy.push(site.submit("sleep", "100000").await);
    for id in &busy {
        site.running(*id).await;
    }
    for _ in 0..30 {
        let asked = Instant::now();
        let view = site.ended("noop", "").await;
        assert_eq!(view.state, State::Completed);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    for view in site.views(&busy).await {
        assert_eq!((view.state, view.attempts()), (State::Running, 1), "{view:?}");
    }
    let asked = Instant::now();
    site.client.broker().cancel(&Default::default(), &busy, 60_000).await.expect("asked");
    for id in busy {
        let view = site.wait(id).await;
        assert_eq!((view.state, nexts(&view)), (State::Cancelled, vec![Next::Cancelled]));
        assert_eq!(failure(&view).kind, FailureKind::Cancelled);
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    eventually("all permits are free again", || async {
        let hosts = site.client.broker().hosts().await.ok()?;
        hosts.iter().all(|host| host.in_flight == 0).then_some(())
    })
    .await;
}

/// The same program as a component and as a module for WASI preview 1.
#[tokio::test]
async fn commands_say_by_their_exit_code_what_follows() {
    let site = Site::bare(RedisServer::start()).await;
    install_as(site.folder(), "component", &guest("command"));
    install_as(site.folder(), "module", &module_guest("command"));
    let _host = site.host("host", &[]).await;
    for (name, kind) in [("component", "command"), ("module", "adapted")] {
        let serving = site.serving(name).await.expect("it serves");
        assert_eq!(
            (serving.kind.as_str(), serving.task_types.as_slice()),
            (kind, &[name.into()][..])
        );

        let view = site.ended(name, "some text").await;
        assert_eq!(output(&view), "SOME TEXT");
        let report = view.last_report().expect("a report");
        let lines: Vec<&str> = report.logs.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(lines, ["wrote 9 bytes in upper case"]);

        let new = NewTask { terms: attempts(2, 10), ..task(name, "fail away") };
        let view = end_of(&site, new).await;
        assert_eq!(
            (view.state, nexts(&view)),
            (State::Failed, vec![Next::Retry, Next::DeadLetter])
        );
        let failed = failure(&view);
        assert_eq!(failed.kind, FailureKind::Retry);
        assert_eq!(failed.message, "the command exited with code 1: failed: away");

        let limits = LimitsRequest { fuel: Some(50_000_000), ..Default::default() };
        let view = end_of(&site, NewTask { limits, ..task(name, "spin") }).await;
        assert_eq!((view.state, failure(&view).kind), (State::Failed, FailureKind::OutOfFuel));
    }
    // A component built by today's Rust has one code for every failure.
    let view = site.ended("module", "reject nonsense").await;
    assert_eq!((view.state, nexts(&view)), (State::Failed, vec![Next::DeadLetter]));
    let refused = failure(&view);
    assert_eq!(refused.kind, FailureKind::Reject);
    assert_eq!(refused.message, "the command exited with code 2: rejected: nonsense");
}
