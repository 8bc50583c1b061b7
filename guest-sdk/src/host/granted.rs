//! What stands behind the capabilities in a native test: values in memory, and what the test
//! decided.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::stand_in::with;
use crate::enqueue::{self, Child};
use crate::kv::{Entry, Error, Page};
use crate::secrets;

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 512;

/// Most keys of one page.
const MAX_PAGE: u32 = 1_000;

/// Longest time to live: 366 days.
const MAX_TTL_MS: u64 = 366 * 24 * 3_600_000;

/// Bytes of one value, as granted without more words.
const MAX_VALUE_BYTES: u64 = 64 << 10;

/// A store of values for tests, shared by the attempts that it is given to. Its clock stands
/// still unless [`Kv::pass`] moves it, so that a test decides when a value goes.
#[derive(Debug, Clone, Default)]
pub struct Kv(Arc<Mutex<Store>>);

#[derive(Debug, Default)]
struct Store {
    now_ms: u64,
    version: u64,
    values: BTreeMap<String, Stored>,
    failures: VecDeque<Error>,
}

#[derive(Debug)]
struct Stored {
    value: Vec<u8>,
    version: u64,
    until_ms: Option<u64>,
}

impl Kv {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Store a value for good.
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        let mut store = self.store();
        store.write(key, value.as_ref().to_vec(), None);
    }

    /// The value of a key, if it has one.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.store().live(key).map(|stored| stored.value.clone())
    }

    /// The keys that have values, in the order of their bytes.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut store = self.store();
        store.sweep();
        store.values.keys().cloned().collect()
    }

    /// Let time pass, for values that stay for a time only.
    pub fn pass(&self, time: Duration) {
        let mut store = self.store();
        store.now_ms = store.now_ms.saturating_add(crate::kv::millis(time));
    }

    /// Let the next call that is made in an attempt fail.
    pub fn fail_next(&self, error: Error) {
        self.store().failures.push_back(error);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn sweep(&mut self) {
        let now = self.now_ms;
        self.values.retain(|_, stored| stored.until_ms.is_none_or(|until| until > now));
    }

    fn live(&mut self, key: &str) -> Option<&Stored> {
        self.sweep();
        self.values.get(key)
    }

    fn write(&mut self, key: &str, value: Vec<u8>, until_ms: Option<u64>) -> u64 {
        self.version += 1;
        let stored = Stored { value, version: self.version, until_ms };
        self.values.insert(key.to_owned(), stored);
        self.version
    }

    fn until(&self, ttl_ms: Option<u64>) -> Option<u64> {
        ttl_ms.map(|ttl_ms| self.now_ms.saturating_add(ttl_ms))
    }
}

/// Do something in the attempt's store.
fn kv<R>(call: impl FnOnce(&mut Store) -> Result<R, Error>) -> Result<R, Error> {
    let none = || Error::Unavailable("no attempt is running; use `testing::run`".to_owned());
    let kv = with(|attempt| attempt.granted.kv.clone()).ok_or_else(none)?;
    let mut store = kv.store();
    match store.failures.pop_front() {
        Some(error) => Err(error),
        None => call(&mut store),
    }
}

fn check(key: &str, value: Option<&[u8]>, ttl_ms: Option<u64>) -> Result<(), Error> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
        let why = format!("a key has 1 to {MAX_KEY_BYTES} bytes without control characters");
        return Err(Error::Invalid(why));
    }
    if ttl_ms.is_some_and(|ms| !(1..=MAX_TTL_MS).contains(&ms)) {
        return Err(Error::Invalid("a time to live is from 1 ms to 366 days".to_owned()));
    }
    match value {
        Some(value) if value.len() as u64 > MAX_VALUE_BYTES => {
            Err(Error::TooLarge { max_bytes: MAX_VALUE_BYTES })
        }
        _ => Ok(()),
    }
}

pub(crate) fn kv_get(key: &str) -> Result<Option<Entry>, Error> {
    check(key, None, None)?;
    kv(|store| {
        let now = store.now_ms;
        Ok(store.live(key).map(|stored| Entry {
            value: stored.value.clone(),
            version: stored.version,
            ttl: stored.until_ms.map(|until| Duration::from_millis(until - now)),
        }))
    })
}

pub(crate) fn kv_set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<u64, Error> {
    check(key, Some(value), ttl_ms)?;
    kv(|store| {
        let until_ms = store.until(ttl_ms);
        Ok(store.write(key, value.to_vec(), until_ms))
    })
}

pub(crate) fn kv_delete(key: &str) -> Result<bool, Error> {
    check(key, None, None)?;
    kv(|store| {
        store.sweep();
        Ok(store.values.remove(key).is_some())
    })
}

pub(crate) fn kv_list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, Error> {
    kv(|store| {
        store.sweep();
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let found = store.values.keys().filter(|key| key.starts_with(prefix));
        let found = found.filter(|key| after.is_none_or(|after| key.as_str() > after));
        let mut keys: Vec<String> = found.take(limit + 1).cloned().collect();
        let more = keys.len() > limit;
        keys.truncate(limit);
        let next = keys.last().filter(|_| more).cloned();
        Ok(Page { keys, next })
    })
}

pub(crate) fn kv_increment(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, Error> {
    check(key, None, ttl_ms)?;
    kv(|store| {
        let (number, until_ms) = match store.live(key) {
            None => (Some(0), None),
            Some(stored) => {
                let text = std::str::from_utf8(&stored.value).ok();
                (text.and_then(|text| text.parse::<i64>().ok()), stored.until_ms)
            }
        };
        let number = number
            .ok_or_else(|| Error::Invalid(format!("what is stored under `{key}` is no number")))?;
        let sum = number
            .checked_add(by)
            .ok_or_else(|| Error::Invalid(format!("the sum under `{key}` is beyond 64 bits")))?;
        let until_ms = store.until(ttl_ms).or(until_ms);
        store.write(key, sum.to_string().into_bytes(), until_ms);
        Ok(sum)
    })
}

pub(crate) fn kv_compare_and_set(
    key: &str,
    expected: Option<u64>,
    value: &[u8],
    ttl_ms: Option<u64>,
) -> Result<Option<u64>, Error> {
    check(key, Some(value), ttl_ms)?;
    kv(|store| {
        if store.live(key).map(|stored| stored.version) != expected {
            return Ok(None);
        }
        let until_ms = store.until(ttl_ms);
        Ok(Some(store.write(key, value.to_vec(), until_ms)))
    })
}

/// What a test grants an attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Granted {
    pub(crate) kv: Kv,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    with(|attempt| attempt.granted.config.get(key).cloned()).flatten()
}

pub(crate) fn secret(name: &str) -> Result<String, secrets::Error> {
    let none = || secrets::Error::Unavailable("no attempt is running".to_owned());
    let value = with(|attempt| attempt.granted.secrets.get(name).cloned()).ok_or_else(none)?;
    value.ok_or_else(|| secrets::Error::Unknown(name.to_owned()))
}

pub(crate) fn submit(child: Child) -> Result<String, enqueue::Error> {
    if child.priority.is_some_and(|priority| priority > 100) {
        return Err(enqueue::Error::Invalid("a priority is from 0 to 100".to_owned()));
    }
    let none = || enqueue::Error::Unavailable("no attempt is running".to_owned());
    with(|attempt| {
        let at = if attempt.batch { attempt.focus } else { Some(0) };
        let Some((at, seat)) = at.and_then(|at| Some((at, attempt.tasks.get_mut(at)?))) else {
            return Err(enqueue::Error::NoFocus);
        };
        let place = seat.children.len();
        seat.children.push(child);
        Ok(format!("00000000-0000-5000-8000-{:04x}{place:08x}", at & 0xffff))
    })
    .unwrap_or_else(|| Err(none()))
}
