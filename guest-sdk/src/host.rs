//! The calls that a guest makes to its host. In a component they are the imports of
//! the contract; natively they go to the stand-in that `testing` looks into.

use std::cell::Cell;

#[cfg(target_arch = "wasm32")]
mod component {
    use crate::bindings::bulkhead::handler;
    use crate::enqueue::{self, Child};
    use crate::{Parent, ParentState, Payload, kv, secrets};
    use std::time::Duration;

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

    impl From<handler::kv::Error> for kv::Error {
        fn from(error: handler::kv::Error) -> Self {
            match error {
                handler::kv::Error::Invalid(why) => Self::Invalid(why),
                handler::kv::Error::TooLarge(max_bytes) => Self::TooLarge { max_bytes },
                handler::kv::Error::Quota(which) => Self::Quota(which),
                handler::kv::Error::Unavailable(why) => Self::Unavailable(why),
            }
        }
    }

    pub(crate) fn kv_get(key: &str) -> Result<Option<kv::Entry>, kv::Error> {
        let entry = handler::kv::get(key)?;
        Ok(entry.map(|handler::kv::Entry { value, version, ttl_ms }| kv::Entry {
            value,
            version,
            ttl: ttl_ms.map(Duration::from_millis),
        }))
    }

    pub(crate) fn kv_set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<u64, kv::Error> {
        Ok(handler::kv::set(key, value, ttl_ms)?)
    }

    pub(crate) fn kv_delete(key: &str) -> Result<bool, kv::Error> {
        Ok(handler::kv::delete(key)?)
    }

    pub(crate) fn kv_list(
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<kv::Page, kv::Error> {
        let handler::kv::Page { keys, next } = handler::kv::list(prefix, after, limit)?;
        Ok(kv::Page { keys, next })
    }

    pub(crate) fn kv_increment(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, kv::Error> {
        Ok(handler::kv::increment(key, by, ttl_ms)?)
    }

    pub(crate) fn kv_compare_and_set(
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        ttl_ms: Option<u64>,
    ) -> Result<Option<u64>, kv::Error> {
        Ok(handler::kv::compare_and_set(key, expected, value, ttl_ms)?)
    }

    pub(crate) fn config_get(key: &str) -> Option<String> {
        handler::config::get(key)
    }

    pub(crate) fn secret(name: &str) -> Result<String, secrets::Error> {
        handler::secrets::get(name).map_err(|error| match error {
            handler::secrets::Error::Unknown(name) => secrets::Error::Unknown(name),
            handler::secrets::Error::Unavailable(why) => secrets::Error::Unavailable(why),
        })
    }

    pub(crate) fn submit(child: Child) -> Result<String, enqueue::Error> {
        let Child { task_type, queue, payload, metadata, priority, delay, key } = child;
        let Payload { content_type, data } = payload;
        let payload = handler::types::Payload { content_type, data };
        let delay_ms = delay.map(crate::kv::millis);
        let child = handler::enqueue::Child {
            task_type,
            queue,
            payload,
            metadata,
            priority,
            delay_ms,
            key,
        };
        handler::enqueue::submit(&child).map_err(|error| match error {
            handler::enqueue::Error::NotAllowed(why) => enqueue::Error::NotAllowed(why),
            handler::enqueue::Error::Quota(which) => enqueue::Error::Quota(which),
            handler::enqueue::Error::Invalid(why) => enqueue::Error::Invalid(why),
            handler::enqueue::Error::NoFocus => enqueue::Error::NoFocus,
            handler::enqueue::Error::Unavailable(why) => enqueue::Error::Unavailable(why),
        })
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
pub(crate) mod granted;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod stand_in;

#[cfg(target_arch = "wasm32")]
pub(crate) use component::{
    cancelled, config_get, count_parents, kv_compare_and_set, kv_delete, kv_get, kv_increment,
    kv_list, kv_set, parent, remaining_ms, report_progress, secret, set_focus, submit, write_log,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use granted::{
    config_get, kv_compare_and_set, kv_delete, kv_get, kv_increment, kv_list, kv_set, secret,
    submit,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use stand_in::{
    cancelled, count_parents, parent, remaining_ms, report_progress, set_focus, write_log,
};
