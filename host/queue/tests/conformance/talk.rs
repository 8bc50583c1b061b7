//! A conversation of hosts and producers with one broker.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{QueueName, QueuePolicy, State, TaskId, UnixMs};
use bulkhead_queue::{
    Broker, Claim, ClaimToken, Client, Entry, Event, ListFilter, NewTask, Progress, QueueStats,
    Serves, Settlement, Step, Stepped, SubmitAnswer, SubmitLimits, TaskView,
};
use bulkhead_stage::{RedisServer, StageClock};

use crate::stage::{Kind, Stage};
use crate::words::{DAY_MS, queue, serves};

/// How long the leases of these tests last, unless a test says otherwise.
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// What a host says in one step. The default wants nothing and serves types `a` and `b`.
pub(crate) struct Say<'a> {
    pub(crate) queue: QueueName,
    pub(crate) host: &'a str,
    pub(crate) settle: Vec<Settlement>,
    pub(crate) renew: Vec<ClaimToken>,
    pub(crate) progress: Vec<(ClaimToken, Progress)>,
    pub(crate) want: u32,
    pub(crate) claim_bytes: u64,
    /// Each `type` or `type:tenant`.
    pub(crate) types: &'a [&'a str],
    pub(crate) lease: Duration,
    pub(crate) reclaim: bool,
}

impl Default for Say<'_> {
    fn default() -> Self {
        Self {
            queue: queue(),
            host: "h1",
            settle: Vec::new(),
            renew: Vec::new(),
            progress: Vec::new(),
            want: 0,
            claim_bytes: u64::MAX,
            types: &["a", "b"],
            lease: LEASE,
            reclaim: true,
        }
    }
}

/// A broker and those who talk to it.
pub(crate) struct Talk {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) client: Client,
    clock: Arc<StageClock>,
    server: Option<RedisServer>,
    /// Where a durable broker keeps its file.
    _folder: Option<tempfile::TempDir>,
}

impl Talk {
    pub(crate) async fn on(kind: Kind) -> Self {
        let Stage { broker, clock, server, folder } = Stage::new(kind).await;
        let limits = SubmitLimits { payload_bytes: 1_000, ..SubmitLimits::default() };
        let client = Client::new(Arc::clone(&broker), limits);
        Self { broker, client, clock, server, _folder: folder }
    }

    /// The Redis server, for tests of it alone.
    pub(crate) fn server(&self) -> &RedisServer {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now_ms()
    }

    /// Let time pass.
    pub(crate) fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    /// Submit a task that must be accepted.
    pub(crate) async fn submit(&self, task: NewTask) -> TaskId {
        let submitted = self.client.submit(task).await.unwrap();
        assert!(submitted.answer.is_new(), "{:?}", submitted.answer);
        submitted.id
    }

    /// Submit a task and hear what became of it.
    pub(crate) async fn offer(&self, task: NewTask) -> SubmitAnswer {
        self.client.submit(task).await.unwrap().answer
    }

    /// Submit tasks of one call that must be accepted.
    pub(crate) async fn submit_many(&self, tasks: Vec<NewTask>) -> Vec<TaskId> {
        let submitted = self.client.submit_many(tasks).await.unwrap();
        assert!(submitted.iter().all(|s| s.answer.is_new()), "{submitted:?}");
        submitted.iter().map(|s| s.id).collect()
    }

    pub(crate) async fn say(&self, say: Say<'_>) -> Stepped {
        let serves: Vec<Serves> = say.types.iter().map(|name| serves(name)).collect();
        let step = Step {
            host: say.host,
            settle: &say.settle,
            renew: &say.renew,
            progress: &say.progress,
            want: say.want,
            claim_bytes: say.claim_bytes,
            serves: &serves,
            lease: say.lease,
            reclaim: say.reclaim,
            dead_retention_ms: DAY_MS,
            apart: false,
        };
        self.broker.step(&say.queue, step).await.unwrap()
    }

    pub(crate) async fn claim(&self, want: u32) -> Vec<Claim> {
        self.say(Say { want, ..Say::default() }).await.claims
    }

    pub(crate) async fn claim_in(&self, queue: &QueueName, want: u32) -> Vec<Claim> {
        self.say(Say { want, queue: queue.clone(), ..Say::default() }).await.claims
    }

    pub(crate) async fn claim_of(&self, types: &[&str], want: u32) -> Vec<Claim> {
        self.say(Say { want, types, ..Say::default() }).await.claims
    }

    pub(crate) async fn claim_one(&self) -> Claim {
        let mut claims = self.claim(1).await;
        assert_eq!(claims.len(), 1);
        claims.remove(0)
    }

    /// Settle a claim that must be the newest, and carry what follows everywhere.
    pub(crate) async fn settle(&self, settlement: Settlement) {
        self.settle_in(&queue(), settlement).await;
    }

    pub(crate) async fn settle_in(&self, queue: &QueueName, settlement: Settlement) {
        let say = Say { settle: vec![settlement], queue: queue.clone(), ..Say::default() };
        assert!(self.say(say).await.stale.is_empty());
        self.deliver().await;
    }

    /// Settle a claim and hear whether it was stale.
    pub(crate) async fn is_stale(&self, settlement: Settlement) -> bool {
        !self.say(Say { settle: vec![settlement], ..Say::default() }).await.stale.is_empty()
    }

    /// Submit a task, claim and complete it.
    pub(crate) async fn completed(&self, task: NewTask) -> TaskId {
        let id = self.submit(task).await;
        let claim = self.claim_one().await;
        assert_eq!(claim.id, id);
        self.settle(crate::words::done(&claim)).await;
        id
    }

    /// Carry everything that waits to be carried between queues.
    pub(crate) async fn deliver(&self) {
        for _ in 0..100 {
            let mut carried = 0;
            for queue in self.broker.queues().await.unwrap() {
                carried += self.broker.deliver(&queue).await.unwrap();
            }
            if carried == 0 {
                return;
            }
        }
        panic!("outboxes never become empty");
    }

    pub(crate) async fn find(&self, id: TaskId) -> Option<TaskView> {
        self.find_in(&queue(), id).await
    }

    pub(crate) async fn find_in(&self, queue: &QueueName, id: TaskId) -> Option<TaskView> {
        self.broker.inspect(queue, &[id]).await.unwrap().remove(0)
    }

    pub(crate) async fn view(&self, id: TaskId) -> TaskView {
        self.find(id).await.expect("a known task")
    }

    pub(crate) async fn state(&self, id: TaskId) -> State {
        self.view(id).await.state
    }

    pub(crate) async fn state_in(&self, queue: &QueueName, id: TaskId) -> State {
        self.find_in(queue, id).await.expect("a known task").state
    }

    pub(crate) async fn history(&self, id: TaskId) -> Vec<Entry> {
        self.view(id).await.history
    }

    pub(crate) async fn list(&self, state: State) -> Vec<TaskId> {
        self.list_by(&ListFilter::of(state)).await
    }

    pub(crate) async fn list_by(&self, filter: &ListFilter) -> Vec<TaskId> {
        let listed = self.broker.list(&queue(), filter, None).await.unwrap().tasks;
        listed.into_iter().map(|view| view.id).collect()
    }

    pub(crate) async fn stats(&self) -> QueueStats {
        self.broker.stats(&queue()).await.unwrap()
    }

    pub(crate) async fn total(&self, name: &str) -> u64 {
        self.stats().await.totals.get(name).copied().unwrap_or(0)
    }

    pub(crate) async fn set_policy(&self, policy: QueuePolicy) {
        self.broker.set_policy(&queue(), &policy).await.unwrap();
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        self.broker.events(&queue(), None, 1_000, Duration::ZERO).await.unwrap()
    }

    /// Claim until nothing comes, each step for at most `want`.
    pub(crate) async fn drain(&self, want: u32) -> Vec<Claim> {
        let mut all = Vec::new();
        for _ in 0..10_000 {
            let claims = self.claim(want).await;
            if claims.is_empty() {
                return all;
            }
            all.extend(claims);
        }
        panic!("claims never end");
    }

    /// Nothing disagrees in any queue.
    pub(crate) async fn is_sound(&self) {
        for queue in self.broker.queues().await.unwrap() {
            let findings = self.broker.examine(&queue, false).await.unwrap();
            assert!(findings.is_empty(), "{findings:#?}");
        }
    }
}
