//! `bulkhead:handler/parents`: what the tasks produced that this one waited for. A part of
//! the task's own input, read on demand so that an attempt that does not ask pays nothing.

use bulkhead_core::{Parent, State};
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::bulkhead::handler::parents::{self, Host, ParentState};
use crate::bindings::bulkhead::handler::types;
use crate::compartment::Compartment;
use crate::failure::TooLargeForCall;

pub(super) fn add_to_linker(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    parents::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn count(&mut self) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.seats.current().parents().len()).unwrap_or(u32::MAX))
    }

    fn get(&mut self, index: u32) -> wasmtime::Result<Option<parents::Parent>> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(parent) = self.seats.current().parents().get(index) else { return Ok(None) };
        if let Some(output) = &parent.output {
            let bytes = (output.content_type.len() + output.data.len()) as u64;
            if bytes > self.hostcall_bytes {
                return Err(wasmtime::Error::new(TooLargeForCall { bytes }));
            }
        }
        Ok(Some(seen(parent)))
    }
}

fn seen(parent: &Parent) -> parents::Parent {
    parents::Parent {
        queue: parent.task.queue.to_string(),
        id: parent.task.id.to_string(),
        state: match parent.state {
            Some(State::Completed) => ParentState::Completed,
            Some(State::Failed) => ParentState::Failed,
            Some(State::Cancelled) => ParentState::Cancelled,
            Some(State::Expired) => ParentState::Expired,
            Some(State::Scheduled | State::Blocked | State::Pending | State::Running) | None => {
                ParentState::Unknown
            }
        },
        output: parent.output.as_ref().map(|output| types::PayloadResult {
            content_type: output.content_type.clone(),
            data: output.data.clone(),
        }),
    }
}
