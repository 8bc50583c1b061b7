//! A handler that tells a secret in every way that a handler can say anything. It asks for no
//! other capability. Nothing here is an example to follow.

use bulkhead_guest::prelude::*;
use bulkhead_guest::secrets;

plugin!(spill);

/// Does with a secret what the payload says: `HOW NAME`.
#[handler]
fn spill(said: String) -> Result<String, Failure> {
    let (how, name) = said.split_once(' ').or_reject("two words")?;
    let secret = secrets::get(name)?;
    match how {
        "return" => return Ok(secret),
        "log" => log::info!(field = secret.as_str(); "the secret is {secret}"),
        "quote" => log::info!("the secret is {secret:?}"),
        "print" => print(&secret),
        "progress" => {
            progress(0.5, format!("the secret is {secret}"));
            // Whoever looks at a running task sees it: until it is cancelled.
            while !context::cancelled() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        "fail" => {
            let failure = Failure::permanent(format!("the secret is {secret}"));
            return Err(failure.details([secret]));
        }
        "panic" => panic_with(&secret),
        "length" => return Ok(secret.len().to_string()),
        _ => return Err(Failure::permanent("no such way")),
    }
    Ok("said".to_owned())
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what it is for")]
fn print(secret: &str) {
    println!("the secret is {secret}");
    eprintln!("the secret is {secret}");
}

#[allow(clippy::panic, reason = "this is what it is for")]
fn panic_with(secret: &str) {
    panic!("the secret is {secret}");
}
