//! Handlers that end without an answer.

use bulkhead_guest::prelude::*;

use crate::number;

/// Panics with the payload as its message.
#[handler(task_type = "panic")]
pub(crate) fn panics(message: String) {
    #[allow(clippy::panic, reason = "what this handler is for")]
    {
        panic!("{message}");
    }
}

/// Executes an `unreachable` instruction, without a word to the host.
#[handler]
pub(crate) fn trap(_: Payload) {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

/// Exits the whole component with the payload as its code.
#[handler]
pub(crate) fn exit(code: String) -> Result<(), Failure> {
    std::process::exit(number(&code)?)
}
