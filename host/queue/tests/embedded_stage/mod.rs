//! One host's conversation with an embedded broker, in memory or with a file.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{
    AttemptReport, Failure, FailureKind, Metering, Outcome, Payload, Priority, QueueName, State,
    Task, TaskId, TenantName, Terms,
};
use bulkhead_queue::{
    Broker, Claim, ClaimToken, Client, Clock, EmbeddedBroker, End, ListFilter, NewTask, Serves,
    Settlement, Step, Stepped, SubmitAnswer, SubmitLimits, TaskView,
};
pub(crate) use bulkhead_stage::words::{fresh_id, of_type, queue, tenant};
use bulkhead_stage::{StageClock, words};

pub(crate) const DAY_MS: u64 = 86_400_000;

pub(crate) fn new_task(task_type: &str) -> NewTask {
    NewTask::new(of_type(task_type), Payload::new(Payload::TEXT, "hello"))
}

pub(crate) fn with_terms(terms: Terms) -> NewTask {
    NewTask { terms, ..new_task("a") }
}

pub(crate) fn task(task_type: &str, id: TaskId) -> Task {
    Task {
        id,
        task_type: of_type(task_type),
        queue: queue(),
        tenant: TenantName::default(),
        priority: Priority::default(),
        payload: Payload::new(Payload::TEXT, "hello"),
        metadata: Vec::new(),
        trace: None,
        limits: Default::default(),
        submitted_at: 1,
        terms: Terms::default(),
    }
}

pub(crate) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

pub(crate) fn report(attempt: u32, outcome: Outcome) -> AttemptReport {
    let metering = Metering { fuel: 10, cpu_us: 20, ..Metering::default() };
    AttemptReport { metering, ..words::report(attempt, outcome) }
}

pub(crate) fn done_with(claim: &Claim, output: &str, retention_ms: u64) -> Settlement {
    let output = Outcome::Done(Payload::new(Payload::TEXT, output));
    let end =
        End::Complete { report: report(claim.attempt, output), retention_ms, children: Vec::new() };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

pub(crate) fn done(claim: &Claim) -> Settlement {
    done_with(claim, "out", DAY_MS)
}

pub(crate) fn failed(claim: &Claim, end: impl FnOnce(AttemptReport) -> End) -> Settlement {
    let outcome = Outcome::Failed(Failure::new(FailureKind::Retry, "not now"));
    Settlement {
        token: claim.token.clone(),
        end: end(report(claim.attempt, outcome)),
        plugin: None,
    }
}

pub(crate) fn dead(claim: &Claim) -> Settlement {
    failed(claim, |report| End::DeadLetter { report, retention_ms: DAY_MS })
}

pub(crate) fn given_back(claim: &Claim) -> Settlement {
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
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) client: Client,
    pub(crate) lease: Duration,
    clock: Arc<StageClock>,
    folder: Option<tempfile::TempDir>,
}

impl Talk {
    pub(crate) fn in_memory() -> Self {
        let clock = Arc::new(StageClock::running());
        Self::over(EmbeddedBroker::in_memory_at(read(&clock)), clock, None)
    }

    pub(crate) fn with_file() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(StageClock::running()));
        let broker = EmbeddedBroker::open_at(folder.path(), read(&clock)).unwrap();
        Self::over(broker, clock, Some(folder))
    }

    fn over(
        broker: EmbeddedBroker,
        clock: Arc<StageClock>,
        folder: Option<tempfile::TempDir>,
    ) -> Self {
        let broker = Arc::new(broker);
        let limits = SubmitLimits { payload_bytes: 1_000, ..SubmitLimits::default() };
        let client = Client::new(broker.clone(), limits);
        Self { broker, client, lease: Duration::from_secs(10), clock, folder }
    }

    /// Let time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Close the file and open it again, as the next process would.
    pub(crate) fn reopened(self) -> Self {
        let Self { broker, client, folder, lease, clock } = self;
        drop((broker, client));
        let path = folder.as_ref().unwrap().path();
        let broker = EmbeddedBroker::open_at(path, read(&clock)).unwrap();
        Self { lease, ..Self::over(broker, clock, folder) }
    }

    pub(crate) async fn submit(&self, task: NewTask) -> TaskId {
        let submitted = self.client.submit(task).await.unwrap();
        assert!(submitted.answer.is_new(), "{:?}", submitted.answer);
        submitted.id
    }

    pub(crate) async fn answer(&self, task: NewTask) -> SubmitAnswer {
        self.client.submit(task).await.unwrap().answer
    }

    pub(crate) async fn step(
        &self,
        settle: Vec<Settlement>,
        renew: &[ClaimToken],
        want: u32,
        types: &[&str],
    ) -> Stepped {
        let serves: Vec<Serves> = types.iter().map(|name| of_type(name).into()).collect();
        let step = Step {
            host: "h1",
            settle: &settle,
            renew,
            progress: &[],
            want,
            claim_bytes: u64::MAX,
            serves: &serves,
            lease: self.lease,
            reclaim: true,
            dead_retention_ms: DAY_MS,
            apart: false,
        };
        self.broker.step(&queue(), step).await.unwrap()
    }

    pub(crate) async fn claim(&self, want: u32) -> Vec<Claim> {
        self.step(vec![], &[], want, &["a", "b"]).await.claims
    }

    pub(crate) async fn claim_one(&self) -> Claim {
        let mut claims = self.claim(1).await;
        assert_eq!(claims.len(), 1);
        claims.remove(0)
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Stepped {
        self.step(vec![settlement], &[], 0, &[]).await
    }

    pub(crate) async fn view(&self, id: TaskId) -> TaskView {
        self.view_in(&queue(), id).await
    }

    pub(crate) async fn view_in(&self, queue: &QueueName, id: TaskId) -> TaskView {
        self.broker.inspect(queue, &[id]).await.unwrap().remove(0).expect("a known task")
    }

    pub(crate) async fn state(&self, id: TaskId) -> State {
        self.view(id).await.state
    }

    pub(crate) async fn list(&self, state: State) -> Vec<TaskId> {
        let listed = self.broker.list(&queue(), &ListFilter::of(state), None).await.unwrap().tasks;
        listed.into_iter().map(|view| view.id).collect()
    }

    pub(crate) async fn examined(&self) {
        assert_eq!(self.broker.examine(&queue(), false).await.unwrap(), []);
    }
}

fn read(clock: &Arc<StageClock>) -> Clock {
    let clock = Arc::clone(clock);
    Clock::read_by(move || clock.now_us())
}

/// Make a test in memory and one with a file of each of these.
macro_rules! in_both_modes {
    ($($name:ident)*) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::embedded_stage::Talk::in_memory()).await;
            })*
        }
        mod with_file {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::embedded_stage::Talk::with_file()).await;
            })*
        }
    };
}
pub(crate) use in_both_modes;
