//! Secrets that were not granted, and one that is told.

use bulkhead_core::FailureKind::{Reject, Trapped};

use super::rust::rust;
use crate::Behaviour;
use crate::Expected::{Completes, Ends, Fails};

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    rust(
        "greedy",
        "secret-names",
        "granted-only",
        "",
        "Asks for secrets that it was not granted, by odd names.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "secret-spoken",
        "unspoken",
        "",
        "Tells its secret in logs, fields, streams, progress and its failure, plain, as JSON and in pieces.",
        Fails(&[Reject]),
    ),
    rust("greedy", "secret-panic", "unspoken", "", "Panics with its secret.", Fails(&[Trapped])),
    rust(
        "greedy",
        "secret-cut",
        "unspoken",
        "",
        "Logs lines that are cut in the middle of its secret.",
        Ends,
    ),
];
