//! What does not stop by itself.

use bulkhead_core::FailureKind::{OutOfFuel, TimedOut};

use crate::Behaviour;
use crate::Expected::{Fails, Refused};

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    text!("spin-start", "bounded-cpu", Refused(&["describe"])),
    text!("spin-describe", "bounded-cpu", Refused(&["describe"])),
    text!("spin-realloc", "bounded-cpu", Fails(&[OutOfFuel, TimedOut])),
    text!("spin-post-return", "bounded-cpu", Fails(&[OutOfFuel, TimedOut])),
    text!("spin-calling", "bounded-cpu", Fails(&[OutOfFuel, TimedOut])),
    text!("spin-fill", "bounded-cpu", Fails(&[OutOfFuel, TimedOut])),
    text!("spin-table", "bounded-cpu", Fails(&[OutOfFuel, TimedOut])),
    text!("random-spin", "bounded-cpu", Fails(&[OutOfFuel, TimedOut])),
    text!("wait-timer", "bounded-cpu", Fails(&[TimedOut])),
    text!("wait-busily", "bounded-cpu", Fails(&[OutOfFuel, TimedOut])),
    text!("timers-dropped", "bounded-cpu", Fails(&[OutOfFuel, TimedOut])),
    text!("log-lines", "bounded-host", Fails(&[OutOfFuel, TimedOut])),
    text!("describe-sleep", "bounded-cpu", Refused(&["describe"])),
    text!("log-describe", "bounded-host", Refused(&["describe"])),
];
