//! Too many tasks, tasks of others, and outputs and clocks that are no help.

use super::rust::rust;
use crate::Behaviour;
use crate::Expected::{Completes, Ends};

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    rust(
        "greedy",
        "enqueue-many",
        "bounded-host",
        "",
        "Submits 50 tasks where 10 are granted.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "enqueue-others",
        "tenant-only",
        "",
        "Submits tasks of types and to queues that it was not granted.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "enqueue-giant",
        "bounded-host",
        "",
        "Submits tasks that are too large or make no sense.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "enqueue-generations",
        "fair",
        "0",
        "Submits two tasks like itself, which do the same.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "clock-frozen",
        "sealed",
        "",
        "Times its own work with clocks that are frozen.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "json-bomb",
        "decodes-safely",
        "",
        "Answers with arrays in arrays, a million deep, as JSON.",
        Ends,
    ),
    rust(
        "greedy",
        "msgpack-bomb",
        "decodes-safely",
        "",
        "Answers with arrays in arrays and one that claims 4 G elements, as MessagePack.",
        Ends,
    ),
];
