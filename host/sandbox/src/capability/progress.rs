//! `bulkhead:handler/progress`: how far the handler is, for those who wait.

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::bulkhead::handler::progress::{self, Host};
use crate::compartment::Compartment;
use crate::text::bounded;

/// Longest message of a report, in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// Where progress reports go. It is called on the guest's thread: take the report and
/// return, without waiting.
pub trait ProgressSink: Send + Sync {
    /// The guest says that `fraction` (0.0 to 1.0) is done. `message` is the guest's
    /// text, at most 1 KiB: escape it before showing it.
    fn report(&self, fraction: f32, message: &str);
}

pub(super) fn add_to_linker(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    progress::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn report(&mut self, fraction: f32, message: String) -> wasmtime::Result<()> {
        if let Some(sink) = &self.progress {
            let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
            sink.report(fraction, &bounded(message, MAX_MESSAGE_BYTES));
        }
        Ok(())
    }
}
