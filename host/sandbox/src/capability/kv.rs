//! `bulkhead:handler/kv`: small values that outlive the attempt. What one attempt may do is
//! bounded here; what the plugin and tenant may keep, by the service.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::bindings::bulkhead::handler::kv::{self, Entry, Error, Host, Page};
use crate::compartment::Compartment;
use crate::grants::{Grants, KvGrant};
use crate::service::{KvError, KvSpace};

/// Longest key, prefix and place in a list, in bytes.
const MAX_KEY_BYTES: usize = 512;

/// Most keys of one page.
pub(crate) const MAX_PAGE: u32 = 1_000;

/// What one call may make the host hold: a value or a page, as the broker's answer, as it is
/// read from it and as it is given to the guest.
pub(crate) fn held_bytes(grant: &KvGrant) -> u64 {
    let page = u64::from(MAX_PAGE) * (MAX_KEY_BYTES as u64 + 32);
    3 * grant.value_bytes.max(page)
}

/// Longest time to live: 366 days.
const MAX_TTL_MS: u64 = 366 * 24 * 3_600_000;

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("kv"),
    line: "kv = true",
    interfaces: &[Interface { name: "bulkhead:handler/kv", version: "0.1", link: Some(link) }],
    standing,
};

fn standing(grants: &Grants, offers: CapabilitySet) -> Standing {
    Standing::of(grants.kv.is_some(), offers.kv, "this host keeps no values for plugins")
}

fn link(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    kv::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Compartment {
    /// One more call, if the grant has one left.
    fn kv_call(&mut self) -> Result<(Arc<dyn KvSpace>, KvGrant), Error> {
        let absent = || Error::Unavailable("there are no values here".to_owned());
        let powers = self.powers.as_deref_mut().ok_or_else(absent)?;
        powers.traffic.call();
        let grant = powers.grants.kv.ok_or_else(absent)?;
        let space = powers.services.kv.clone().ok_or_else(absent)?;
        powers.kv_operations = powers.kv_operations.checked_sub(1).ok_or_else(|| {
            Error::Quota(format!(
                "the attempt made all its {} calls to kv (`operations`)",
                grant.operations
            ))
        })?;
        Ok((space, grant))
    }

    fn kv_came_in(&mut self, bytes: usize) {
        if let Some(powers) = self.powers.as_deref_mut() {
            powers.traffic.came_in(bytes);
        }
    }

    fn kv_goes_out(&mut self, grant: &KvGrant, value: &[u8]) -> Result<(), Error> {
        if value.len() as u64 > grant.value_bytes {
            return Err(Error::TooLarge(grant.value_bytes));
        }
        if let Some(powers) = self.powers.as_deref_mut() {
            powers.traffic.went_out(value.len());
        }
        Ok(())
    }

    async fn kv_get(&mut self, key: String) -> Result<Option<Entry>, Error> {
        let (space, _) = self.kv_call()?;
        check_key(&key)?;
        let Some(entry) = space.get(&key).await.map_err(told)? else { return Ok(None) };
        // A value that was stored under a larger bound.
        if entry.value.len() as u64 > self.hostcall_bytes {
            return Err(Error::TooLarge(self.hostcall_bytes));
        }
        self.kv_came_in(entry.value.len());
        Ok(Some(Entry { value: entry.value, version: entry.version, ttl_ms: entry.ttl_ms }))
    }

    async fn kv_set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<u64, Error> {
        let (space, grant) = self.kv_call()?;
        check_key(&key)?;
        check_ttl(ttl_ms)?;
        self.kv_goes_out(&grant, &value)?;
        space.set(&key, value, ttl_ms).await.map_err(told)
    }

    async fn kv_delete(&mut self, key: String) -> Result<bool, Error> {
        let (space, _) = self.kv_call()?;
        check_key(&key)?;
        space.delete(&key).await.map_err(told)
    }

    async fn kv_list(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Page, Error> {
        let (space, _) = self.kv_call()?;
        check_text("prefix", &prefix)?;
        if let Some(after) = &after {
            check_text("place after which to begin", after)?;
        }
        let limit = limit.clamp(1, MAX_PAGE);
        let page = space.list(&prefix, after.as_deref(), limit).await.map_err(told)?;
        let (mut keys, mut more) = (page.keys, page.more);
        let mut left = usize::try_from(self.hostcall_bytes).unwrap_or(usize::MAX);
        let fitting = keys.iter().take_while(|key| {
            let fits = left.checked_sub(key.len());
            left = fits.unwrap_or(0);
            fits.is_some()
        });
        let fitting = fitting.count();
        more |= fitting < keys.len();
        keys.truncate(fitting);
        self.kv_came_in(keys.iter().map(String::len).sum());
        let next = keys.last().filter(|_| more).cloned();
        Ok(Page { keys, next })
    }

    async fn kv_increment(
        &mut self,
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    ) -> Result<i64, Error> {
        let (space, _) = self.kv_call()?;
        check_key(&key)?;
        check_ttl(ttl_ms)?;
        space.increment(&key, by, ttl_ms).await.map_err(told)
    }

    async fn kv_compare_and_set(
        &mut self,
        key: String,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<Option<u64>, Error> {
        let (space, grant) = self.kv_call()?;
        check_key(&key)?;
        check_ttl(ttl_ms)?;
        self.kv_goes_out(&grant, &value)?;
        space.compare_and_set(&key, expected, value, ttl_ms).await.map_err(told)
    }
}

impl Host for Compartment {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Entry>, Error>> {
        Ok(self.kv_get(key).await)
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        Ok(self.kv_set(key, value, ttl_ms).await)
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<bool, Error>> {
        Ok(self.kv_delete(key).await)
    }

    async fn list(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Page, Error>> {
        Ok(self.kv_list(prefix, after, limit).await)
    }

    async fn increment(
        &mut self,
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<i64, Error>> {
        Ok(self.kv_increment(key, by, ttl_ms).await)
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<Option<u64>, Error>> {
        Ok(self.kv_compare_and_set(key, expected, value, ttl_ms).await)
    }
}

fn told(error: KvError) -> Error {
    match error {
        KvError::Invalid(why) => Error::Invalid(why),
        KvError::Quota(which) => Error::Quota(which),
        KvError::Unavailable(why) => Error::Unavailable(why),
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::Invalid("the key is empty".to_owned()));
    }
    check_text("key", key)
}

pub(crate) fn check_text(what: &str, text: &str) -> Result<(), Error> {
    if text.len() > MAX_KEY_BYTES {
        let bytes = text.len();
        let why = format!("the {what} has {bytes} bytes; at most {MAX_KEY_BYTES} are allowed");
        return Err(Error::Invalid(why));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::Invalid(format!("the {what} has a control character")));
    }
    Ok(())
}

pub(crate) fn check_ttl(ttl_ms: Option<u64>) -> Result<(), Error> {
    match ttl_ms {
        Some(ms) if !(1..=MAX_TTL_MS).contains(&ms) => {
            Err(Error::Invalid(format!("a time to live of {ms} ms is not from 1 ms to 366 days")))
        }
        _ => Ok(()),
    }
}
