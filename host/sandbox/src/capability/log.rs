//! `bulkhead:handler/log`: structured lines into the attempt's log.

use bulkhead_core::LogLevel;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::bulkhead::handler::log::{self, Host, Level};
use crate::compartment::Compartment;

pub(super) fn add_to_linker(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    log::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn write(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.seats.current().journal.write(level, message, fields);
        Ok(())
    }
}
