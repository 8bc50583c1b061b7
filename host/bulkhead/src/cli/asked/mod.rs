//! What a producer asks of a task, by flags or by a line of JSON.
//!
//! Flags and lines fill the same values, and what a line says goes before what the flags
//! say. Nothing here talks to a broker.

pub(crate) mod content;
mod moment;
mod payload;
mod retry;
mod terms;

use bulkhead::config::quantity::{Size, Span};
use bulkhead::core::{LimitsRequest, Payload, Priority, QueueName, TaskType, TenantName};
use bulkhead::queue::NewTask;
use clap::Args;

pub(crate) use moment::Moment;
pub(crate) use payload::{Content, named_or_looked_at, read};
pub(crate) use retry::{Growth, Retry};
pub(crate) use terms::{Asked, Lasting, ParentArg, Start};

/// Whose a task is, how urgent, with which metadata and limits.
#[derive(Debug, Clone, Args)]
pub(crate) struct Manner {
    /// Whose task it is
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) tenant: TenantName,
    /// low, normal, high, critical or a number from 0 to 100
    #[arg(long, value_name = "LEVEL", default_value = "normal")]
    pub(crate) priority: Priority,
    /// Metadata for the handler, repeatable
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
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
    /// The limits.
    pub(crate) fn limits(&self) -> LimitsRequest {
        LimitsRequest {
            fuel: self.fuel,
            memory_bytes: self.memory.map(|size| size.0),
            wall_ms: self.wall.map(Span::as_ms),
            ..LimitsRequest::default()
        }
    }

    /// A task of this manner without terms.
    pub(crate) fn task(&self, queue: &QueueName, task_type: TaskType, payload: Payload) -> NewTask {
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

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| "write a whole number, such as 50_000_000".into())
}
