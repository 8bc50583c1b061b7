//! The words of a host's conversation with a queue.
//!
//! A host talks in steps: one [`Step`] a tick and queue carries what it settles, renews
//! and wants. All edges of a task's life are taken inside the broker.

use std::fmt::Write as _;
use std::time::Duration;

use bulkhead_core::{
    AttemptReport, LogLine, Outcome, Parent, PluginId, Priority, Task, TaskId, TaskType, TenantName,
};

use crate::codec::Unreadable;
use crate::serves::Serves;
use crate::view::Progress;

/// Proof of one claim: task id, fencing token and host. Opaque to hosts; only the
/// newest claim's token settles or renews.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimToken(pub(crate) String);

impl ClaimToken {
    /// The token of one claim: `id:token:tenant:type:host`, the token in 20 digits. Tenant and
    /// type are told what a stale attempt used, when its task may be forgotten.
    pub(crate) fn of(
        id: TaskId,
        token: u64,
        (tenant, task_type): (&TenantName, &TaskType),
        host: &str,
    ) -> Self {
        let (tenant, task_type) = (tenant.as_str(), task_type.as_str());
        let length = 60 + tenant.len() + task_type.len() + host.len();
        let mut text = String::with_capacity(length);
        let mut buffer = uuid::Uuid::encode_buffer();
        text.push_str(id.0.as_hyphenated().encode_lower(&mut buffer));
        // Writing to a string does not fail.
        let _ = write!(text, ":{token:020}:{tenant}:{task_type}:{host}");
        Self(text)
    }

    /// Id, fencing token and host; nothing if this is no token.
    pub(crate) fn parts(&self) -> Option<(TaskId, u64, &str)> {
        let id = self.0.get(..36)?.parse().ok()?;
        let mut parts = self.0.get(37..)?.splitn(4, ':');
        let token = parts.next()?.parse().ok()?;
        Some((id, token, parts.nth(2)?))
    }

    /// Tenant and task type.
    #[must_use]
    pub fn line(&self) -> Option<(&str, &str)> {
        self.line_text()?.split_once(':')
    }

    /// The same as one text, `tenant:type`.
    #[must_use]
    pub fn line_text(&self) -> Option<&str> {
        let (_, rest) = self.0.get(37..)?.split_once(':')?;
        let tenant = rest.find(':')?;
        let task_type = rest.get(tenant + 1..)?.find(':')?;
        rest.get(..tenant + 1 + task_type)
    }
}

/// One attempt that a host may run until its lease ends.
#[derive(Debug)]
pub struct Claim {
    /// What to settle and renew with.
    pub token: ClaimToken,
    /// The task's id.
    pub id: TaskId,
    /// The task, or why its record cannot be read.
    pub task: Result<Box<Task>, Unreadable>,
    /// This attempt's number, starting at 1.
    pub attempt: u32,
    /// How the tasks that it waited for ended.
    pub parents: Vec<Parent>,
    /// Somebody asked to cancel the task: settle it, do not run it.
    pub cancelled: bool,
    /// Bytes of its record.
    pub bytes: u64,
}

/// A claim whose record is long and was left where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    /// What to settle and renew with.
    pub token: ClaimToken,
    /// The task's id.
    pub id: TaskId,
    /// Bytes of its record.
    pub bytes: u64,
    /// Somebody asked to cancel the task.
    pub cancelled: bool,
}

/// How an attempt's claim ends.
#[derive(Debug)]
pub enum End {
    /// The task is completed.
    Complete {
        /// The attempt's record.
        report: AttemptReport,
        /// How long the task is kept, in milliseconds; 0 forgets it at once.
        retention_ms: u64,
        /// The tasks that it submits, in any queues, if the claim is still the newest. Their
        /// tenants' quotas do not keep them out; an id that is known is not submitted again.
        children: Vec<Task>,
    },
    /// The task becomes a dead letter.
    DeadLetter {
        /// The attempt's record.
        report: AttemptReport,
        /// How long the dead letter is kept, in milliseconds.
        retention_ms: u64,
    },
    /// The task is cancelled.
    Cancel {
        /// The attempt's record.
        report: AttemptReport,
        /// How long the task is kept, in milliseconds.
        retention_ms: u64,
    },
    /// The task is tried again after a delay.
    Retry {
        /// The attempt's record.
        report: AttemptReport,
        /// The wait, in milliseconds from now.
        delay_ms: u64,
        /// How long the task is kept if a cancellation overtakes the retry.
        retention_ms: u64,
    },
    /// The task goes back to the front of its line; the attempt does not count.
    Return {
        /// The task's type.
        task_type: TaskType,
        /// The task's tenant.
        tenant: TenantName,
        /// The task's priority.
        priority: Priority,
        /// How long the task is kept if a cancellation overtakes the return.
        retention_ms: u64,
    },
    /// The record was unreadable: it becomes a dead letter that says why and keeps
    /// the bytes.
    Unreadable {
        /// The task as far as it is known, its payload the unreadable bytes.
        task: Box<Task>,
        /// The attempt's record.
        report: AttemptReport,
        /// How long the dead letter is kept, in milliseconds.
        retention_ms: u64,
    },
}

impl End {
    /// The tasks that it submits.
    #[must_use]
    pub fn children(&self) -> &[Task] {
        match self {
            Self::Complete { children, .. } => children,
            _ => &[],
        }
    }
}

/// One claim's end, on its way to the broker.
#[derive(Debug)]
pub struct Settlement {
    /// The claim.
    pub token: ClaimToken,
    /// What it came to.
    pub end: End,
    /// The plugin that ran, for metering; `None` if none did.
    pub plugin: Option<PluginId>,
}

impl Settlement {
    /// What it counts towards the bound of a step: itself and the tasks that it submits.
    #[must_use]
    pub fn weight(&self) -> usize {
        1 + self.end.children().len()
    }

    /// About how much memory it holds, in bytes: output, failure, log lines and the tasks that
    /// it submits, with what the allocator adds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let (report, task) = match &self.end {
            End::Complete { report, .. }
            | End::DeadLetter { report, .. }
            | End::Cancel { report, .. }
            | End::Retry { report, .. } => (Some(report), None),
            End::Unreadable { task, report, .. } => (Some(report), Some(task.as_ref())),
            End::Return { .. } => (None, None),
        };
        let tasks = self.end.children().iter().chain(task).map(task_bytes);
        let held = report.map_or(0, report_bytes) + tasks.sum::<usize>();
        (size_of::<Self>() + self.token.0.len() + held) as u64
    }
}

/// What a text takes beside itself where it is one of many.
const TEXT_COST_BYTES: usize = 32;

fn pairs_bytes(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(key, value)| key.len() + value.len() + 2 * TEXT_COST_BYTES).sum()
}

fn task_bytes(task: &Task) -> usize {
    let payload = &task.payload;
    let texts = payload.content_type.len() + payload.data.len() + pairs_bytes(&task.metadata);
    // Names, trace and terms are bounded by what a submission may have.
    size_of::<Task>() + texts + (1 << 10)
}

fn report_bytes(report: &AttemptReport) -> usize {
    let outcome = match &report.outcome {
        Outcome::Done(output) => output.content_type.len() + output.data.len(),
        Outcome::Failed(failure) => {
            let details = failure.details.as_ref().map_or(0, String::len);
            let frames = failure.backtrace.iter().map(|frame| frame.len() + TEXT_COST_BYTES);
            failure.message.len() + details + frames.sum::<usize>()
        }
    };
    let line = |line: &LogLine| {
        size_of::<LogLine>() + TEXT_COST_BYTES + line.message.len() + pairs_bytes(&line.fields)
    };
    outcome + report.host.len() + report.logs.iter().map(line).sum::<usize>()
}

/// What one host has to say to one queue, and what it wants.
#[derive(Debug)]
pub struct Step<'a> {
    /// The host's name, recorded in its leases.
    pub host: &'a str,
    /// Claims that ended.
    pub settle: &'a [Settlement],
    /// Claims that go on.
    pub renew: &'a [ClaimToken],
    /// What running attempts say of themselves; what a stale claim says is dropped.
    pub progress: &'a [(ClaimToken, Progress)],
    /// How many tasks the host can start, at most 1,000.
    pub want: u32,
    /// Bytes of records that the claims may bring together. A record that is longer comes
    /// alone; what does not fit stays in line.
    pub claim_bytes: u64,
    /// Whether long records may be left apart: others do not wait for them then.
    pub apart: bool,
    /// What it serves, at most [`Serves::MAX`]: each claim is of one of them.
    pub serves: &'a [Serves],
    /// How long a lease lasts.
    pub lease: Duration,
    /// Whether to look for leases of others that ran out.
    pub reclaim: bool,
    /// How long a dead letter is kept that no host could read, in milliseconds.
    pub dead_retention_ms: u64,
}

/// What a step came to.
#[derive(Debug, Default)]
pub struct Stepped {
    /// Indexes into `settle` whose claim was no longer the newest; they changed nothing.
    pub stale: Vec<usize>,
    /// Indexes into `renew` whose lease is gone: stop those attempts.
    pub lost: Vec<usize>,
    /// Renewed tasks that somebody asked to cancel.
    pub cancel: Vec<TaskId>,
    /// New claims, most urgent first.
    pub claims: Vec<Claim>,
    /// New claims whose records are long: get each by [`crate::Broker::fetch`].
    pub apart: Vec<Apart>,
    /// When the queue has something to do by time alone: a due task or an ending lease.
    pub next_due: Option<Duration>,
    /// How many leases of dead hosts were taken back.
    pub reclaimed: u64,
    /// Whether events wait to be carried to other queues: call [`crate::Broker::deliver`].
    pub outbox: bool,
}
