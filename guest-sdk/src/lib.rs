//! Write Bulkhead task handlers in Rust.
extern crate self as bulkhead_guest;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod codec;
pub mod context;
mod describe;
#[cfg(target_arch = "wasm32")]
mod export;
mod failure;
mod handler;
mod host;
mod logging;
mod panics;
mod payload;
mod progress;
mod task;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use bulkhead_guest_macros::handler;
pub use describe::{Backoff, Description, Retry};
pub use failure::{Failure, OrFail};
pub use handler::Handler;
pub use log;
pub use payload::Payload;
pub use progress::progress;
pub use schemars;
pub use serde;
pub use serde_json;
pub use task::{Task, TraceContext};

/// What most handlers need.
///
/// `Deserialize` and `Serialize` derive code that names the `serde` crate, so a
/// plugin depends on `serde` itself; `JsonSchema` works without a dependency.
pub mod prelude {
    pub use crate::{
        Failure, Handler, OrFail, Payload, Task, context, handler, log, plugin, progress, schemars,
        serde_json,
    };
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}

/// What the macros expand to. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings;
    pub use crate::codec;
    pub use crate::handler::{Plugin, names_differ, unknown};
}
