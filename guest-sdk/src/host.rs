//! The calls that a guest makes to its host. In a component they are the imports of
//! the contract; natively they go to the stand-in that `testing` looks into.

#[cfg(target_arch = "wasm32")]
mod component {
    use crate::bindings::bulkhead::handler;

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
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod stand_in;

#[cfg(target_arch = "wasm32")]
pub(crate) use component::{cancelled, remaining_ms, report_progress, write_log};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use stand_in::{cancelled, remaining_ms, report_progress, write_log};
