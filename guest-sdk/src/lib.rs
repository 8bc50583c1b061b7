//! Write Bulkhead task handlers in Rust.
//!
//! A handler is a plain function from input to output. This is a whole plugin:
//!
//! ```
//! use bulkhead_guest::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Input { text: String }
//!
//! /// Counts the words of a text.
//! #[handler(memory = "16 MiB", timeout = "1s")]
//! fn count_words(input: Input) -> usize {
//!     input.text.split_whitespace().count()
//! }
//!
//! plugin!(count_words);
//! ```
//!
//! Its crate is a `cdylib` that depends on `bulkhead-guest` and `serde`. Built by
//! `cargo build --release --target wasm32-wasip2` it is a component, ready for the
//! host's plugin directory.
//!
//! # Input and output
//!
//! | a parameter of type | takes |
//! |---|---|
//! | `T: Deserialize + JsonSchema` | JSON or MessagePack, by the payload's content type; its JSON Schema is part of the plugin's description |
//! | [`Payload`] | anything: content type and bytes |
//! | `Vec<u8>` | any bytes |
//! | `String` | any UTF-8 text |
//!
//! Input that cannot be decoded is a permanent failure that says where it is wrong;
//! the function is not called. A second parameter `&Task` gives it the [`Task`].
//!
//! | a function that returns | answers with |
//! |---|---|
//! | `T: Serialize` | MessagePack if the input was that, else JSON |
//! | [`Payload`] | that |
//! | `Vec<u8>`, `String`, `()` | bytes, plain text, nothing |
//! | `Result<T, E>` | one of these, or a failure |
//!
//! `E` is [`Failure`], or whatever turns into one: every [`std::error::Error`], a boxed
//! error, `anyhow::Error`, `String`. **Such an error becomes a retryable failure**,
//! because trying again in vain costs a few attempts, and giving up wrongly costs the
//! task. Where another attempt makes no sense, say so with [`OrFail::or_reject`] or
//! [`Failure::permanent`].
//!
//! # Batches
//!
//! A handler with [`batch = N`](macro@handler) takes up to `N` tasks in one call: inputs as
//! `Vec<T>`, a second parameter `&[Task]` if it wants, and `Vec<Result<T, E>>` out. It gets
//! one input at a time too, for tasks that are alone and for later attempts.
//!
//! # While it runs
//!
//! Lines written by the `log` crate, with their key-values, are kept with the attempt;
//! [`progress()`] is seen by waiting clients; [`context`] tells how much time is left;
//! [`Task::parents`] are the tasks that it waited for, with their outputs.
//! A panic ends the attempt as *trapped*, with its message and location. A component
//! imports of this only what it uses.
//!
//! # What it may touch
//!
//! [`kv`] keeps small values from one task to the next; [`config`] and [`secrets`] are what the
//! operator gave the plugin; [`enqueue`] submits tasks that go out when this one completes. Each
//! must be granted by the operator, and a plugin that uses one without its grant is refused
//! when it is loaded.
//!
//! # Tests
//!
//! The attribute leaves the function as it is, so a native test can call it. To go
//! through decoding and encoding as well, and to see log lines and progress, use
//! [`testing::run`], and [`testing::run_batch`] for batches.

// The attribute expands to paths that begin with the crate's name.
#[cfg(test)]
extern crate self as bulkhead_guest;

#[doc(hidden)]
pub mod batch;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod codec;
pub mod config;
pub mod context;
mod describe;
pub mod enqueue;
#[cfg(target_arch = "wasm32")]
mod export;
mod failure;
mod handler;
mod host;
pub mod kv;
mod logging;
pub mod options;
mod panics;
mod parents;
mod payload;
mod progress;
pub mod secrets;
mod task;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

/// Make a function the handler of a task type.
///
/// ```
/// use bulkhead_guest::prelude::*;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Page { url: String }
///
/// /// Fetches nothing, slowly.
/// #[handler(
///     task_type = "fetch-page",        // default: the function's name, `_` as `-`
///     description = "Fetches a page.", // default: the doc comment
///     fuel = 5_000_000_000,            // these three can only lower the operator's limits
///     memory = "64 MiB",               // B, KiB, MiB, GiB, kB, MB, GB
///     timeout = "10s",                 // ms, s, m, h
///     max_attempts = 3,                // these suggest how to retry; default: as the queue says
///     max_age = "1h",                  // no retry starts later than this after submission
///     backoff = "exponential",         // or "linear", "fixed"
///     initial_delay = "1s",
///     max_delay = "5m",                // instead of the three: delays = "1s, 10s, 5m"
/// )]
/// fn fetch_page(page: Page, task: &Task) -> Result<Vec<u8>, Failure> {
///     log::info!(attempt = task.attempt; "fetching");
///     Err(Failure::permanent(format!("no network for {}", page.url)))
/// }
/// ```
///
/// With `batch = 32` the function takes up to 32 tasks at a time and returns a result for
/// each, in their order:
///
/// ```
/// use bulkhead_guest::prelude::*;
///
/// /// Measures texts.
/// #[handler(batch = 32)]
/// fn lengths(texts: Vec<String>, tasks: &[Task]) -> Vec<Result<usize, Failure>> {
///     let length = |(text, task): (&String, &Task)| {
///         task.focus(); // whose log lines follow
///         log::info!("measuring");
///         if text.is_empty() { Err(Failure::permanent("no text")) } else { Ok(text.len()) }
///     };
///     texts.iter().zip(tasks).map(length).collect()
/// }
/// ```
///
/// The function stays as it is. Beside it the attribute puts a type of the same name
/// that implements [`Handler`], which [`plugin!`] and [`testing::run`] take. A module
/// or type of that name beside the function is therefore an error, and inside the
/// module a crate of that name needs a leading `::`.
///
/// Unknown options, malformed durations and sizes, `async` and generic functions and
/// wrong parameters are compile errors.
pub use bulkhead_guest_macros::handler;
pub use describe::{Backoff, Description, Retry};
pub use failure::{Failure, OrFail};
pub use handler::Handler;
pub use log;
pub use parents::{Parent, ParentState, Parents};
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
    pub use crate::handler::{Plugin, names_differ, unknown};
    pub use crate::{batch, codec};
}
