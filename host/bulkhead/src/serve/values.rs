//! What stands behind `kv`: the values of one plugin and tenant, in the broker in use.
//!
//! The broker is asked on the control side, where its connections live. What it says of itself
//! goes to the log; a guest hears that it does not answer, and nothing of where it is.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bulkhead_queue::{
    Broker, KvBound, KvEdit, KvOwner, KvQuota, KvRange, KvWrite, KvWritten, QueueError,
};
use bulkhead_sandbox::{KvEntry, KvError, KvPage, KvSpace};
use tokio::runtime::Handle as Runtime;

/// The values of one plugin and tenant, within these quotas.
pub(super) struct BrokerValues {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) control: Runtime,
    pub(super) owner: KvOwner,
    pub(super) quota: KvQuota,
}

impl BrokerValues {
    async fn ask<T, A>(&self, asking: impl FnOnce(Arc<dyn Broker>, KvOwner) -> A) -> Answer<T>
    where
        T: Send + 'static,
        A: Future<Output = Result<T, QueueError>> + Send + 'static,
    {
        let asked = self.control.spawn(asking(self.broker.clone(), self.owner.clone())).await;
        match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let KvOwner { tenant, plugin } = &self.owner;
                tracing::debug!(%tenant, %plugin, %error, "the broker did not answer for kv");
                Err(away())
            }
            // The host stops.
            Err(_) => Err(away()),
        }
    }

    async fn write(
        &self,
        key: &str,
        edit: KvEdit,
        ttl_ms: Option<u64>,
    ) -> Result<KvWritten, KvError> {
        let write = KvWrite { key: key.to_owned(), edit, ttl_ms, quota: self.quota };
        let asking =
            |broker: Arc<dyn Broker>, owner| async move { broker.kv_write(&owner, &write).await };
        match self.ask(asking).await? {
            KvWritten::NotANumber => Err(KvError::Invalid(format!(
                "what is stored under `{key}` is not the decimal text of a number of 64 bits"
            ))),
            KvWritten::BeyondRange => {
                Err(KvError::Invalid(format!("the sum under `{key}` is beyond 64 bits")))
            }
            KvWritten::Over(bound) => Err(KvError::Quota(over(bound, &self.quota))),
            done => Ok(done),
        }
    }
}

type Answer<T> = Result<T, KvError>;

#[async_trait]
impl KvSpace for BrokerValues {
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        let key = key.to_owned();
        let asking =
            |broker: Arc<dyn Broker>, owner| async move { broker.kv_get(&owner, &key).await };
        let found = self.ask(asking).await?;
        Ok(found.map(|entry| KvEntry {
            value: entry.value,
            version: entry.version,
            ttl_ms: entry.ttl_ms,
        }))
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<u64, KvError> {
        match self.write(key, KvEdit::Set(value), ttl_ms).await? {
            KvWritten::Stored(version) => Ok(version),
            other => Err(strange(other)),
        }
    }

    async fn delete(&self, key: &str) -> Result<bool, KvError> {
        match self.write(key, KvEdit::Delete, None).await? {
            KvWritten::Deleted(was_there) => Ok(was_there),
            other => Err(strange(other)),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<KvPage, KvError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let range = KvRange { prefix, after, limit };
        let asking =
            |broker: Arc<dyn Broker>, owner| async move { broker.kv_list(&owner, &range).await };
        let page = self.ask(asking).await?;
        Ok(KvPage { keys: page.keys, more: page.more })
    }

    async fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
        match self.write(key, KvEdit::Add(by), ttl_ms).await? {
            KvWritten::Sum(sum) => Ok(sum),
            other => Err(strange(other)),
        }
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<Option<u64>, KvError> {
        match self.write(key, KvEdit::Swap { expected, value }, ttl_ms).await? {
            KvWritten::Stored(version) => Ok(Some(version)),
            KvWritten::Unmatched => Ok(None),
            other => Err(strange(other)),
        }
    }
}

fn over(bound: KvBound, quota: &KvQuota) -> String {
    let KvQuota { keys, total_bytes, storage_bytes } = quota;
    match bound {
        KvBound::Keys => {
            format!("the plugin may keep {keys} keys for the tenant and no more (`keys`)")
        }
        KvBound::Total => format!(
            "the plugin may keep {total_bytes} bytes of keys and values for the tenant and no \
             more (`total`)"
        ),
        KvBound::Storage => format!(
            "the tenant may keep {} bytes over all plugins and no more (`storage`)",
            storage_bytes.unwrap_or_default()
        ),
    }
}

fn away() -> KvError {
    KvError::Unavailable("the store does not answer; a write may have been made".to_owned())
}

fn strange(written: KvWritten) -> KvError {
    tracing::warn!(?written, "the broker's answer is none to what it was asked for kv");
    away()
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{PluginName, TenantName};
    use bulkhead_queue::{EmbeddedBroker, RedisBroker, RedisConfig};

    use super::*;

    const QUOTA: KvQuota = KvQuota { keys: 2, total_bytes: 20, storage_bytes: Some(25) };

    fn values(broker: Arc<dyn Broker>, plugin: &str) -> BrokerValues {
        let plugin = PluginName::new(plugin).unwrap().into();
        BrokerValues {
            broker,
            control: Runtime::current(),
            owner: KvOwner { tenant: TenantName::default(), plugin },
            quota: QUOTA,
        }
    }

    fn quota(written: Result<u64, KvError>) -> String {
        match written {
            Err(KvError::Quota(which)) => which,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn answers_are_told_as_the_interface_has_them() {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let mine = values(broker, "p");
        assert_eq!(mine.get("k").await, Ok(None));
        assert_eq!(mine.set("k", b"v".to_vec(), Some(60_000)).await, Ok(1));
        let entry = mine.get("k").await.unwrap().unwrap();
        assert!(entry.value == b"v" && entry.version == 1 && entry.ttl_ms.is_some());
        assert_eq!(mine.compare_and_set("k", Some(7), b"w".to_vec(), None).await, Ok(None));
        assert_eq!(mine.compare_and_set("k", Some(1), b"w".to_vec(), None).await, Ok(Some(2)));
        assert_eq!(mine.increment("n", 4, None).await, Ok(4));
        let page = mine.list("", None, 1).await.unwrap();
        assert_eq!((page.keys, page.more), (vec!["k".to_owned()], true));
        let page = mine.list("", Some("k"), 1).await.unwrap();
        assert_eq!((page.keys, page.more), (vec!["n".to_owned()], false));
        assert_eq!((mine.delete("k").await, mine.delete("k").await), (Ok(true), Ok(false)));
    }

    #[tokio::test]
    async fn what_is_refused_names_the_key_or_the_quota() {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let (mine, other) = (values(broker.clone(), "p"), values(broker, "q"));
        mine.set("k", b"v".to_vec(), None).await.unwrap();
        for (stored, by, says) in [("v", 1, "`k` is not the decimal"), ("1", i64::MAX, "beyond")] {
            mine.set("k", stored.into(), None).await.unwrap();
            let Err(KvError::Invalid(why)) = mine.increment("k", by, None).await else {
                panic!("invalid")
            };
            assert!(why.contains(says) && why.contains("`k`"), "{why}");
        }
        let total = quota(mine.set("l", vec![0; 18], None).await);
        assert!(total.contains("20 bytes") && total.contains("`total`"), "{total}");
        mine.set("l", vec![0; 17], None).await.unwrap();
        let keys = quota(mine.set("m", Vec::new(), None).await);
        assert!(keys.contains("2 keys") && keys.contains("`keys`"), "{keys}");
        let storage = quota(other.set("m", vec![0; 5], None).await);
        assert!(storage.contains("25 bytes") && storage.contains("`storage`"), "{storage}");
    }

    #[tokio::test]
    async fn a_broker_that_is_away_is_not_told_of() {
        let server = bulkhead_stage::RedisServer::start();
        let config = RedisConfig::new(server.url());
        let mine = values(Arc::new(RedisBroker::connect(config).await.unwrap()), "p");
        assert_eq!(mine.set("k", b"v".to_vec(), None).await, Ok(1));
        let port = server.port().to_string();
        drop(server);
        for told in [mine.get("k").await.unwrap_err(), mine.delete("k").await.unwrap_err()] {
            let KvError::Unavailable(why) = told else { panic!("{told:?}") };
            assert!(!why.contains(&port) && !why.contains("127.0.0.1"), "{why}");
        }
    }
}
