//! Attempts to leave something behind, and to see more than was granted. Each answers with
//! what it found; `nothing` where it found nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bulkhead_guest::prelude::*;

static CALLS: AtomicU64 = AtomicU64::new(0);

/// Counts the calls of this instance.
#[handler]
pub(crate) fn counter(_: Payload) -> String {
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    format!("call {calls}")
}

/// Tries the environment, the arguments, the standard input and the files.
#[handler]
pub(crate) fn look_around(_: Payload) -> String {
    let mut found: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    found.extend(std::env::args());
    if let Ok(folder) = std::env::current_dir()
        && std::fs::read_dir(&folder).is_ok()
    {
        found.push(folder.display().to_string());
    }
    let paths =
        ["/", ".", "..", "/etc/passwd", "/proc/self/environ", "../../../../etc/passwd", "/dev/mem"];
    for path in paths {
        if std::fs::metadata(path).is_ok() || std::fs::File::open(path).is_ok() {
            found.push(path.to_owned());
        }
    }
    if std::fs::write("/tmp/escaped", "x").is_ok() || std::fs::create_dir("here").is_ok() {
        found.push("a writable folder".to_owned());
    }
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        found.push(line);
    }
    if found.is_empty() { "nothing".to_owned() } else { found.join(" ") }
}

/// Starts a thread.
#[handler]
pub(crate) fn thread(_: Payload) -> String {
    match std::thread::Builder::new().spawn(|| ()) {
        Ok(_) => "a thread".to_owned(),
        Err(_) => "nothing".to_owned(),
    }
}

/// Measures the smallest step of the clock for 50 ms; the host gives it coarse ones.
#[handler]
pub(crate) fn steps(_: Payload) -> String {
    let began = Instant::now();
    let (mut last, mut smallest) = (began, Duration::MAX);
    while began.elapsed() < Duration::from_millis(50) {
        let now = Instant::now();
        if now > last {
            smallest = smallest.min(now - last);
            last = now;
        }
    }
    if smallest < Duration::from_millis(10) {
        format!("steps of {smallest:?}")
    } else {
        "nothing".to_owned()
    }
}
