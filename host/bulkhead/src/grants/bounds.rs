//! What values of a grant have in common: a default where none is given, bounds on what is, and
//! messages that name the key.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bulkhead_sandbox::Named;

use crate::config::quantity::{Size, Span};

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3_600);

/// Most rules, names or folders of one grant.
pub(super) const MAX_ITEMS: usize = 256;

/// A value within its bounds, or the default where none is given.
pub(super) fn within<T: PartialOrd + Display + Copy>(
    key: &str,
    value: Option<T>,
    default: T,
    bounds: RangeInclusive<T>,
) -> Result<T, String> {
    match value {
        Some(value) if !bounds.contains(&value) => Err(format!(
            "`{key}` is {value}, which is not from {} to {}",
            bounds.start(),
            bounds.end()
        )),
        value => Ok(value.unwrap_or(default)),
    }
}

pub(super) fn size(
    key: &str,
    value: Option<Size>,
    default: u64,
    bounds: RangeInclusive<u64>,
) -> Result<u64, String> {
    let bounds = Size(*bounds.start())..=Size(*bounds.end());
    Ok(within(key, value, Size(default), bounds)?.0)
}

pub(super) fn span(key: &str, value: Option<Span>, default: Duration) -> Result<Duration, String> {
    let bounds = Span(Duration::from_millis(1))..=Span(HOUR);
    Ok(within(key, value, Span(default), bounds)?.0)
}

/// One to 256 items that are not the same twice.
fn items<T: FromStr<Err: Display> + Ord>(
    key: &str,
    texts: &[String],
) -> Result<BTreeSet<T>, String> {
    if !(1..=MAX_ITEMS).contains(&texts.len()) {
        return Err(format!("`{key}` lists {} names; use 1 to {MAX_ITEMS}", texts.len()));
    }
    texts.iter().map(|text| text.parse().map_err(|e| format!("`{key}`: {e}"))).collect()
}

/// Names, or `["*"]` for any.
pub(super) fn named<T: FromStr<Err: Display> + Ord>(
    key: &str,
    texts: &[String],
) -> Result<Named<T>, String> {
    match texts {
        [any] if any == "*" => Ok(Named::Any),
        texts => items(key, texts).map(Named::Only),
    }
}
