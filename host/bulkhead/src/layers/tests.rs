use std::sync::atomic::{AtomicU32, Ordering};

use bulkhead_core::{BreakerPolicy, BreakerState, FailureKind, Payload, Rate, TaskId, TaskType};
use parking_lot::Mutex;

use super::*;

fn task(task_type: &str, payload: &str) -> Task {
    Task {
        id: TaskId(uuid::Uuid::nil()),
        task_type: TaskType::new(task_type).unwrap(),
        queue: Default::default(),
        tenant: Default::default(),
        priority: Default::default(),
        payload: Payload::new(Payload::TEXT, payload),
        metadata: Vec::new(),
        trace: None,
        limits: Default::default(),
        submitted_at: 0,
        terms: Default::default(),
    }
}

fn done() -> AttemptReply {
    let outcome = Outcome::Done(Payload::new(Payload::TEXT, "done"));
    let metering = Metering::default();
    AttemptReply::Ended(AttemptEnd { outcome, metering, logs: Vec::new(), children: Vec::new() })
}

/// Answers what it was told, and notes with which limits it was asked.
struct Handler {
    reply: Mutex<AttemptReply>,
    limits: Mutex<Vec<Limits>>,
}

impl Handler {
    fn answering(reply: AttemptReply) -> Self {
        Self { reply: Mutex::new(reply), limits: Mutex::default() }
    }

    fn calls(&self) -> usize {
        self.limits.lock().len()
    }
}

impl Innermost for Handler {
    fn run<'a>(&'a self, request: AttemptRequest<'a>) -> BoxFuture<'a, AttemptReply> {
        self.limits.lock().push(request.limits);
        let reply = self.reply.lock().clone();
        Box::pin(async move { reply })
    }
}

fn request(task: &Task) -> AttemptRequest<'_> {
    AttemptRequest {
        task,
        attempt: 1,
        max_attempts: 3,
        limits: Limits::default(),
        cancel: Cancel::new(),
        upstreams: None,
    }
}

async fn through(layers: &[NamedLayer], handler: &Handler, task: &Task) -> AttemptReply {
    Next::new(layers, handler).run(request(task)).await
}

fn kind(reply: &AttemptReply) -> Option<FailureKind> {
    match reply {
        AttemptReply::Ended(AttemptEnd { outcome: Outcome::Failed(failure), .. }) => {
            Some(failure.kind)
        }
        _ => None,
    }
}

/// Notes when it was passed, both ways.
struct Noting(&'static str, Arc<Mutex<Vec<String>>>);

#[async_trait]
impl AttemptLayer for Noting {
    async fn around<'a>(&'a self, request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        self.1.lock().push(format!("{} in", self.0));
        let reply = next.run(request).await;
        self.1.lock().push(format!("{} out", self.0));
        reply
    }
}

#[tokio::test]
async fn layers_are_passed_in_their_order_and_left_in_the_reverse() {
    let notes = Arc::new(Mutex::default());
    let layer = |name| NamedLayer::new(name, Noting(name, notes.clone()));
    let handler = Handler::answering(done());
    let reply = through(&[layer("a"), layer("b")], &handler, &task("t", "")).await;
    assert_eq!((reply, handler.calls()), (done(), 1));
    assert_eq!(*notes.lock(), ["a in", "b in", "b out", "a out"]);
}

#[tokio::test]
async fn a_layer_that_answers_keeps_those_inside_of_it_out() {
    let notes = Arc::new(Mutex::default());
    let size = PayloadSize { payload_bytes: Some(3), result_bytes: Some(7) };
    let layers =
        [NamedLayer::new("size", size), NamedLayer::new("inner", Noting("inner", notes.clone()))];
    let handler = Handler::answering(done());
    let reply = through(&layers, &handler, &task("t", "1234")).await;
    assert_eq!((kind(&reply), handler.calls()), (Some(FailureKind::Reject), 0));
    assert!(notes.lock().is_empty());
    assert_eq!(through(&layers, &handler, &task("t", "123")).await, done());
    assert_eq!(handler.limits.lock()[0].result_bytes, 7);
}

#[tokio::test]
async fn a_timeout_lowers_the_wall_time_and_never_raises_it() {
    let handler = Handler::answering(done());
    for (after_ms, expected_ms) in [(20, 20), (1_000_000, 30_000), (0, 1)] {
        let timeout = Timeout { after: Duration::from_millis(after_ms) };
        through(&[NamedLayer::new("t", timeout)], &handler, &task("t", "")).await;
        assert_eq!(handler.limits.lock().last().unwrap().wall_ms, expected_ms);
    }
}

#[tokio::test]
async fn what_is_too_early_waits_or_goes_back_each_key_for_itself() {
    let rate: Rate = "1/h".parse().unwrap();
    let limit = RateLimit::new(rate, RatePer::Type, Duration::from_secs(1));
    let layers = [NamedLayer::new("rate", limit)];
    let handler = Handler::answering(done());
    assert_eq!(through(&layers, &handler, &task("a", "")).await, done());
    let AttemptReply::Returned(returned) = through(&layers, &handler, &task("a", "")).await else {
        panic!("the second is too early");
    };
    assert!(returned.hold > Duration::from_secs(3_500), "{returned:?}");
    assert_eq!(through(&layers, &handler, &task("b", "")).await, done());
    assert_eq!(handler.calls(), 2);
    let patient = RateLimit::new(rate, RatePer::All, Duration::from_secs(7_200));
    let layers = [NamedLayer::new("rate", patient)];
    assert_eq!(through(&layers, &handler, &task("a", "")).await, done());
    let cancelled = request_cancelled(&layers, &handler).await;
    assert_eq!((cancelled, handler.calls()), (done(), 4), "who is interrupted waits no longer");
}

async fn request_cancelled(layers: &[NamedLayer], handler: &Handler) -> AttemptReply {
    let task = task("a", "");
    let request = request(&task);
    request.cancel.cancel();
    Next::new(layers, handler).run(request).await
}

fn failed(kind: FailureKind) -> AttemptReply {
    AttemptReply::failed(Failure::new(kind, "as told"))
}

const POLICY: BreakerPolicy =
    BreakerPolicy { failures: 2, share: 0.5, window_ms: 3_600_000, open_ms: 3_600_000, probes: 1 };

#[tokio::test]
async fn a_circuit_opens_for_its_type_alone_and_gives_tasks_back() {
    let breaker = Arc::new(CircuitBreaker::new(POLICY, CircuitBreaker::ON.to_vec()));
    let layers = [NamedLayer { name: "breaker".into(), layer: breaker.clone() }];
    let handler = Handler::answering(failed(FailureKind::Retry));
    for _ in 0..2 {
        let reply = through(&layers, &handler, &task("bad", "")).await;
        assert_eq!(kind(&reply), Some(FailureKind::Retry));
    }
    assert_eq!(breaker.state(&TaskType::new("bad").unwrap()), BreakerState::Open);
    let reply = through(&layers, &handler, &task("bad", "")).await;
    assert!(matches!(&reply, AttemptReply::Returned(r) if r.reason.contains("`bad`")), "{reply:?}");
    assert_eq!(handler.calls(), 2);
    *handler.reply.lock() = done();
    assert_eq!(through(&layers, &handler, &task("good", "")).await, done());
}

#[tokio::test]
async fn what_says_nothing_of_the_type_opens_no_circuit() {
    let quick = BreakerPolicy { failures: 1, ..POLICY };
    let breaker = CircuitBreaker::new(quick, CircuitBreaker::ON.to_vec());
    let layers = [NamedLayer::new("breaker", breaker)];
    let returned = AttemptReply::returned("busy", Duration::ZERO);
    for reply in [failed(FailureKind::Cancelled), failed(FailureKind::Reject), returned] {
        let handler = Handler::answering(reply.clone());
        assert_eq!(through(&layers, &handler, &task("t", "")).await, reply);
    }
    let handler = Handler::answering(done());
    assert_eq!(through(&layers, &handler, &task("t", "")).await, done());
}

#[tokio::test]
async fn redaction_reaches_all_that_is_kept_of_an_end_and_no_output() {
    let secret = "token=abcdef";
    let line = bulkhead_core::LogLine {
        at_ms: 0,
        level: bulkhead_core::LogLevel::Info,
        message: secret.into(),
        fields: vec![("Password".into(), "abcdef".into()), ("q".into(), secret.into())],
    };
    let failure = Failure {
        details: Some(secret.into()),
        backtrace: vec![secret.into()],
        ..Failure::new(FailureKind::Trapped, secret)
    };
    let (outcome, metering) = (Outcome::Failed(failure), Metering::default());
    let end = AttemptEnd { outcome, metering, logs: vec![line], children: Vec::new() };
    let layers = [NamedLayer::new("redaction", Redaction::of(Redaction::KEYS))];
    let handler = Handler::answering(AttemptReply::Ended(end));
    let told = format!("{:?}", through(&layers, &handler, &task("t", "")).await);
    assert!(!told.contains("abcdef"), "{told}");
    assert_eq!(told.matches("[redacted]").count(), 6, "{told}");
    let output = Outcome::Done(Payload::new(Payload::TEXT, secret));
    let AttemptReply::Ended(end) = done() else { return };
    let data = AttemptReply::Ended(AttemptEnd { outcome: output, ..end });
    let handler = Handler::answering(data.clone());
    assert_eq!(through(&layers, &handler, &task("t", "")).await, data);
}

#[derive(Default)]
struct Counted(AtomicU32, AtomicU32);

impl AttemptMetrics for Counted {
    fn attempt(&self, request: &AttemptRequest<'_>, reply: &AttemptReply, _: Duration) {
        assert_eq!(request.task.task_type.as_str(), "t");
        match reply {
            AttemptReply::Ended(_) => self.0.fetch_add(1, Ordering::SeqCst),
            AttemptReply::Returned(_) => self.1.fetch_add(1, Ordering::SeqCst),
        };
    }
}

#[tokio::test]
async fn whoever_measures_hears_of_each_attempt() {
    let counted = Arc::new(Counted::default());
    let layers = [NamedLayer::new("metrics", Metrics::by(counted.clone()))];
    for reply in [done(), failed(FailureKind::Reject), AttemptReply::returned("", Duration::ZERO)] {
        through(&layers, &Handler::answering(reply), &task("t", "")).await;
    }
    let counts = (counted.0.load(Ordering::SeqCst), counted.1.load(Ordering::SeqCst));
    assert_eq!(counts, (2, 1));
}
