//! Secrets: names that were not granted, and a value that is told in every way there is.
//! Granted: `token`.

use bulkhead_guest::prelude::*;
use bulkhead_guest::secrets;

use crate::told;

/// Asks for secrets that it was not granted.
#[handler]
pub(crate) fn secret_names(_: Payload) -> String {
    let huge = "t".repeat(1 << 20);
    let names = [
        "other",
        "",
        "*",
        "TOKEN",
        "token ",
        "token\0",
        "../token",
        "/token",
        "neighbour/token",
        "attacker/token",
        "token/../other",
        "PATH",
        "BULKHEAD_BROKER",
        "secrets_key",
        &huge,
    ];
    told(
        names
            .into_iter()
            .filter(|name| secrets::get(name).is_ok())
            .map(|name| format!("{name:.40?}")),
    )
}

/// Tells its secret by log, fields, output, progress and failure, plain and in the forms of JSON
/// and of Rust.
#[handler]
pub(crate) fn secret_spoken(_: Payload) -> Result<(), Failure> {
    let Ok(secret) = secrets::get("token") else { return Err(Failure::permanent("no secret")) };
    let json = format!("{{\"a\":{:?}}}", secret);
    log::error!("{secret}");
    log::warn!(value = secret.as_str(); "in a field");
    log::info!("{secret:?} {json}");
    for line in secret.lines() {
        log::info!("{line}");
    }
    #[allow(clippy::print_stdout, clippy::print_stderr, reason = "what this handler is for")]
    {
        println!("{secret}");
        eprintln!("{secret:?}");
        for piece in secret.as_bytes().chunks(3) {
            print!("{}", String::from_utf8_lossy(piece));
        }
    }
    progress(0.5, &secret);
    progress(0.7, format!("{secret:?}"));
    Err(Failure::permanent(format!("it is {secret}")).details(json))
}

/// Panics with its secret.
#[handler]
pub(crate) fn secret_panic(_: Payload) {
    let secret = secrets::get("token").unwrap_or_default();
    #[allow(clippy::panic, reason = "what this handler is for")]
    {
        panic!("the secret is {secret}");
    }
}

/// Logs lines that are cut in the middle of its secret; no more than its log has room for.
#[handler]
pub(crate) fn secret_cut(_: Payload) {
    let secret = secrets::get("token").unwrap_or_default();
    for at in 4..11 {
        let before = "x".repeat((8 << 10) - 3 - at);
        log::info!("{before}{secret}");
    }
}
