//! What a producer asks of a task, and by what tasks are found, in one definition for flags and
//! for JSON.
//!
//! The command line fills these values from its flags, the API and JSON Lines from a
//! document ([`TaskRequest`]) or a query; so both know the same terms under the same names. Nothing here
//! talks to a broker or knows the time.

mod policy;
mod request;
mod retry;
mod schedule;
mod selection;
mod terms;

use bulkhead_core::quantity::{Size, Span};
use bulkhead_core::{LimitsRequest, Payload, Priority, QueueName, TaskType, TenantName, UnixMs};
use bulkhead_queue::NewTask;
use clap::Args;

pub use policy::policy_of;
pub use request::{LimitsAsked, PriorityAsked, TaskRequest, is_json, payload};
pub use retry::{Growth, Retry};
pub use schedule::ScheduleRequest;
pub use selection::{Selection, States};
pub use terms::{Asked, Lasting, ParentArg, Start};

/// Whose a task is, how urgent, with which metadata and limits.
#[derive(Debug, Clone, Default, Args)]
pub struct Manner {
    /// Whose task it is
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub tenant: TenantName,
    /// low, normal, high, critical or a number from 0 to 100
    #[arg(long, value_name = "LEVEL", default_value = "normal")]
    pub priority: Priority,
    /// Metadata for the handler, repeatable
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    pub metadata: Vec<(String, String)>,
    /// Fuel limit below the host's, such as 50_000_000
    #[arg(long, value_name = "UNITS", value_parser = count)]
    fuel: Option<u64>,
    /// Memory limit below the host's, such as 32MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Wall time limit below the host's, such as 5s
    #[arg(long, value_name = "DURATION")]
    wall: Option<Span>,
}

impl Manner {
    /// A tenant's, and nothing else.
    #[must_use]
    pub fn of(tenant: TenantName) -> Self {
        Self { tenant, ..Self::default() }
    }

    /// The limits.
    pub fn limits(&self) -> LimitsRequest {
        LimitsRequest {
            fuel: self.fuel,
            memory_bytes: self.memory.map(|size| size.0),
            wall_ms: self.wall.map(Span::as_ms),
            ..LimitsRequest::default()
        }
    }

    /// A task of this manner without terms.
    pub fn task(&self, queue: &QueueName, task_type: TaskType, payload: Payload) -> NewTask {
        NewTask {
            queue: queue.clone(),
            tenant: self.tenant.clone(),
            priority: self.priority,
            metadata: self.metadata.clone(),
            limits: self.limits(),
            ..NewTask::new(task_type, payload)
        }
    }
}

/// What holds for tasks that do not say otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// Their type.
    pub task_type: Option<&'a TaskType>,
    /// Their queue.
    pub queue: &'a QueueName,
    /// The media type of their payloads.
    pub content_type: Option<&'a str>,
    /// Whose they are, how urgent, with which metadata and limits.
    pub manner: &'a Manner,
    /// Their terms.
    pub asked: &'a Asked,
    /// From when durations count.
    pub now: UnixMs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| "write a whole number, such as 50_000_000".into())
}
