//! `bulkhead:handler/enqueue`: tasks that a task submits. They are collected with the task in
//! focus and go out with the attempt's end; here it is only seen that they may, and that they
//! make sense, so that no settlement fails for their sake.

use std::time::Instant;

use bulkhead_core::{
    Child, LimitsRequest, Payload, Priority, QueueName, Task, TaskRef, TaskType, TermKey, Terms,
    child_id,
};
use wasmtime::component::{HasSelf, Linker};

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::bindings::bulkhead::handler::enqueue::{self, Error, Host};
use crate::bindings::bulkhead::handler::types;
use crate::compartment::Compartment;
use crate::grants::{EnqueueGrant, Grants, Named};
use crate::powers::ChildBounds;

/// Longest media type of a payload, in bytes.
const MAX_CONTENT_TYPE_BYTES: usize = 256;

/// Longest delay: 366 days.
const MAX_DELAY_MS: u64 = 366 * 24 * 3_600_000;

/// Names that an error repeats at most.
const MAX_SHOWN: usize = 16;

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("enqueue"),
    line: "enqueue = { types = [\"TYPE\"] }",
    interfaces: &[Interface { name: "bulkhead:handler/enqueue", version: "0.1", link: Some(link) }],
    standing,
};

/// What a pair of metadata counts beside its text.
const PAIR_BYTES: u64 = 64;

/// What a child counts beside its texts: names, key, trace and terms.
const CHILD_BYTES: u64 = 4 << 10;

/// What the children of one task hold at most.
pub(crate) fn held_bytes(grant: &EnqueueGrant) -> u64 {
    grant.bytes.saturating_add(u64::from(grant.per_attempt) * CHILD_BYTES)
}

fn standing(grants: &Grants, offers: CapabilitySet) -> Standing {
    Standing::of(grants.enqueue.is_some(), offers.enqueue, "this host submits no tasks for plugins")
}

fn link(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    enqueue::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn submit(&mut self, child: enqueue::Child) -> wasmtime::Result<Result<String, Error>> {
        Ok(self.submit_observed(child))
    }
}

impl Compartment {
    fn submit_observed(&mut self, child: enqueue::Child) -> Result<String, Error> {
        let began = Instant::now();
        let submitted = self.submit_child(child);
        if let Some(powers) = self.powers.as_deref() {
            powers.called("enqueue", "submit", began, submitted.is_ok());
        }
        submitted
    }

    fn submit_child(&mut self, child: enqueue::Child) -> Result<String, Error> {
        let absent = || Error::Unavailable("nothing can be submitted here".to_owned());
        let powers = self.powers.as_deref_mut().ok_or_else(absent)?;
        powers.traffic.call();
        let grants = powers.grants.clone();
        let grant = grants.enqueue.as_ref().ok_or_else(absent)?;
        let batch = !self.seats.tasks.is_empty();
        let Some((parent, children)) = self.seats.submitter() else {
            return Err(if batch { Error::NoFocus } else { absent() });
        };
        let bytes = text_bytes(&child);
        check_quotas(grant, parent.terms.depth, children.submitted.len(), children.bytes, bytes)?;
        let place = u32::try_from(children.submitted.len()).unwrap_or(u32::MAX);
        let child = checked(child, parent, place, grant, powers.child_bounds)?;
        let id = child.task.id.to_string();
        children.bytes = children.bytes.saturating_add(bytes);
        children.submitted.push(child);
        powers.traffic.went_out(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(id)
    }
}

/// Children as a worker process tells of them, made anew under the grant.
pub(crate) fn again(
    said: Vec<Child>,
    parent: &Task,
    grant: &EnqueueGrant,
    bounds: ChildBounds,
) -> Result<Vec<Child>, Error> {
    let mut children = Vec::with_capacity(said.len().min(grant.per_attempt as usize));
    let mut held = 0_u64;
    for Child { task, delay_ms } in said {
        let payload = types::PayloadResult {
            content_type: task.payload.content_type,
            data: task.payload.data,
        };
        let child = enqueue::Child {
            task_type: task.task_type.to_string(),
            queue: Some(task.queue.to_string()),
            payload,
            metadata: task.metadata,
            priority: Some(task.priority.into()),
            delay_ms,
            key: task.terms.key.map(|key| key.to_string()),
        };
        let bytes = text_bytes(&child);
        check_quotas(grant, parent.terms.depth, children.len(), held, bytes)?;
        let place = u32::try_from(children.len()).unwrap_or(u32::MAX);
        children.push(checked(child, parent, place, grant, bounds)?);
        held = held.saturating_add(bytes);
    }
    Ok(children)
}

pub(super) fn text_bytes(child: &enqueue::Child) -> u64 {
    let pairs =
        child.metadata.iter().map(|(key, value)| (key.len() + value.len()) as u64 + PAIR_BYTES);
    (child.payload.content_type.len() + child.payload.data.len()) as u64 + pairs.sum::<u64>()
}

pub(super) fn check_quotas(
    grant: &EnqueueGrant,
    depth: u32,
    number: usize,
    held: u64,
    more: u64,
) -> Result<(), Error> {
    if depth >= grant.depth {
        let why = format!(
            "the task has depth {depth} and `depth` is {}, so it may submit none",
            grant.depth
        );
        return Err(Error::Quota(why));
    }
    if number >= grant.per_attempt as usize {
        let why =
            format!("the attempt submitted all its {} tasks (`per_attempt`)", grant.per_attempt);
        return Err(Error::Quota(why));
    }
    if held.saturating_add(more) > grant.bytes {
        let why =
            format!("{more} bytes do not fit: {held} of {} are used up (`bytes`)", grant.bytes);
        return Err(Error::Quota(why));
    }
    Ok(())
}

/// The child as a task, if it is allowed and makes sense.
pub(super) fn checked(
    child: enqueue::Child,
    parent: &Task,
    place: u32,
    grant: &EnqueueGrant,
    bounds: ChildBounds,
) -> Result<Child, Error> {
    let invalid = |why: String| Error::Invalid(why);
    let task_type = TaskType::new(&child.task_type).map_err(|e| invalid(e.to_string()))?;
    if !grant.types.allows(&task_type) {
        return Err(not_allowed("type", task_type.as_str(), "types", &grant.types));
    }
    let queue = match &child.queue {
        None => parent.queue.clone(),
        Some(name) => QueueName::new(name).map_err(|e| invalid(e.to_string()))?,
    };
    if queue != parent.queue && !grant.queues.allows(&queue) {
        return Err(not_allowed("queue", queue.as_str(), "queues", &grant.queues));
    }
    let priority = match child.priority {
        None => parent.priority,
        Some(level) => Priority::try_from(level).map_err(|e| invalid(e.to_string()))?,
    };
    let key = child.key.map(TermKey::new).transpose().map_err(|e| invalid(e.to_string()))?;
    if let Some(ms) = child.delay_ms.filter(|ms| *ms > MAX_DELAY_MS) {
        return Err(invalid(format!("a delay of {ms} ms is longer than 366 days")));
    }
    let payload = Payload { content_type: child.payload.content_type, data: child.payload.data };
    if payload.content_type.len() > MAX_CONTENT_TYPE_BYTES {
        let bytes = payload.content_type.len();
        return Err(invalid(format!("a content type of {bytes} bytes is longer than 256")));
    }
    within("payload", payload.data.len() as u64, bounds.payload_bytes)?;
    let pairs = child.metadata.iter().map(|(key, value)| (key.len() + value.len()) as u64);
    within("metadata", pairs.sum(), bounds.metadata_bytes)?;
    let reference = TaskRef { queue: parent.queue.clone(), id: parent.id };
    let task = Task {
        id: child_id(&reference, place),
        task_type,
        queue,
        tenant: parent.tenant.clone(),
        priority,
        payload,
        metadata: child.metadata,
        trace: parent.trace.clone(),
        limits: LimitsRequest::default(),
        submitted_at: 0,
        terms: Terms { key, depth: parent.terms.depth.saturating_add(1), ..Terms::default() },
    };
    Ok(Child { task, delay_ms: child.delay_ms })
}

fn within(what: &str, bytes: u64, bound: u64) -> Result<(), Error> {
    if bytes <= bound {
        return Ok(());
    }
    Err(Error::Invalid(format!("the {what} has {bytes} bytes; a task may have {bound}")))
}

fn not_allowed<T: std::fmt::Display>(what: &str, name: &str, key: &str, named: &Named<T>) -> Error {
    let allowed = match named {
        Named::Any => "*".to_owned(),
        Named::Only(names) => {
            let names: Vec<String> =
                names.iter().take(MAX_SHOWN).map(|name| format!("`{name}`")).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        }
    };
    Error::NotAllowed(format!("the {what} `{name}` is not granted; `{key}` has {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_without_text_count_too() {
        let child = |pairs: usize| enqueue::Child {
            task_type: "t".to_owned(),
            queue: None,
            payload: crate::bindings::bulkhead::handler::types::PayloadResult {
                content_type: String::new(),
                data: Vec::new(),
            },
            metadata: vec![(String::new(), String::new()); pairs],
            priority: None,
            delay_ms: None,
            key: None,
        };
        assert_eq!(text_bytes(&child(0)), 0);
        assert!(text_bytes(&child(1_000)) >= 1_000 * size_of::<(String, String)>() as u64);
    }
}
