//! Programs that export the handler world: a call with a typed task and a typed result.

use std::time::Duration;

use bulkhead_core::Task;
use uuid::fmt::Hyphenated;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::attempt::{Attempt, timed};
use crate::bindings::bulkhead::handler::types;
use crate::compartment::Compartment;

/// The exported interface, in the version that this host speaks.
const INTERFACE: &str = "bulkhead:handler/handler@0.1.0";

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

type Returned = Result<types::PayloadResult, types::Failure>;

/// A linked component and where its functions are.
pub(crate) struct HandlerProgram {
    pre: InstancePre<Compartment>,
    describe: ComponentExportIndex,
    handle: ComponentExportIndex,
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
        Ok(Self { pre, describe, handle })
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
        let Task { id, task_type, queue, tenant, payload, metadata, trace, .. } = attempt.task;
        let mut id_text = [0; Hyphenated::LENGTH];
        let metadata: Vec<(&str, &str)> =
            metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let task = types::Task {
            id: id.0.as_hyphenated().encode_lower(&mut id_text),
            task_type: task_type.as_str(),
            tenant: tenant.as_str(),
            queue: queue.as_str(),
            attempt: attempt.attempt,
            max_attempts: attempt.max_attempts,
            deadline_ms: store.data().stop.deadline_at,
            metadata: &metadata,
            trace: trace.as_ref().map(|trace| types::TraceContext {
                traceparent: &trace.traceparent,
                tracestate: trace.tracestate.as_deref(),
            }),
            payload: types::PayloadParam {
                content_type: &payload.content_type,
                data: &payload.data,
            },
        };
        let (returned,) = handle.call_async(store, (task,)).await?;
        Ok(returned)
    }
}
