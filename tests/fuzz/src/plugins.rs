//! Plugin files, and what a compile worker and its host say to one another.

use bulkhead_sandbox::fuzzing::{Header, check_plugin, worker_header};

use crate::choice;

/// The largest file that is looked at, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// A file, through everything that happens before it is compiled.
pub fn plugin(data: &[u8]) {
    match check_plugin(data, MAX_BYTES) {
        Ok(imports) => assert!(imports.len() <= 1_000 && imports.iter().all(|i| i.len() <= 256)),
        Err(refused) => assert!(refused.message.len() < 64 << 10, "{}", refused.message.len()),
    }
}

/// A header of a worker's or of a host's.
pub fn worker(data: &[u8]) {
    let (of, data) = choice(data);
    worker_header(if of % 2 == 0 { Header::Request } else { Header::Answer }, data);
}
