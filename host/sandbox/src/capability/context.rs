//! `bulkhead:handler/context`: the time that is left and whether the task was cancelled.

use std::time::Instant;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::bulkhead::handler::context::{self, Host};
use crate::compartment::Compartment;

pub(super) fn add_to_linker(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    context::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        let left = self.stop.deadline.saturating_duration_since(Instant::now());
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(match self.seats.in_focus() {
            Some(seat) => seat.cancel.is_cancelled(),
            None => self.stop.cancel.is_cancelled(),
        })
    }
}
