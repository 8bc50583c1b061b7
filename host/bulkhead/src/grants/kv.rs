//! `kv`: how much a plugin may keep.

use bulkhead_sandbox::KvGrant;
use serde::Deserialize;

use super::bounds::{GIB, MIB, size, within};
use super::switch::Written;
use crate::config::quantity::Size;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kv {
    keys: Option<u64>,
    value: Option<Size>,
    total: Option<Size>,
    operations: Option<u32>,
}

impl Written for Kv {
    const KEY: &'static str = "kv";

    type Grant = KvGrant;

    fn on() -> Result<KvGrant, &'static str> {
        Ok(KvGrant::default())
    }

    fn checked(self) -> Result<KvGrant, String> {
        let default = KvGrant::default();
        Ok(KvGrant {
            keys: within("kv.keys", self.keys, default.keys, 1..=100_000_000)?,
            value_bytes: size("kv.value", self.value, default.value_bytes, 1..=16 * MIB)?,
            total_bytes: size("kv.total", self.total, default.total_bytes, 1..=1024 * GIB)?,
            operations: within(
                "kv.operations",
                self.operations,
                default.operations,
                1..=1_000_000,
            )?,
        })
    }
}
