//! What Rust can do: floods of what is shown to people, attempts to see and to stay.

use bulkhead_core::FailureKind::{
    OutOfFuel, OutOfMemory, Reject, ResultTooLarge, TimedOut, Trapped,
};

use crate::Expected::{Completes, Ends, Fails, Refused, Waits};
use crate::{Behaviour, Expected, Guest};

pub(super) const fn rust(
    plugin: &'static str,
    name: &'static str,
    promise: &'static str,
    payload: &'static str,
    does: &'static str,
    expected: Expected,
) -> Behaviour {
    Behaviour { name, promise, guest: Guest::Rust { plugin, payload, does }, expected }
}

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    rust("hostile", "giant-line", "plain-text", "", "Logs one line of 8 MiB.", Ends),
    rust(
        "hostile",
        "many-fields",
        "bounded-host",
        "",
        "Logs 200 lines with a field of 64 KiB each.",
        Ends,
    ),
    rust(
        "hostile",
        "stderr-flood",
        "bounded-host",
        "",
        "Writes 16 MiB to its standard error without a line feed.",
        Ends,
    ),
    rust(
        "unruly",
        "stdout-flood",
        "bounded-host",
        "100000",
        "Prints 100,000 lines.",
        Fails(&[OutOfFuel, TimedOut]),
    ),
    rust(
        "hostile",
        "progress-flood",
        "bounded-host",
        "",
        "Reports progress 100,000 times, in escape sequences and without fractions.",
        Ends,
    ),
    rust(
        "hostile",
        "huge-panic",
        "plain-text",
        "",
        "Panics with a message of megabytes of escape sequences.",
        Fails(&[Trapped]),
    ),
    rust(
        "hostile",
        "huge-reason",
        "bounded-host",
        "",
        "Fails with a reason and details of 2 MiB each.",
        Fails(&[Reject]),
    ),
    rust(
        "hostile",
        "escapes",
        "plain-text",
        "",
        "Logs and prints what steers terminals and forges lines of the log.",
        Ends,
    ),
    rust(
        "hostile",
        "odd-type",
        "plain-text",
        "",
        "Names its output's type in control characters and HTML.",
        Ends,
    ),
    rust(
        "hostile",
        "long-type",
        "decodes-safely",
        "",
        "Names its output's type with 1 MiB.",
        Fails(&[ResultTooLarge]),
    ),
    rust("hostile", "not-a-number", "decodes-safely", "", "Returns as JSON what is no JSON.", Ends),
    rust("hostile", "counter", "sealed", "", "Counts its calls in a static.", Completes("call 1")),
    rust(
        "hostile",
        "look-around",
        "sealed",
        "",
        "Tries environment, arguments, input, and files by all kinds of paths.",
        Completes("nothing"),
    ),
    rust("hostile", "thread", "sealed", "", "Starts a thread.", Completes("nothing")),
    rust(
        "hostile",
        "steps",
        "granted-only",
        "",
        "Measures time below the steps of the coarse clock that it was granted.",
        Completes("nothing"),
    ),
    rust("hostile", "for-ever", "bounded-cpu", "", "Sleeps for ever.", Fails(&[TimedOut])),
    rust(
        "hostile",
        "busy-wait",
        "bounded-cpu",
        "",
        "Sleeps for a nanosecond, again and again.",
        Fails(&[OutOfFuel, TimedOut]),
    ),
    rust(
        "hostile",
        "patient",
        "decodes-safely",
        "",
        "Asks for the longest wait before its next attempt.",
        Waits,
    ),
    rust("hostile", "give-up", "alone", "", "Aborts.", Fails(&[Trapped])),
    rust("unruly", "spin", "bounded-cpu", "", "Loops for ever.", Fails(&[OutOfFuel, TimedOut])),
    rust(
        "unruly",
        "alloc",
        "bounded-memory",
        "1000000000",
        "Takes and writes 1 GB.",
        Fails(&[OutOfMemory]),
    ),
    rust(
        "unruly",
        "big-result",
        "bounded-memory",
        "9000000",
        "Returns 9 MB.",
        Fails(&[ResultTooLarge]),
    ),
    rust("unruly", "exit", "alone", "255", "Exits with a code.", Fails(&[Trapped])),
    rust("networked", "networked", "granted-only", "", "Asks for sockets.", Refused(&["imports"])),
];
