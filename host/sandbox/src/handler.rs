//! Programs that export the handler world: a call with a typed task and a typed result.

use std::time::Duration;

use bulkhead_core::{Task, UnixMs};
use uuid::fmt::Hyphenated;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::attempt::{Attempt, timed};
use crate::bindings::bulkhead::handler::types;
use crate::compartment::Compartment;

/// The exported interface, in the version that this host speaks.
const INTERFACE: &str = "bulkhead:handler/handler@0.1.0";

/// The exported interface of plugins that handle batches.
const BATCH_INTERFACE: &str = "bulkhead:handler/batch-handler@0.1.0";

/// An exported function does not have the type that the world gives it.
#[derive(Debug, thiserror::Error)]
#[error("its `{function}` is not the handler world's: {difference}")]
pub(crate) struct Mistyped {
    function: &'static str,
    difference: String,
}

fn mistyped(function: &'static str, error: &wasmtime::Error) -> wasmtime::Error {
    wasmtime::Error::new(Mistyped { function, difference: format!("{error:#}") })
}

/// What a handler returns for one task.
pub(crate) type Returned = Result<types::PayloadResult, types::Failure>;

/// A linked component and where its functions are.
pub(crate) struct HandlerProgram {
    pre: InstancePre<Compartment>,
    describe: ComponentExportIndex,
    handle: ComponentExportIndex,
    handle_batch: Option<ComponentExportIndex>,
}

impl HandlerProgram {
    pub(crate) fn new(pre: InstancePre<Compartment>) -> wasmtime::Result<Self> {
        let component = pre.component();
        let find = |parent: Option<&ComponentExportIndex>, name: &str| {
            let found = component.get_export_index(parent, name);
            found.ok_or_else(|| wasmtime::format_err!("`{name}` is not exported"))
        };
        let interface = find(None, INTERFACE)?;
        let describe = find(Some(&interface), "describe")?;
        let handle = find(Some(&interface), "handle")?;
        let batch = component.get_export_index(None, BATCH_INTERFACE);
        let handle_batch = batch.map(|batch| find(Some(&batch), "handle-batch")).transpose()?;
        Ok(Self { pre, describe, handle, handle_batch })
    }

    /// Whether it can take batches.
    pub(crate) fn takes_batches(&self) -> bool {
        self.handle_batch.is_some()
    }

    /// Ask the plugin what it handles; the error may be [`Mistyped`].
    pub(crate) async fn describe(
        &self,
        store: &mut Store<Compartment>,
        instantiate: &mut Duration,
    ) -> wasmtime::Result<types::PluginDescription> {
        let instance = timed(instantiate, self.pre.instantiate_async(&mut *store)).await?;
        instance
            .get_typed_func::<(types::Task<'_>,), (Returned,)>(&mut *store, &self.handle)
            .map_err(|error| mistyped("handle", &error))?;
        if let Some(handle_batch) = &self.handle_batch {
            instance
                .get_typed_func::<(&[types::Task<'_>],), (Vec<Returned>,)>(
                    &mut *store,
                    handle_batch,
                )
                .map_err(|error| mistyped("handle-batch", &error))?;
        }
        let describe = instance
            .get_typed_func::<(), (types::PluginDescription,)>(&mut *store, &self.describe)
            .map_err(|error| mistyped("describe", &error))?;
        let (description,) = describe.call_async(store, ()).await?;
        Ok(description)
    }

    /// Give the plugin one task.
    pub(crate) async fn handle(
        &self,
        store: &mut Store<Compartment>,
        attempt: &Attempt<'_>,
        instantiate: &mut Duration,
    ) -> wasmtime::Result<Returned> {
        let instance = timed(instantiate, self.pre.instantiate_async(&mut *store)).await?;
        let handle = instance
            .get_typed_func::<(types::Task<'_>,), (Returned,)>(&mut *store, &self.handle)?;
        let mut spelt = Spelt::of(attempt);
        let task = spelt.task(attempt, told_deadline(store));
        let (returned,) = handle.call_async(store, (task,)).await?;
        Ok(returned)
    }

    /// Give the plugin several tasks at once, if it takes batches.
    pub(crate) async fn handle_batch(
        &self,
        store: &mut Store<Compartment>,
        attempts: &[Attempt<'_>],
        instantiate: &mut Duration,
    ) -> wasmtime::Result<Vec<Returned>> {
        let Some(handle_batch) = &self.handle_batch else {
            return Err(wasmtime::format_err!("the plugin takes no batches"));
        };
        let instance = timed(instantiate, self.pre.instantiate_async(&mut *store)).await?;
        let handle_batch = instance
            .get_typed_func::<(&[types::Task<'_>],), (Vec<Returned>,)>(&mut *store, handle_batch)?;
        let deadline_ms = told_deadline(store);
        let mut spelt: Vec<Spelt<'_>> = attempts.iter().map(Spelt::of).collect();
        let tasks: Vec<types::Task<'_>> = attempts
            .iter()
            .zip(&mut spelt)
            .map(|(attempt, spelt)| spelt.task(attempt, deadline_ms))
            .collect();
        let (returned,) = handle_batch.call_async(store, (&tasks,)).await?;
        Ok(returned)
    }
}

/// The deadline that the guest is told of.
fn told_deadline(store: &Store<Compartment>) -> UnixMs {
    let compartment = store.data();
    compartment.setting.deadline_ms(compartment.stop.deadline_at)
}

/// What a task record refers to and a task does not hold in that form.
struct Spelt<'a> {
    id: [u8; Hyphenated::LENGTH],
    metadata: Vec<(&'a str, &'a str)>,
}

impl<'a> Spelt<'a> {
    fn of(attempt: &Attempt<'a>) -> Self {
        let metadata = attempt.task.metadata.iter();
        let metadata = metadata.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Self { id: [0; Hyphenated::LENGTH], metadata }
    }

    fn task(&'a mut self, attempt: &Attempt<'a>, deadline_ms: UnixMs) -> types::Task<'a> {
        let Task { id, task_type, queue, tenant, payload, trace, .. } = attempt.task;
        types::Task {
            id: id.0.as_hyphenated().encode_lower(&mut self.id),
            task_type: task_type.as_str(),
            tenant: tenant.as_str(),
            queue: queue.as_str(),
            attempt: attempt.attempt,
            max_attempts: attempt.max_attempts,
            deadline_ms,
            metadata: &self.metadata,
            trace: trace.as_ref().map(|trace| types::TraceContext {
                traceparent: &trace.traceparent,
                tracestate: trace.tracestate.as_deref(),
            }),
            payload: types::PayloadParam {
                content_type: &payload.content_type,
                data: &payload.data,
            },
        }
    }
}
