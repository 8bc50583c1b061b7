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
mod enqueue;
mod file;
mod fs;
mod http;
mod kv;
mod load;
mod memory;
mod rust;
mod secrets;
mod trap;

use crate::Behaviour;

/// Every behaviour, in groups.
pub const BEHAVIOURS: &[&[Behaviour]] = &[
    cpu::BEHAVIOURS,
    memory::BEHAVIOURS,
    trap::BEHAVIOURS,
    boundary::BEHAVIOURS,
    rust::BEHAVIOURS,
    kv::BEHAVIOURS,
    fs::BEHAVIOURS,
    http::BEHAVIOURS,
    secrets::BEHAVIOURS,
    enqueue::BEHAVIOURS,
    load::BEHAVIOURS,
    file::BEHAVIOURS,
];
