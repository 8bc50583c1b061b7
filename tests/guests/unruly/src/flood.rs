//! Handlers that say too much.

use bulkhead_guest::prelude::*;

use crate::number;

/// Every line has this many bytes, its number included.
const LINE_BYTES: usize = 100;

/// Returns the payload's number of bytes.
#[handler]
pub(crate) fn big_result(bytes: String) -> Result<Vec<u8>, Failure> {
    Ok(vec![b'x'; number(&bytes)?])
}

/// Logs the payload's number of lines.
#[handler]
pub(crate) fn log_flood(lines: String) -> Result<(), Failure> {
    for at in 0..number::<u64>(&lines)? {
        log::info!("{at:0LINE_BYTES$}");
    }
    Ok(())
}

/// Prints the payload's number of lines; the line feed is the last of their bytes.
#[handler]
pub(crate) fn stdout_flood(lines: String) -> Result<(), Failure> {
    let width = LINE_BYTES - 1;
    for at in 0..number::<u64>(&lines)? {
        #[allow(clippy::print_stdout, reason = "what this handler is for")]
        {
            println!("{at:0width$}");
        }
    }
    Ok(())
}
