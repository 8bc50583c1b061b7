//! A handler whose manner is written into the file after it was built, so that versions of one
//! plugin can be made that work, fail or are slow.

use std::hint::black_box;
use std::time::Duration;

use bulkhead_guest::prelude::*;

plugin!(work);

/// What comes after the colon is replaced in the built file: `MANNER` and its bytes stay as
/// many.
static MANNER: [u8; 32] = *b"turncoat-manner:good............";

/// Where the manner begins.
const AFTER: usize = 16;

/// Returns its payload, or does not, as its manner is. `poison` is never done.
#[handler]
fn work(payload: String) -> Result<String, Failure> {
    let manner = black_box(&MANNER)[AFTER..].split(|byte| *byte == b'.').next();
    if payload == "poison" {
        return Err(Failure::permanent("this is poison"));
    }
    match manner.unwrap_or_default() {
        b"trap" => {
            #[allow(clippy::panic, reason = "what this manner is for")]
            {
                panic!("this version is broken");
            }
        }
        b"reject" => return Err(Failure::permanent("this version wants nothing")),
        b"slow" => std::thread::sleep(Duration::from_millis(150)),
        _ => {}
    }
    Ok(payload)
}
