//! A handler that keeps values between attempts: the one capability that needs nothing but a
//! broker.

use bulkhead_guest::kv;
use bulkhead_guest::prelude::*;

plugin!(note);

/// Follows the lines of its payload: `KEY` reads, `KEY=VALUE` writes, `KEY+1` counts, `*` lists,
/// `!` fails.
#[handler]
fn note(lines: String) -> Result<String, Failure> {
    let answers: Result<Vec<String>, Failure> = lines.lines().map(follow).collect();
    Ok(answers?.join("\n"))
}

fn follow(line: &str) -> Result<String, Failure> {
    let answer = if line == "!" {
        return Err(Failure::retry("as asked"));
    } else if line == "*" {
        kv::keys("").collect::<Result<Vec<String>, kv::Error>>().map(|keys| format!("{keys:?}"))
    } else if let Some((key, value)) = line.split_once('=') {
        kv::set(key, value).map(|version| format!("v{version}"))
    } else if let Some(key) = line.strip_suffix("+1") {
        kv::increment(key, 1).map(|sum| sum.to_string())
    } else {
        match kv::get(line)? {
            Some(entry) => return entry.text(),
            None => Ok("none".to_owned()),
        }
    };
    Ok(answer.unwrap_or_else(|error| error.to_string()))
}
