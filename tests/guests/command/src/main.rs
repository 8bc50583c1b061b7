//! A plain command, as it is written for any WASI runtime: payload on stdin, output
//! on stdout, outcome as exit code (0 done, 1 retry, anything else reject), stderr
//! as log. The payload's first word chooses what it does.

use std::io::{self, Read as _, Write as _};
use std::process::exit;

fn main() -> io::Result<()> {
    let mut payload = String::new();
    io::stdin().read_to_string(&mut payload)?;
    let (verb, rest) = payload.split_once(' ').unwrap_or((payload.as_str(), ""));
    match verb.trim_end() {
        "fail" => end(&format!("failed: {}", rest.trim_end()), 1),
        "reject" => end(&format!("rejected: {}", rest.trim_end()), 2),
        "exit" => match rest.trim().parse() {
            Ok(code) => end(&format!("exiting with {code}"), code),
            Err(error) => end(&format!("`exit` needs a number: {error}"), 2),
        },
        "spin" => loop {
            std::hint::black_box(());
        },
        _ => {
            io::stdout().write_all(payload.to_uppercase().as_bytes())?;
            writeln!(io::stderr(), "wrote {} bytes in upper case", payload.len())
        }
    }
}

/// Say why on stderr and end with `code`.
fn end(why: &str, code: i32) -> ! {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "{why}");
    exit(code)
}
