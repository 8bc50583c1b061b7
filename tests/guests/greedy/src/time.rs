//! Clocks that stand still, and outputs that blow up whoever decodes them.

use std::time::{Instant, SystemTime};

use bulkhead_guest::prelude::*;

use crate::told;

/// Times its own work with clocks that are frozen.
#[handler]
pub(crate) fn clock_frozen(_: Payload) -> String {
    let (began, wall) = (Instant::now(), SystemTime::now());
    let mut sum = 0_u64;
    for at in 0..1_000_000_u64 {
        sum = std::hint::black_box(sum ^ at);
    }
    std::thread::sleep(std::time::Duration::from_millis(5));
    let mut found = Vec::new();
    found.extend((!began.elapsed().is_zero()).then(|| format!("{:?}", began.elapsed())));
    found.extend((SystemTime::now() != wall).then(|| "another time".to_owned()));
    told(found)
}

/// Answers with arrays in arrays, a million deep, as JSON.
#[handler]
pub(crate) fn json_bomb(_: Payload) -> Payload {
    Payload::new("application/json", "[".repeat(1 << 20))
}

/// Answers with arrays in arrays, and with one that says it has 4,294,967,295 elements, as
/// MessagePack.
#[handler]
pub(crate) fn msgpack_bomb(_: Payload) -> Payload {
    let mut bytes = vec![0x91; 1 << 20];
    bytes.extend([0xdd, 0xff, 0xff, 0xff, 0xff]);
    Payload::new("application/msgpack", bytes)
}
