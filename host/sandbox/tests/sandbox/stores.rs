//! What stands behind capabilities in tests: values in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bulkhead_sandbox::{
    ConfigSource, KvEntry, KvError, KvPage, KvSpace, ProgressSink, SecretError, SecretSource,
    SecretValue,
};
use parking_lot::Mutex;

/// Values in memory, without quotas, that stay for good.
#[derive(Default)]
pub(crate) struct Store {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    version: u64,
    values: BTreeMap<String, KvEntry>,
    failures: VecDeque<KvError>,
}

pub(crate) fn store() -> Arc<Store> {
    Arc::default()
}

impl Store {
    /// Let the next call fail.
    pub(crate) fn fail_next(&self, error: KvError) {
        self.state.lock().failures.push_back(error);
    }

    fn call<T>(&self, call: impl FnOnce(&mut State) -> Result<T, KvError>) -> Result<T, KvError> {
        let mut state = self.state.lock();
        match state.failures.pop_front() {
            Some(error) => Err(error),
            None => call(&mut state),
        }
    }
}

impl State {
    fn write(&mut self, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> u64 {
        self.version += 1;
        let entry = KvEntry { value, version: self.version, ttl_ms };
        self.values.insert(key.to_owned(), entry);
        self.version
    }
}

#[async_trait]
impl KvSpace for Store {
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        self.call(|state| Ok(state.values.get(key).cloned()))
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<u64, KvError> {
        self.call(|state| Ok(state.write(key, value, ttl_ms)))
    }

    async fn delete(&self, key: &str) -> Result<bool, KvError> {
        self.call(|state| Ok(state.values.remove(key).is_some()))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<KvPage, KvError> {
        self.call(|state| {
            let found = state.values.keys().filter(|key| key.starts_with(prefix));
            let mut found = found.filter(|key| after.is_none_or(|after| key.as_str() > after));
            let keys = found.by_ref().take(limit as usize).cloned().collect();
            Ok(KvPage { keys, more: found.next().is_some() })
        })
    }

    async fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
        self.call(|state| {
            let number = match state.values.get(key) {
                None => Some(0),
                Some(entry) => String::from_utf8_lossy(&entry.value).parse::<i64>().ok(),
            };
            let sum = number.and_then(|number| number.checked_add(by));
            let sum = sum.ok_or_else(|| KvError::Invalid(format!("`{key}` is no number")))?;
            state.write(key, sum.to_string().into_bytes(), ttl_ms);
            Ok(sum)
        })
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<Option<u64>, KvError> {
        self.call(|state| {
            let held = state.values.get(key).map(|entry| entry.version);
            Ok((held == expected).then(|| state.write(key, value, ttl_ms)))
        })
    }
}

/// A store that never answers.
pub(crate) struct Stuck;

#[async_trait]
impl KvSpace for Stuck {
    async fn get(&self, _: &str) -> Result<Option<KvEntry>, KvError> {
        std::future::pending().await
    }

    async fn set(&self, _: &str, _: Vec<u8>, _: Option<u64>) -> Result<u64, KvError> {
        std::future::pending().await
    }

    async fn delete(&self, _: &str) -> Result<bool, KvError> {
        std::future::pending().await
    }

    async fn list(&self, _: &str, _: Option<&str>, _: u32) -> Result<KvPage, KvError> {
        std::future::pending().await
    }

    async fn increment(&self, _: &str, _: i64, _: Option<u64>) -> Result<i64, KvError> {
        std::future::pending().await
    }

    async fn compare_and_set(
        &self,
        _: &str,
        _: Option<u64>,
        _: Vec<u8>,
        _: Option<u64>,
    ) -> Result<Option<u64>, KvError> {
        std::future::pending().await
    }
}

/// Values of an operator: configuration, or secrets.
pub(crate) struct Values(Mutex<BTreeMap<String, String>>);

impl Values {
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Arc<Self> {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Arc::new(Self(Mutex::new(pairs.collect())))
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        self.0.lock().insert(key.to_owned(), value.to_owned());
    }

    /// What is said of the secret `away`.
    pub(crate) fn away() -> SecretError {
        SecretError::Unavailable("its file cannot be read".to_owned())
    }
}

impl ConfigSource for Values {
    fn get(&self, key: &str) -> Option<String> {
        self.0.lock().get(key).cloned()
    }
}

#[async_trait]
impl SecretSource for Values {
    async fn get(&self, name: &str) -> Result<SecretValue, SecretError> {
        if name == "away" {
            return Err(Self::away());
        }
        let value = self.0.lock().get(name).cloned();
        value.map(SecretValue::new).ok_or(SecretError::Unknown)
    }
}

/// The host's own code with a bug in it.
pub(crate) struct Buggy;

impl ConfigSource for Buggy {
    fn get(&self, key: &str) -> Option<String> {
        panic!("nobody thought of {key}")
    }
}

/// The progress that was heard of.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Mutex<Vec<String>>);

impl ProgressSink for Heard {
    fn report(&self, _: f32, message: &str) {
        self.0.lock().push(message.to_owned());
    }
}
