//! `bulkhead:handler/batch`: which task of a batch the handler works at.

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::bulkhead::handler::batch::{self, Host};
use crate::compartment::Compartment;

pub(super) fn add_to_linker(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    batch::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn focus(&mut self, task: Option<u32>) -> wasmtime::Result<()> {
        self.seats.focus(task.map(|task| usize::try_from(task).unwrap_or(usize::MAX)));
        Ok(())
    }
}
