//! The calls that a guest makes to its host. In a component they are the imports of
//! the contract; natively they go to the stand-in that `testing` looks into.

use std::cell::Cell;

#[cfg(target_arch = "wasm32")]
mod component {
    use crate::bindings::bulkhead::handler;
    use crate::{Parent, ParentState, Payload};

    pub(crate) fn write_log(level: log::Level, message: &str, fields: &[(String, String)]) {
        let level = match level {
            log::Level::Trace => handler::log::Level::Trace,
            log::Level::Debug => handler::log::Level::Debug,
            log::Level::Info => handler::log::Level::Info,
            log::Level::Warn => handler::log::Level::Warn,
            log::Level::Error => handler::log::Level::Error,
        };
        handler::log::write(level, message, fields);
    }

    pub(crate) fn report_progress(fraction: f32, message: &str) {
        handler::progress::report(fraction, message);
    }

    pub(crate) fn remaining_ms() -> u64 {
        handler::context::remaining_ms()
    }

    pub(crate) fn cancelled() -> bool {
        handler::context::cancelled()
    }

    pub(crate) fn set_focus(task: Option<u32>) {
        handler::batch::focus(task);
    }

    pub(crate) fn count_parents() -> u32 {
        handler::parents::count()
    }

    pub(crate) fn parent(index: u32) -> Option<Parent> {
        let handler::parents::Parent { queue, id, state, output } = handler::parents::get(index)?;
        let state = match state {
            handler::parents::ParentState::Completed => ParentState::Completed,
            handler::parents::ParentState::Failed => ParentState::Failed,
            handler::parents::ParentState::Cancelled => ParentState::Cancelled,
            handler::parents::ParentState::Expired => ParentState::Expired,
            handler::parents::ParentState::Unknown => ParentState::Unknown,
        };
        let payload = output.map(|output| Payload::new(output.content_type, output.data));
        Some(Parent { queue, id, state, payload })
    }
}

thread_local! {
    /// The task in focus, as this guest last said.
    static FOCUS: Cell<Option<u32>> = const { Cell::new(None) };
}

/// From now on, what is said and asked is of this task of the batch.
pub(crate) fn focus(task: Option<u32>) {
    if FOCUS.replace(task) != task {
        set_focus(task);
    }
}

/// What the guest believes to be in focus, replaced without a word to the host.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn exchange_focus(task: Option<u32>) -> Option<u32> {
    FOCUS.replace(task)
}

/// Ask the host about the task at this place of a batch, whichever is in focus.
pub(crate) fn at<R>(place: Option<u32>, ask: impl FnOnce() -> R) -> R {
    let Some(place) = place else { return ask() };
    let before = FOCUS.get();
    focus(Some(place));
    let answer = ask();
    focus(before);
    answer
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod stand_in;

#[cfg(target_arch = "wasm32")]
pub(crate) use component::{
    cancelled, count_parents, parent, remaining_ms, report_progress, set_focus, write_log,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use stand_in::{
    cancelled, count_parents, parent, remaining_ms, report_progress, set_focus, write_log,
};
