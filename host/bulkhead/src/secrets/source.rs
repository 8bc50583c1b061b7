//! Secrets for attempts: read when they are asked for, kept for a moment.
//!
//! One reading of a secret serves all who ask meanwhile and for a few seconds after, so that no
//! guest can make the host read or ask the broker more often. A guest hears that a secret is not
//! available; why is in the host's log alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bulkhead_core::TenantName;
use bulkhead_queue::{Broker, SecretId};
use bulkhead_sandbox::{SecretError, SecretSource, SecretValue};
use parking_lot::Mutex;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Mutex as AsyncMutex;

use super::{KeyRing, Place, SecretSettings, open};
use crate::plugins::{LiveSettings, PluginSettings};

/// How long a value is good for, from when its reading began: with the longest reading under
/// the 5 s after which every change is seen.
const GOOD_FOR: Duration = Duration::from_secs(3);
/// How long a failure to read is.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// The longest that reading takes.
const PATIENCE: Duration = Duration::from_millis(1_900);

/// What a guest is told of a secret that cannot be read.
const NOT_NOW: &str = "it cannot be read now; the host's log says why";

/// The secrets of a host.
#[derive(Clone)]
pub(crate) struct Secrets {
    live: LiveSettings,
    broker: Arc<dyn Broker>,
    /// Where the broker's connections live.
    control: Runtime,
    kept: Arc<Mutex<Kept>>,
}

/// What was read, under the settings that it was read by.
#[derive(Default)]
struct Kept {
    settings: Arc<PluginSettings>,
    slots: HashMap<SecretId, Slot>,
}

/// What was last read of one secret. Whoever reads it holds the lock.
type Slot = Arc<AsyncMutex<Option<Reading>>>;

struct Reading {
    began: Instant,
    /// What came of it; in the log's words if nothing did.
    outcome: Result<SecretValue, Failure>,
}

#[derive(Clone, PartialEq, Eq)]
enum Failure {
    /// Nothing is stored.
    Absent,
    Unreadable(String),
}

impl Secrets {
    pub(crate) fn new(live: LiveSettings, broker: Arc<dyn Broker>, control: Runtime) -> Self {
        Self { live, broker, control, kept: Arc::default() }
    }

    /// The secrets of one tenant.
    pub(crate) fn of(&self, tenant: &TenantName) -> Arc<dyn SecretSource> {
        Arc::new(OfTenant { secrets: self.clone(), tenant: tenant.clone() })
    }

    async fn value(&self, tenant: &TenantName, name: &str) -> Result<SecretValue, SecretError> {
        let settings = self.live.now();
        let Some((id, place)) = settings.secrets.find(tenant, name) else {
            return Err(SecretError::Unknown);
        };
        let slot = self.slot(&settings, id);
        let mut held = slot.lock().await;
        if let Some(reading) = held.as_ref().filter(|reading| reading.is_good()) {
            return reading.answer();
        }
        let began = Instant::now();
        let outcome = self.read(settings.secrets.clone(), id.clone(), place.clone()).await;
        let reading = Reading { began, outcome };
        reading.log(id, held.as_ref());
        let answer = reading.answer();
        *held = Some(reading);
        answer
    }

    /// Where a secret is kept. What was read by other settings is let go, since a secret may be
    /// elsewhere now.
    fn slot(&self, settings: &Arc<PluginSettings>, id: &SecretId) -> Slot {
        let mut kept = self.kept.lock();
        if !Arc::ptr_eq(&kept.settings, settings) {
            *kept = Kept { settings: settings.clone(), slots: HashMap::new() };
        }
        kept.slots.entry(id.clone()).or_default().clone()
    }

    /// Read a secret on the control side, and not for long.
    async fn read(
        &self,
        settings: Arc<SecretSettings>,
        id: SecretId,
        place: Place,
    ) -> Result<SecretValue, Failure> {
        let broker = self.broker.clone();
        let reading = async move {
            match place {
                Place::Given(given) => blocking(move || given.secret()).await,
                Place::Stored => stored(broker.as_ref(), settings, id).await,
            }
        };
        match self.control.spawn(tokio::time::timeout(PATIENCE, reading)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Failure::Unreadable(format!("no answer within {PATIENCE:?}"))),
            Err(error) => Err(Failure::Unreadable(error.to_string())),
        }
    }
}

/// Open what the broker keeps under this id.
async fn stored(
    broker: &dyn Broker,
    settings: Arc<SecretSettings>,
    id: SecretId,
) -> Result<SecretValue, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::Unreadable(error.to_string());
    let found = broker.secrets(std::slice::from_ref(&id)).await.map_err(|e| unreadable(&e))?;
    let sealed = found.into_iter().next().flatten().ok_or(Failure::Absent)?;
    blocking(move || {
        let places = settings.key.as_ref().ok_or("no `secrets_key` is configured")?;
        let ring = KeyRing::read(places)?;
        open(&ring, &settings.namespace, &id, &sealed).map_err(|error| error.to_string())
    })
    .await
}

/// Do what may wait for a disk.
async fn blocking(
    read: impl FnOnce() -> Result<SecretValue, String> + Send + 'static,
) -> Result<SecretValue, Failure> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| Failure::Unreadable(error.to_string()))?.map_err(Failure::Unreadable)
}

impl Reading {
    fn is_good(&self) -> bool {
        let for_long = if self.outcome.is_ok() { GOOD_FOR } else { FAILED_FOR };
        self.began.elapsed() < for_long
    }

    fn answer(&self) -> Result<SecretValue, SecretError> {
        self.outcome.clone().map_err(|failure| match failure {
            Failure::Absent => SecretError::Unknown,
            Failure::Unreadable(_) => SecretError::Unavailable(NOT_NOW.to_owned()),
        })
    }

    /// Say why there is no value, unless that was said of the reading before.
    fn log(&self, id: &SecretId, before: Option<&Self>) {
        let Err(failure) = &self.outcome else { return };
        if before.is_some_and(|before| before.outcome.as_ref() == Err(failure)) {
            return;
        }
        let (secret, tenant) = (id.name(), id.tenant().map(TenantName::as_str));
        match failure {
            Failure::Absent => tracing::warn!(
                secret,
                tenant,
                "a secret is not stored; store it with `bulkhead secret put`"
            ),
            Failure::Unreadable(reason) => {
                tracing::warn!(secret, tenant, %reason, "a secret cannot be read");
            }
        }
    }
}

/// The secrets of one tenant. Which of them a plugin may have is seen to before it is asked.
struct OfTenant {
    secrets: Secrets,
    tenant: TenantName,
}

#[async_trait]
impl SecretSource for OfTenant {
    async fn get(&self, name: &str) -> Result<SecretValue, SecretError> {
        self.secrets.value(&self.tenant, name).await
    }
}

#[cfg(test)]
mod tests;
