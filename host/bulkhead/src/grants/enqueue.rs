//! `enqueue`: which tasks a plugin may submit.

use bulkhead_core::{QueueName, TaskType};
use bulkhead_sandbox::EnqueueGrant;
use serde::Deserialize;

use super::bounds::{MIB, named, size, within};
use super::switch::Written;
use crate::config::quantity::Size;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enqueue {
    types: Vec<String>,
    queues: Option<Vec<String>>,
    per_attempt: Option<u32>,
    bytes: Option<Size>,
    depth: Option<u32>,
}

impl Written for Enqueue {
    const KEY: &'static str = "enqueue";

    type Grant = EnqueueGrant;

    fn on() -> Result<EnqueueGrant, &'static str> {
        Err("`enqueue` needs types: `{ types = [...] }`")
    }

    fn checked(self) -> Result<EnqueueGrant, String> {
        let default = EnqueueGrant::default();
        let queues =
            self.queues.as_deref().map(|queues| named::<QueueName>("enqueue.queues", queues));
        Ok(EnqueueGrant {
            types: named::<TaskType>("enqueue.types", &self.types)?,
            queues: queues.transpose()?.unwrap_or(default.queues),
            per_attempt: within(
                "enqueue.per_attempt",
                self.per_attempt,
                default.per_attempt,
                1..=1_000,
            )?,
            bytes: size("enqueue.bytes", self.bytes, default.bytes, 0..=192 * MIB)?,
            depth: within("enqueue.depth", self.depth, default.depth, 1..=100)?,
        })
    }
}
