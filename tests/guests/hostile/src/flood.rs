//! Too much of everything that is shown to people.

use bulkhead_guest::prelude::*;

const MIB: usize = 1 << 20;

/// Logs one line of 8 MiB.
#[handler]
pub(crate) fn giant_line(_: Payload) {
    log::error!("{}", "x".repeat(8 * MIB));
}

/// Logs lines with a field of 64 KiB each.
#[handler]
pub(crate) fn many_fields(_: Payload) {
    let value = "y".repeat(64 << 10);
    for _ in 0..200 {
        log::warn!(value = value.as_str(); "fields");
    }
}

/// Writes 16 MiB to the standard error without a single line feed.
#[handler]
pub(crate) fn stderr_flood(_: Payload) {
    let piece = "z".repeat(64 << 10);
    for _ in 0..256 {
        #[allow(clippy::print_stderr, reason = "what this handler is for")]
        {
            eprint!("{piece}");
        }
    }
}

/// Reports progress 100,000 times, with values that are no fractions.
#[handler]
pub(crate) fn progress_flood(_: Payload) {
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 1e30];
    for value in values.iter().cycle().take(100_000) {
        progress(*value, "\u{1b}[2J");
    }
}

/// Panics with a message of 4 MiB that is full of control characters.
#[handler]
pub(crate) fn huge_panic(_: Payload) {
    #[allow(clippy::panic, reason = "what this handler is for")]
    {
        panic!("{}", "\u{1b}[31mred\u{7}\u{202e}".repeat(MIB / 4));
    }
}

/// Fails with a reason and details of 2 MiB each.
#[handler]
pub(crate) fn huge_reason(_: Payload) -> Result<(), Failure> {
    Err(Failure::permanent("r".repeat(2 * MIB)).details("d".repeat(2 * MIB)))
}

/// Logs and prints what steers a terminal or forges a line of the host's log.
#[handler]
pub(crate) fn escapes(_: Payload) -> String {
    let forged = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\nINFO bulkhead: forged line\u{202e}\0";
    log::error!("{forged}");
    #[allow(clippy::print_stdout, reason = "what this handler is for")]
    {
        println!("{forged}");
    }
    forged.to_owned()
}

/// Names its output's type in control characters and HTML.
#[handler]
pub(crate) fn odd_type(_: Payload) -> Payload {
    Payload::new("text/html\r\nSet-Cookie: a=b\u{1b}[31m<script>", "x")
}

/// Names its output's type with 1 MiB.
#[handler]
pub(crate) fn long_type(_: Payload) -> Payload {
    Payload::new("t".repeat(MIB), "x")
}

/// Returns as JSON what is no JSON.
#[handler]
pub(crate) fn not_a_number(_: Payload) -> Payload {
    Payload::new("application/json", r#"{"a": NaN, "b": Infinity, "a": -0e999"#)
}
