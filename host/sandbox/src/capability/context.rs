//! `bulkhead:handler/context`: the time that is left and whether the task was cancelled.

use std::time::Instant;

use wasmtime::component::{HasSelf, Linker};

use super::clocks::coarse_ms;
use crate::bindings::bulkhead::handler::context::{self, Host};
use crate::compartment::Compartment;
use crate::grants::Clocks;

pub(super) fn add_to_linker(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    context::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        let left = self.stop.deadline.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Ok(match self.setting.clocks {
            Clocks::Exact => left,
            Clocks::Coarse => coarse_ms(left),
            Clocks::Frozen => self.setting.wall_ms,
        })
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(match self.seats.in_focus() {
            Some(seat) => seat.cancel.is_cancelled(),
            None => self.stop.cancel.is_cancelled(),
        })
    }
}
