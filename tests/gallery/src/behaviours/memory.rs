//! What takes more than its share of stack, memory, tables and handles.

use bulkhead_core::FailureKind::{
    HostcallTooLarge, OutOfFuel, OutOfMemory, StackOverflow, TimedOut, TooManyHandles, Trapped,
};

use crate::Behaviour;
use crate::Expected::{Completes, Fails, Refused};

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    text!("recurse-direct", "alone", Fails(&[StackOverflow])),
    text!("recurse-indirect", "alone", Fails(&[StackOverflow])),
    text!("recurse-describe", "alone", Refused(&["describe"])),
    text!("grow-memory", "bounded-memory", Fails(&[OutOfMemory])),
    text!("grow-at-once", "bounded-memory", Fails(&[OutOfMemory])),
    text!("grow-table", "bounded-memory", Fails(&[OutOfFuel, TimedOut])),
    text!("grow-start", "bounded-memory", Refused(&["describe"])),
    text!("describe-grow", "bounded-memory", Refused(&["describe"])),
    text!("memory-initial", "bounded-memory", Refused(&["shape"])),
    text!("table-initial", "bounded-memory", Refused(&["shape"])),
    text!("many-memories", "bounded-memory", Refused(&["shape"])),
    text!("many-tables", "bounded-memory", Refused(&["shape"])),
    text!("memory-shared", "bounded-memory", Refused(&["invalid"])),
    text!("memory-64", "bounded-memory", Refused(&["invalid"])),
    text!("timers", "bounded-memory", Fails(&[TooManyHandles])),
    text!("streams", "bounded-memory", Fails(&[TooManyHandles])),
    text!("poll-repeated", "bounded-memory", Fails(&[TooManyHandles])),
    text!("log-fields", "bounded-memory", Fails(&[HostcallTooLarge])),
    text!("log-alias", "bounded-memory", Fails(&[HostcallTooLarge])),
    text!("random-4gib", "bounded-memory", Fails(&[Trapped])),
    text!("random-most", "bounded-memory", Fails(&[Trapped])),
    text!("remember", "sealed", Completes("nothing")),
];
