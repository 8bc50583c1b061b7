//! One host's conversation with one queue, and what tests say in it.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{
    AttemptReport, Failure, FailureKind, Metering, Outcome, Payload, Priority, QueueName,
    QueuePolicy, State, Task, TaskId, TaskRef, TenantName, Terms, UnixMs,
};
use bulkhead_queue::{
    Broker, Claim, ClaimToken, End, Progress, RedisBroker, Settlement, Step, Stepped, SubmitAnswer,
    TaskView,
};
pub(crate) use bulkhead_stage::words::{fresh_id, of_type, queue, tenant};
use bulkhead_stage::{RedisServer, StageClock, words};

pub(crate) const DAY_MS: u64 = 86_400_000;

pub(crate) fn now() -> UnixMs {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// A task of type `a` with these terms.
pub(crate) fn task(terms: Terms) -> Task {
    Task {
        id: fresh_id(),
        task_type: of_type("a"),
        queue: queue(),
        tenant: TenantName::default(),
        priority: Priority::NORMAL,
        payload: Payload::new(Payload::TEXT, "hello"),
        metadata: Vec::new(),
        trace: None,
        limits: Default::default(),
        submitted_at: now(),
        terms,
    }
}

pub(crate) fn plain() -> Task {
    task(Terms::default())
}

pub(crate) fn report(attempt: u32, outcome: Outcome) -> AttemptReport {
    let metering = Metering { fuel: 7, cpu_us: 5, ..Metering::default() };
    AttemptReport { metering, ..words::report(attempt, outcome) }
}

pub(crate) fn done(claim: &Claim) -> Settlement {
    kept(claim, DAY_MS)
}

pub(crate) fn kept(claim: &Claim, retention_ms: u64) -> Settlement {
    let output = Outcome::Done(Payload::new(Payload::TEXT, format!("out of {}", claim.id)));
    let end =
        End::Complete { report: report(claim.attempt, output), retention_ms, children: Vec::new() };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

fn failure(claim: &Claim) -> AttemptReport {
    let failure = Failure::new(FailureKind::Retry, "not now");
    report(claim.attempt, Outcome::Failed(failure))
}

pub(crate) fn dead(claim: &Claim) -> Settlement {
    let end = End::DeadLetter { report: failure(claim), retention_ms: DAY_MS };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

pub(crate) fn retry(claim: &Claim, delay_ms: u64) -> Settlement {
    let end = End::Retry { report: failure(claim), delay_ms, retention_ms: DAY_MS };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

pub(crate) fn give_back(claim: &Claim) -> Settlement {
    let task = claim.task.as_ref().unwrap();
    let end = End::Return {
        task_type: task.task_type.clone(),
        tenant: task.tenant.clone(),
        priority: task.priority,
        retention_ms: DAY_MS,
    };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

pub(crate) struct Talk {
    pub(crate) broker: RedisBroker,
    pub(crate) lease: Duration,
    pub(crate) server: RedisServer,
    clock: Arc<StageClock>,
}

impl Talk {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(StageClock::running());
        let server = RedisServer::start_at(Arc::clone(&clock));
        let broker = server.broker().await;
        Self { broker, lease: Duration::from_secs(30), server, clock }
    }

    /// The server's time, which is the machine's until some is let pass.
    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now_ms()
    }

    /// Let time pass.
    pub(crate) fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    pub(crate) async fn submit(&self, task: &Task) -> SubmitAnswer {
        self.broker.submit(std::slice::from_ref(task)).await.unwrap().remove(0)
    }

    /// Submit and carry what follows from it.
    pub(crate) async fn store(&self, task: &Task) -> TaskId {
        assert!(self.submit(task).await.is_new());
        self.deliver(&task.queue).await;
        task.id
    }

    pub(crate) async fn deliver(&self, queue: &QueueName) {
        while self.broker.deliver(queue).await.unwrap() > 0 {}
    }

    pub(crate) async fn step_in(
        &self,
        queue: &QueueName,
        settle: Vec<Settlement>,
        progress: &[(ClaimToken, Progress)],
        want: u32,
    ) -> Stepped {
        let serves = [of_type("a").into(), of_type("b").into()];
        let step = Step {
            host: "h1",
            settle: &settle,
            renew: &[],
            progress,
            want,
            claim_bytes: u64::MAX,
            serves: &serves,
            lease: self.lease,
            reclaim: true,
            dead_retention_ms: DAY_MS,
            apart: false,
        };
        self.broker.step(queue, step).await.unwrap()
    }

    pub(crate) async fn claim(&self, want: u32) -> Vec<Claim> {
        self.step_in(&queue(), vec![], &[], want).await.claims
    }

    pub(crate) async fn claim_one(&self) -> Claim {
        let mut claims = self.claim(1).await;
        assert_eq!(claims.len(), 1, "one task is in line");
        claims.remove(0)
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Stepped {
        let stepped = self.step_in(&queue(), vec![settlement], &[], 0).await;
        assert!(stepped.stale.is_empty());
        stepped
    }

    pub(crate) async fn view_in(&self, task: &TaskRef) -> Option<TaskView> {
        self.broker.inspect(&task.queue, &[task.id]).await.unwrap().remove(0)
    }

    pub(crate) async fn view(&self, id: TaskId) -> TaskView {
        self.view_in(&TaskRef { queue: queue(), id }).await.expect("a known task")
    }

    pub(crate) async fn state(&self, id: TaskId) -> State {
        self.view(id).await.state
    }

    pub(crate) async fn policy(&self, policy: QueuePolicy) {
        self.broker.set_policy(&queue(), &policy).await.unwrap();
    }

    pub(crate) async fn open(&self) -> u64 {
        let stats = self.broker.stats(&queue()).await.unwrap();
        stats.by_tenant.iter().map(|tenant| tenant.open).sum()
    }

    pub(crate) async fn assert_sound(&self, queue: &QueueName) {
        let findings = self.broker.examine(queue, false).await.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
    }
}
