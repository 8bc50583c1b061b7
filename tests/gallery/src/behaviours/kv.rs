//! Too much of `kv`, and what others keep there.

use bulkhead_core::FailureKind::HostcallTooLarge;

use super::rust::rust;
use crate::Behaviour;
use crate::Expected::{Completes, Fails};

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    rust(
        "greedy",
        "kv-keys",
        "bounded-host",
        "",
        "Writes 20 keys where 12 are granted.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "kv-total",
        "bounded-host",
        "",
        "Fills its values with long keys and large values.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "kv-value",
        "bounded-host",
        "",
        "Writes values that are too large, up to 1 MiB.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "kv-giant",
        "bounded-host",
        "",
        "Hands over a value of 24 MiB in one call.",
        Fails(&[HostcallTooLarge]),
    ),
    rust(
        "greedy",
        "kv-names",
        "plain-text",
        "",
        "Uses keys that are empty, huge or full of control characters.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "kv-lies",
        "sealed",
        "",
        "Lies about times to live, versions and numbers.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "kv-list",
        "bounded-host",
        "",
        "Lists with limits from 0 to 4,294,967,295, and patterns for prefixes.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "kv-operations",
        "bounded-host",
        "",
        "Makes 80 calls where 60 are granted.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "kv-others",
        "tenant-only",
        "",
        "Looks for the value that the same plugin keeps for another tenant.",
        Completes("nothing"),
    ),
];
