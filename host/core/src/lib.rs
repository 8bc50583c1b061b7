//! The words of Bulkhead and the policy that follows from them.
//!
//! Everything here is a value or a pure function: no I/O, no clock, no randomness.
//! Time and jitter are arguments. This crate knows neither Redis nor WebAssembly,
//! so that a producer, the broker and the sandbox can all share it.

mod admission;
mod alert;
mod autoscale;
mod breaker;
pub mod canary;
mod child;
mod disposition;
mod limits;
mod name;
pub mod outbound;
mod outcome;
mod parent;
mod plugin;
mod policy;
mod priority;
pub mod quantity;
mod quota;
mod rate;
mod report;
mod retry;
mod schedule;
#[cfg(feature = "schema")]
mod schema;
mod state;
mod task;
mod terms;
mod trace;

pub use admission::{Admission, AdmissionMarks, DiskMark, MachineState, Mark, Strain};
pub use alert::{AlertChange, AlertRule, AlertSignal, AlertState, Bound, quantile};
pub use autoscale::{
    AutoscalePolicy, Autoscaler, Direction, MemoryLoad, Observation, Pace, Readings, Reason,
    Signal, Verdict, Work,
};
pub use breaker::{Breaker, BreakerPolicy, BreakerState, Passage, Passed};
pub use child::{Child, child_id};
pub use disposition::{Attempted, Disposition, dispose};
pub use limits::{Limits, LimitsRequest};
pub use name::{Name, NameError, PluginName, QueueName, TaskType, TenantName, check_name};
pub use outcome::{Failure, FailureKind, Outcome};
pub use parent::Parent;
pub use plugin::PluginId;
pub use policy::{Bounds, PolicyError, QueuePolicy, TenantPolicy, WhenSpent};
pub use priority::{Priority, PriorityError};
pub use quota::MinuteBucket;
pub use rate::Rate;
pub use report::{AttemptReport, Digest, DigestError, LogLevel, LogLine, Metering};
pub use retry::{Backoff, RetryPolicy, RetryRequest};
pub use schedule::{Due, Missed, Schedule, Template, Timing, TimingError, fire_id};
pub use state::State;
pub use task::{IdError, Payload, Task, TaskId, TraceContext};
pub use terms::{BatchId, BatchRef, Conflict, OnFailedParent, TaskRef, TermKey, Terms, Unique};
pub use trace::TraceParent;

/// Milliseconds since the Unix epoch.
pub type UnixMs = u64;
