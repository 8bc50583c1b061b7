//! What ends without an answer.

use bulkhead_core::FailureKind::Trapped;

use crate::Behaviour;
use crate::Expected::{Fails, Refused};

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    text!("trap-unreachable", "alone", Fails(&[Trapped])),
    text!("trap-divide", "alone", Fails(&[Trapped])),
    text!("trap-overflow", "alone", Fails(&[Trapped])),
    text!("trap-convert", "alone", Fails(&[Trapped])),
    text!("trap-load", "sealed", Fails(&[Trapped])),
    text!("trap-store", "sealed", Fails(&[Trapped])),
    text!("trap-null", "alone", Fails(&[Trapped])),
    text!("trap-table", "sealed", Fails(&[Trapped])),
    text!("trap-signature", "sealed", Fails(&[Trapped])),
    text!("trap-start", "alone", Refused(&["describe"])),
    text!("exit-early", "alone", Fails(&[Trapped])),
];
