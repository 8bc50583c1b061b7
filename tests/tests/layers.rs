//! Layers around attempts, as a configuration names them, on real hosts and real guests: what
//! each lets through and what it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use bulkhead::HostOptions;
use bulkhead::layers::{AttemptMetrics, AttemptReply, AttemptRequest};
use bulkhead_core::{FailureKind, QueueName, State};
use bulkhead_queue::TaskView;
use bulkhead_tests::{
    HostProcess, Inside, Running, Site, eventually, failure, install, on_both_brokers, output, task,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

on_both_brokers![
    a_timeout_ends_what_takes_longer,
    a_payload_that_is_too_large_is_refused_and_a_result_as_well,
    what_stands_after_a_secret_key_is_not_kept,
    an_open_circuit_burns_no_attempt_and_others_go_on,
    a_circuit_closes_by_its_probes,
    a_rate_makes_tasks_wait_and_gives_none_away,
    an_upstream_that_fails_is_left_alone_and_no_attempt_counts,
    whoever_measures_is_told_through_the_options,
    a_queue_with_layers_takes_no_batches,
];

/// A host of this configuration, one attempt at a time.
async fn host(place: &Inside, text: &str) -> Running {
    let options = HostOptions { concurrency: 1, ..place.configured(text) };
    place.host("layered", options).await
}

/// `[queues.default]` with these layers, and one attempt a task.
fn with(layers: &str, sections: &str) -> String {
    format!("[queues.default]\nlayers = {layers}\nretry.max_attempts = 1\n{sections}")
}

async fn a_timeout_ends_what_takes_longer(place: Inside) {
    let text = with("[\"brief\"]", "[layers.brief]\nkind = \"timeout\"\nafter = \"200ms\"\n");
    let _host = host(&place, &text).await;
    let late = place.ended("sleep", "60000").await;
    assert_eq!(failure(&late).kind, FailureKind::TimedOut);
    assert_eq!(place.ended("sleep", "1").await.state, State::Completed);
}

async fn a_payload_that_is_too_large_is_refused_and_a_result_as_well(place: Inside) {
    let section = "[layers.payload_size]\npayload = \"8 B\"\nresult = \"100 B\"\n";
    let _host = host(&place, &with("[\"payload_size\"]", section)).await;
    let refused = place.ended("echo", "123456789").await;
    let why = failure(&refused);
    assert_eq!((refused.state, why.kind), (State::Failed, FailureKind::Reject));
    assert!(why.message.contains("the payload has 9 bytes"), "{why:?}");
    assert!(refused.last_report().is_some_and(|report| report.plugin.is_none()), "nothing ran");
    assert_eq!(output(&place.ended("echo", "12345678").await), "12345678");
    let large = place.ended("big-result", "200").await;
    assert_eq!(failure(&large).kind, FailureKind::ResultTooLarge);
}

async fn what_stands_after_a_secret_key_is_not_kept(place: Inside) {
    let _host = host(&place, &with("[\"redaction\"]", "")).await;
    let crashed = place.ended("panic", "token=abcdef and no more").await;
    let all = format!("{:?}", crashed.last_report());
    assert!(all.contains("token=[redacted] and no more") && !all.contains("abcdef"), "{all}");
    let given = "token=abcdef";
    assert_eq!(output(&place.ended("echo", given).await), given, "an output is data");
}

/// Opens after two failures, for longer than the test takes.
const BREAKER: &str = "[layers.breaker]\nkind = \"circuit_breaker\"\nfailures = 2\nopen = \"5m\"\n";

async fn an_open_circuit_burns_no_attempt_and_others_go_on(place: Inside) {
    let _host = host(&place, &with("[\"breaker\"]", BREAKER)).await;
    let bad: Vec<_> = (0..6).map(|_| task("flaky", "9")).collect();
    let bad = place.client.submit_many(bad).await.expect("submitted");
    // The other type is served, before and after.
    assert_eq!(place.ended("echo", "still here").await.state, State::Completed);
    eventually("the circuit is open", || async {
        let mut dead = 0;
        for submitted in &bad {
            dead += u32::from(place.view(submitted.id).await.state == State::Failed);
        }
        (dead == 2).then_some(())
    })
    .await;
    assert_eq!(place.ended("echo", "still here").await.state, State::Completed);
    let mut waiting = 0;
    for submitted in &bad {
        let view = place.view(submitted.id).await;
        if view.state == State::Pending {
            assert_eq!((view.attempts(), view.history.len()), (0, 0), "{view:?}");
            waiting += 1;
        }
    }
    assert_eq!(waiting, 4);
    // Each came back once at most: the type is not claimed meanwhile.
    let stats = place.broker.stats(&QueueName::default()).await.expect("a broker");
    assert!(stats.totals.get("returned").copied().unwrap_or(0) <= 4, "{stats:?}");
}

async fn a_circuit_closes_by_its_probes(place: Inside) {
    let breaker = "[layers.breaker]\nkind = \"circuit_breaker\"\nfailures = 2\nopen = \"400ms\"\n\
                   probes = 2\n";
    let _host = host(&place, &with("[\"logging\", \"breaker\"]", breaker)).await;
    for _ in 0..2 {
        assert_eq!(place.ended("flaky", "9").await.state, State::Failed);
    }
    let good: Vec<_> = (0..5).map(|_| task("flaky", "0")).collect();
    for submitted in place.client.submit_many(good).await.expect("submitted") {
        let view = place.wait(submitted.id).await;
        assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
    }
}

async fn a_rate_makes_tasks_wait_and_gives_none_away(place: Inside) {
    let rate = "[layers.rate_limit]\nrate = \"1/300ms\"\nper = \"type\"\nwait = \"0s\"\n";
    let _host = host(&place, &with("[\"rate_limit\"]", rate)).await;
    let tasks: Vec<_> = (0..4).map(|_| task("noop", "")).collect();
    let mut started = Vec::new();
    for submitted in place.client.submit_many(tasks).await.expect("submitted") {
        let view = place.wait(submitted.id).await;
        assert_eq!((view.state, view.attempts()), (State::Completed, 1));
        started.push(view.last_report().expect("a report").started_at);
    }
    started.sort_unstable();
    // Started is when a task was claimed; milliseconds are cut off.
    let apart = started.last().expect("some") - started[0];
    assert!(apart >= 890, "{started:?}");
    let stats = place.broker.stats(&QueueName::default()).await.expect("a broker");
    assert!(stats.totals.get("returned").copied().unwrap_or(0) >= 3, "{stats:?}");
}

/// A server that answers every request with this status, and counts them.
async fn upstream() -> (String, Arc<AtomicUsize>, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (asked, status) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU32::new(503)));
    let (count, answer) = (asked.clone(), status.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let head = format!(
                "HTTP/1.1 {} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
                answer.load(Ordering::SeqCst)
            );
            let mut request = [0; 2_048];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    (url, asked, status)
}

async fn an_upstream_that_fails_is_left_alone_and_no_attempt_counts(place: Inside) {
    install(place.folder(), "fetcher");
    let grants = "[grants.http]\nallow = [\"http://127.0.0.1:*/\"]\nprivate = true\n";
    std::fs::write(place.folder().join("fetcher.toml"), grants).expect("a file");
    let section = "[layers.upstream_breaker]\nfailures = 2\nopen = \"1s\"\n";
    let _host = host(&place, &with("[\"upstream_breaker\"]", section)).await;
    let (url, asked, status) = upstream().await;
    let get = format!("get {url}");
    for _ in 0..2 {
        let view = place.ended("fetch", &get).await;
        assert!(output(&view).contains("503"), "{}", output(&view));
    }
    // Refused at once; the guest may cope with it.
    let told = output(&place.ended("fetch", &get).await);
    assert_eq!(
        (told.as_str(), asked.load(Ordering::SeqCst)),
        ("error ErrorCode::DestinationUnavailable", 2)
    );
    status.store(200, Ordering::SeqCst);
    // One that fails for it waits for the circuit; it ends by its own trap after an answer.
    let crashes = place.ended("fetch", &format!("{get}\ntrap")).await;
    assert_eq!((crashes.state, crashes.attempts()), (State::Failed, 1));
    assert_eq!(asked.load(Ordering::SeqCst), 3, "it failed by itself, once it was answered");
    assert!(output(&place.ended("fetch", &get).await).contains("200"));
}

/// Counts what it is told.
#[derive(Default)]
struct Counted(AtomicU32);

impl AttemptMetrics for Counted {
    fn attempt(&self, _: &AttemptRequest<'_>, reply: &AttemptReply, took: Duration) {
        if matches!(reply, AttemptReply::Ended(_)) && took > Duration::ZERO {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn whoever_measures_is_told_through_the_options(place: Inside) {
    let options = place.configured(&with("[\"metrics\"]", ""));
    let counted = Arc::new(Counted::default());
    assert!(options.attempt_metrics.tell(counted.clone()));
    let _host = place.host("layered", options).await;
    for _ in 0..3 {
        assert_eq!(place.ended("echo", "x").await.state, State::Completed);
    }
    assert_eq!(counted.0.load(Ordering::SeqCst), 3);
}

async fn a_queue_with_layers_takes_no_batches(place: Inside) {
    let tasks: Vec<_> = (0..8).map(|_| task("together", "size")).collect();
    let submitted = place.client.submit_many(tasks).await.expect("submitted");
    let _host = host(&place, &with("[\"redaction\"]", "")).await;
    for submitted in submitted {
        let view: TaskView = place.wait(submitted.id).await;
        assert!(output(&view).ends_with("of 1"), "{}", output(&view));
    }
}

/// A worker process connects by its host, which counts what cannot be reached.
#[tokio::test]
async fn an_upstream_that_nobody_reaches_is_left_alone_by_worker_processes() {
    let place = Inside::embedded().apart();
    install(place.folder(), "fetcher");
    let grants = "[grants.http]\nallow = [\"http://127.0.0.1:*/\"]\nprivate = true\n";
    std::fs::write(place.folder().join("fetcher.toml"), grants).expect("a file");
    let section = "[layers.upstream_breaker]\nfailures = 2\nopen = \"5m\"\n";
    let _host = host(&place, &with("[\"upstream_breaker\"]", section)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let get = format!("get http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    for expected in ["ConnectionRefused", "ConnectionRefused", "DestinationUnavailable"] {
        let told = output(&place.ended("fetch", &get).await);
        assert_eq!(told, format!("error ErrorCode::{expected}"));
    }
    let waits = place.submit(task("fetch", format!("{get}\ntrap"))).await;
    eventually("it went back", || async {
        let stats = place.broker.stats(&QueueName::default()).await.ok()?;
        stats.totals.get("returned").copied().filter(|returned| *returned > 0)
    })
    .await;
    let view = place.view(waits).await;
    assert_eq!((view.state, view.attempts()), (State::Pending, 0));
}

#[tokio::test]
async fn the_log_has_each_attempt_and_nothing_of_its_payload() {
    let site = Site::new().await;
    let path = site.folder().join("bulkhead.config.toml");
    std::fs::write(&path, with("[\"logging\"]", "")).expect("a file");
    let config = path.to_str().expect("a path");
    let host: HostProcess = site.host("told", &["--config", config]).await;
    assert_eq!(site.ended("echo", "confidential").await.state, State::Completed);
    assert_eq!(site.ended("reject", "confidential").await.state, State::Failed);
    let log = host.log();
    for wanted in ["attempt begins", "attempt ended", "outcome=\"done\"", "outcome=\"reject\""] {
        assert!(log.contains(wanted), "{wanted}: {log}");
    }
    assert!(!log.contains("confidential"), "{log}");
}
