//! What lies at the boundary: in results, parameters, addresses, handles.

use bulkhead_core::FailureKind::{ResultTooLarge, Trapped};

use crate::Behaviour;
use crate::Expected::{Ends, Fails};

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    text!("realloc-null", "sealed", Fails(&[Trapped])),
    text!("realloc-overlap", "sealed", Ends),
    text!("realloc-misaligned", "sealed", Fails(&[Trapped])),
    text!("realloc-outside", "sealed", Fails(&[Trapped])),
    text!("realloc-trap", "alone", Fails(&[Trapped])),
    text!("realloc-hostcall", "alone", Fails(&[Trapped])),
    text!("post-return-hostcall", "alone", Fails(&[Trapped])),
    text!("post-return-trap", "alone", Fails(&[Trapped])),
    text!("result-outside", "sealed", Fails(&[Trapped])),
    text!("result-misaligned", "sealed", Fails(&[Trapped])),
    text!("result-4gib", "sealed", Fails(&[Trapped])),
    text!("result-wrapping", "sealed", Fails(&[Trapped])),
    text!("result-large", "bounded-memory", Fails(&[ResultTooLarge])),
    text!("result-variant", "decodes-safely", Fails(&[Trapped])),
    text!("result-failure", "decodes-safely", Fails(&[Trapped])),
    text!("result-option", "decodes-safely", Fails(&[Trapped])),
    text!("result-utf8", "decodes-safely", Fails(&[Trapped])),
    text!("result-surrogate", "decodes-safely", Fails(&[Trapped])),
    text!("log-level", "decodes-safely", Fails(&[Trapped])),
    text!("log-outside", "sealed", Fails(&[Trapped])),
    text!("log-utf8", "decodes-safely", Fails(&[Trapped])),
    text!("progress-nan", "decodes-safely", Ends),
    text!("poll-nothing", "alone", Fails(&[Trapped])),
    text!("handle-forged", "sealed", Fails(&[Trapped])),
    text!("handle-twice", "sealed", Fails(&[Trapped])),
    text!("handle-confused", "sealed", Fails(&[Trapped])),
    text!("parents-beyond", "tenant-only", Ends),
    text!("focus-beyond", "tenant-only", Ends),
];
