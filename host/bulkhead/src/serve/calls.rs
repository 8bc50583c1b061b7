//! Guests' calls to what they were granted: counted, and noted down where their attempt is
//! traced.
//!
//! `kv`, `config` and `secrets` are watched where the host does them, so it is the same in
//! worker processes; the sandbox tells of the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bulkhead_sandbox::{
    Call, CallObserver, ConfigSource, KvEntry, KvError, KvPage, KvSpace, SecretError, SecretSource,
    SecretValue,
};
use parking_lot::Mutex;

use crate::metrics::{Counter, Metrics};

/// Calls of one attempt that are noted down.
const MAX_NOTED: usize = 64;

const CAPABILITIES: [&str; 6] = ["kv", "http", "fs", "config", "secrets", "enqueue"];

/// A call that was noted down.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) capability: &'static str,
    pub(crate) operation: String,
    pub(crate) target: Option<String>,
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    pub(crate) succeeded: bool,
}

/// The calls of one attempt that is traced.
#[derive(Default)]
pub(crate) struct Notes {
    noted: Mutex<Vec<Noted>>,
}

impl Notes {
    /// The first [`MAX_NOTED`].
    pub(crate) fn take(&self) -> Vec<Noted> {
        std::mem::take(&mut self.noted.lock())
    }
}

/// Counts calls.
pub(crate) struct Counted(Arc<Counts>);

type Counts = [Arc<Counter>; CAPABILITIES.len()];

/// Counts calls, and notes them down for one attempt.
struct Traced {
    counts: Arc<Counts>,
    notes: Arc<Notes>,
}

fn count(counts: &Counts, call: &Call<'_>) {
    let at = CAPABILITIES.iter().position(|capability| *capability == call.capability);
    if let Some(counter) = at.and_then(|at| counts.get(at)) {
        counter.add(1);
    }
}

impl CallObserver for Counted {
    fn called(&self, call: &Call<'_>) {
        count(&self.0, call);
    }
}

impl CallObserver for Traced {
    fn called(&self, call: &Call<'_>) {
        count(&self.counts, call);
        let mut noted = self.notes.noted.lock();
        if noted.len() < MAX_NOTED {
            noted.push(Noted {
                capability: call.capability,
                operation: call.operation.to_owned(),
                target: call.target.map(|target| target.to_string()),
                began: call.began,
                took: call.began.elapsed(),
                succeeded: call.succeeded,
            });
        }
    }
}

impl Counted {
    pub(crate) fn new(metrics: &Metrics) -> Arc<Self> {
        let calls = &metrics.families().host_calls;
        Arc::new(Self(Arc::new(CAPABILITIES.map(|capability| calls.of(&[capability])))))
    }

    /// Who is told of an attempt's calls.
    pub(crate) fn observer(self: &Arc<Self>, notes: Option<&Arc<Notes>>) -> Arc<dyn CallObserver> {
        match notes {
            None => self.clone(),
            Some(notes) => Arc::new(Traced { counts: self.0.clone(), notes: notes.clone() }),
        }
    }
}

/// A service whose calls somebody is told of.
pub(crate) struct Watched<S: ?Sized> {
    pub(crate) calls: Arc<dyn CallObserver>,
    pub(crate) inner: Arc<S>,
}

impl<S: ?Sized> Watched<S> {
    fn tell(&self, capability: &'static str, operation: &str, began: Instant, succeeded: bool) {
        self.calls.called(&Call { capability, operation, target: None, began, succeeded });
    }

    async fn kv<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, KvError>>,
    ) -> Result<T, KvError> {
        let began = Instant::now();
        let answer = call.await;
        self.tell("kv", operation, began, answer.is_ok());
        answer
    }
}

#[async_trait]
impl KvSpace for Watched<dyn KvSpace> {
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        self.kv("get", self.inner.get(key)).await
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<u64, KvError> {
        self.kv("set", self.inner.set(key, value, ttl_ms)).await
    }

    async fn delete(&self, key: &str) -> Result<bool, KvError> {
        self.kv("delete", self.inner.delete(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<KvPage, KvError> {
        self.kv("list", self.inner.list(prefix, after, limit)).await
    }

    async fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
        self.kv("increment", self.inner.increment(key, by, ttl_ms)).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<Option<u64>, KvError> {
        let call = self.inner.compare_and_set(key, expected, value, ttl_ms);
        self.kv("compare_and_set", call).await
    }
}

impl ConfigSource for Watched<dyn ConfigSource> {
    fn get(&self, key: &str) -> Option<String> {
        let began = Instant::now();
        let value = self.inner.get(key);
        self.tell("config", "get", began, true);
        value
    }
}

#[async_trait]
impl SecretSource for Watched<dyn SecretSource> {
    async fn get(&self, name: &str) -> Result<SecretValue, SecretError> {
        let began = Instant::now();
        let value = self.inner.get(name).await;
        self.tell("secrets", "get", began, value.is_ok());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_all_and_noted_down_to_a_bound() {
        let metrics = Metrics::default();
        let counted = Counted::new(&metrics);
        let notes = Arc::<Notes>::default();
        let observer = counted.observer(Some(&notes));
        let call = Call {
            capability: "kv",
            operation: "get",
            target: None,
            began: Instant::now(),
            succeeded: true,
        };
        (0..MAX_NOTED * 2).for_each(|_| observer.called(&call));
        counted.observer(None).called(&call);
        assert_eq!(notes.take().len(), MAX_NOTED);
        let text = metrics.render();
        let line = format!("bulkhead_host_calls_total{{capability=\"kv\"}} {}", MAX_NOTED * 2 + 1);
        assert!(text.contains(&line), "{text}");
    }
}
