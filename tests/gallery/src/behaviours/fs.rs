//! Too much of `fs`, and what lies beside it.

use super::rust::rust;
use crate::Behaviour;
use crate::Expected::Completes;

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    rust(
        "greedy",
        "fs-bytes",
        "rooted",
        "",
        "Writes files until it is stopped.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "fs-files",
        "rooted",
        "",
        "Makes files until it is stopped.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "fs-handles",
        "bounded-host",
        "",
        "Opens one file 178 times.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "fs-deep",
        "rooted",
        "",
        "Makes folders in folders, and a path of 100 KB.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "fs-sparse",
        "rooted",
        "",
        "Makes files of up to 16 EiB that are holes.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "fs-renames",
        "rooted",
        "",
        "Renames files 1,500 times to be given room back.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "fs-paths",
        "rooted",
        "",
        "Reads, writes and renames by 19 paths that lead out: absolute, by `..`, encoded, overlong.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "fs-links",
        "rooted",
        "",
        "Makes symbolic and hard links and goes through them.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "fs-stays",
        "sealed",
        "",
        "Looks for what an earlier attempt left in its folder.",
        Completes("nothing"),
    ),
];
