//! The table. A capability's behaviours get a module of their own here, and a line below.

/// A behaviour in text, from the file of its name.
macro_rules! text {
    ($name:literal, $promise:literal, $expected:expr) => {
        $crate::Behaviour {
            name: $name,
            promise: $promise,
            guest: $crate::Guest::Text(include_str!(concat!(
                "../../../guests/hostile/wat/",
                $name,
                ".wat"
            ))),
            expected: $expected,
        }
    };
}

mod boundary;
mod cpu;
mod file;
mod load;
mod memory;
mod rust;
mod trap;

use crate::Behaviour;

/// Every behaviour, in groups. Those of `kv`, `http`, `fs`, `secrets` and `enqueue` are added as
/// groups of their own.
pub const BEHAVIOURS: &[&[Behaviour]] = &[
    cpu::BEHAVIOURS,
    memory::BEHAVIOURS,
    trap::BEHAVIOURS,
    boundary::BEHAVIOURS,
    rust::BEHAVIOURS,
    load::BEHAVIOURS,
    file::BEHAVIOURS,
];
