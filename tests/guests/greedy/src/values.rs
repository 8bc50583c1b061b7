//! Too much of `kv`, and that of others. Granted: 12 keys, 8 KiB a value, 48 KiB in all, 60
//! operations.

use std::time::Duration;

use bulkhead_guest::kv::{self, Error};
use bulkhead_guest::prelude::*;

use crate::told;

const KEYS: usize = 12;
const VALUE_BYTES: usize = 8 << 10;
const TOTAL_BYTES: usize = 48 << 10;
const OPERATIONS: usize = 60;

fn kept() -> Vec<String> {
    kv::list("", None, 1_000).map(|page| page.keys).unwrap_or_default()
}

fn forget_all() {
    for key in kept() {
        let _ = kv::delete(&key);
    }
}

/// Writes more keys than it may keep.
#[handler]
pub(crate) fn kv_keys(_: Payload) -> String {
    forget_all();
    for at in 0..KEYS + 8 {
        let _ = kv::set(&format!("k{at:04}"), "x");
    }
    let kept = kept().len();
    told((kept > KEYS).then(|| format!("{kept} keys")))
}

/// Writes more bytes than it may keep, by short keys and long ones.
#[handler]
pub(crate) fn kv_total(_: Payload) -> String {
    forget_all();
    for at in 0..KEYS {
        let _ = kv::set(&format!("{at:0512}"), vec![b'x'; VALUE_BYTES]);
    }
    let size = |key: String| Some(key.len() + kv::get(&key).ok()??.value.len());
    let bytes: usize = kept().into_iter().filter_map(size).sum();
    told((bytes > TOTAL_BYTES).then(|| format!("{bytes} bytes")))
}

/// Writes values that are too large.
#[handler]
pub(crate) fn kv_value(_: Payload) -> String {
    let mut found = Vec::new();
    for bytes in [VALUE_BYTES + 1, 1 << 20] {
        let value = vec![b'x'; bytes];
        if !matches!(kv::set("large", &value), Err(Error::TooLarge { .. })) {
            found.push(format!("a value of {bytes} bytes"));
        }
        if !matches!(kv::compare_and_set("large", None, &value), Err(Error::TooLarge { .. })) {
            found.push(format!("a value of {bytes} bytes, compared"));
        }
    }
    told(found)
}

/// Hands over more bytes than a host call may take.
#[handler]
pub(crate) fn kv_giant(_: Payload) -> String {
    format!("{:?}", kv::set("giant", vec![b'x'; 24 << 20]))
}

/// Uses keys that are none.
#[handler]
pub(crate) fn kv_names(_: Payload) -> String {
    let (long, huge) = ("k".repeat(513), "k".repeat(1 << 20));
    let odd = ["", "a\0b", "a\u{1b}[2Jb", "a\r\nDEL b", "\u{9b}", &long, &huge];
    let mut found = Vec::new();
    for key in odd {
        let shown = || format!("{:.20?}", key);
        let calls = [
            kv::set(key, "x").is_ok(),
            kv::get(key).is_ok_and(|entry| entry.is_some()),
            kv::increment(key, 1).is_ok(),
            kv::delete(key).is_ok_and(|deleted| deleted),
            !key.is_empty() && kv::list(key, None, 10).is_ok(),
            !key.is_empty() && kv::list("", Some(key), 10).is_ok(),
        ];
        found.extend(calls.iter().any(|done| *done).then(shown));
    }
    told(found)
}

/// Lies about times, versions and numbers.
#[handler]
pub(crate) fn kv_lies(_: Payload, task: &Task) -> String {
    let mut found = Vec::new();
    let mut must = |held: bool, what: &str| found.extend((!held).then(|| what.to_owned()));
    for ttl in [Duration::ZERO, Duration::from_secs(367 * 86_400), Duration::MAX] {
        must(kv::set_for("t", "x", ttl).is_err(), "a time that makes no sense");
    }
    // Others of its tasks may lie at the same time.
    let own = task.id.to_string();

    if let Ok(version) = kv::set(&own, "1") {
        for lie in [0, version.wrapping_sub(1), version + 1, u64::MAX] {
            must(
                !matches!(kv::compare_and_set(&own, Some(lie), "2"), Ok(Some(_))),
                "a version that it is not",
            );
        }
        must(!matches!(kv::compare_and_set(&own, None, "2"), Ok(Some(_))), "a key that is there");
        let _ = kv::set(&own, i64::MAX.to_string());
        must(kv::increment(&own, 1).is_err(), "a sum beyond 64 bits");
        let _ = kv::set(&own, "0x10");
        must(kv::increment(&own, 1).is_err(), "a number that is none");
    }
    let _ = kv::delete(&own);
    told(found)
}

/// Lists with silly limits and places.
#[handler]
pub(crate) fn kv_list(_: Payload) -> String {
    let mut found = Vec::new();
    for limit in [0, 1, u32::MAX] {
        for prefix in ["", "*", "[a-z]*", "\u{10ffff}"] {
            let Ok(page) = kv::list(prefix, Some("\u{10ffff}"), limit) else { continue };
            found.extend((!page.keys.is_empty()).then(|| format!("{:?}", page.keys)));
            if let Ok(page) = kv::list(prefix, None, limit) {
                let strange = page.keys.iter().find(|key| !key.starts_with(prefix));
                found.extend(strange.cloned());
            }
        }
    }
    told(found)
}

/// Makes more calls than it may.
#[handler]
pub(crate) fn kv_operations(_: Payload) -> String {
    let answered = (0..OPERATIONS + 20).filter(|_| kv::get("x").is_ok()).count();
    told((answered > OPERATIONS).then(|| format!("{answered} answers")))
}

/// Leaves a value: the rig lets a neighbour do it.
#[handler]
pub(crate) fn kv_leave(value: String) -> Result<(), Failure> {
    kv::set("mine-alone", value)?;
    Ok(())
}

/// Looks for what the same plugin keeps for a neighbour.
#[handler]
pub(crate) fn kv_others(_: Payload) -> String {
    let mut found: Vec<String> = kept().into_iter().filter(|key| key == "mine-alone").collect();
    for key in [
        "mine-alone",
        "../neighbour/mine-alone",
        "neighbour/mine-alone",
        "neighbour:mine-alone",
        "neighbour:greedy:mine-alone",
        "greedy:neighbour:mine-alone",
        "{neighbour}mine-alone",
        "*",
    ] {
        if let Ok(Some(entry)) = kv::get(key) {
            found.push(format!("{key}: {:?}", entry.text()));
        }
    }
    told(found)
}
