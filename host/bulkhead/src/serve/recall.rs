//! Results that are remembered, for task types whose operator asked for it.
//!
//! A result answers for every later task of which the same plugin version would see the
//! same: type, tenant, metadata, payload and parents. Remembering is a favour: whatever goes wrong
//! with it, the handler runs and the task is none the worse.

use std::future::Future;
use std::time::Duration;

use bulkhead_core::{Digest, Payload, Task};
use bulkhead_queue::QueueError;
use sha2::{Digest as _, Sha256};

use super::line::Line;

/// The longest that an attempt waits for the memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// The result of one task, as far as it is remembered.
pub(super) struct Memory {
    key: String,
    ttl_ms: u64,
}

impl Memory {
    /// Of this task, run by this version of the plugin of this identity.
    pub(super) fn of(task: &Task, plugin: &str, version: Digest, ttl_ms: u64) -> Self {
        Self { key: key(task, plugin, version), ttl_ms }
    }

    /// The result, if one is kept.
    pub(super) async fn recall(&self, line: &Line) -> Option<Payload> {
        let (broker, queue) = (line.shared.broker.clone(), line.queue.name.clone());
        let key = self.key.clone();
        on_time(line, "recall", async move { broker.recall(&queue, &key).await }).await.flatten()
    }

    /// Keep the result.
    pub(super) async fn remember(&self, line: &Line, output: &Payload) {
        let (broker, queue) = (line.shared.broker.clone(), line.queue.name.clone());
        let (key, output, ttl_ms) = (self.key.clone(), output.clone(), self.ttl_ms);
        let remembering = async move { broker.remember(&queue, &key, &output, ttl_ms).await };
        on_time(line, "remember", remembering).await;
    }
}

/// Ask the broker on the control side, where its connections live, and not for long.
async fn on_time<T: Send + 'static>(
    line: &Line,
    what: &str,
    asking: impl Future<Output = Result<T, QueueError>> + Send + 'static,
) -> Option<T> {
    let asked = line.shared.control.spawn(tokio::time::timeout(PATIENCE, asking)).await;
    match asked {
        Ok(Ok(Ok(answer))) => return Some(answer),
        Ok(Ok(Err(error))) => {
            tracing::debug!(queue = %line.queue.name, what, %error, "no help from remembered results");
        }
        Ok(Err(_)) => tracing::debug!(queue = %line.queue.name, what, "the memory is slow"),
        Err(error) => tracing::debug!(queue = %line.queue.name, what, %error, "cannot ask"),
    }
    None
}

/// The name of a result: the type, and a hash of all else that the handler sees. Each part
/// is preceded by its length, so that no two inputs read alike.
fn key(task: &Task, plugin: &str, version: Digest) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(&version.0);
    // The same content of another owner may be granted other things.
    part(plugin.as_bytes());
    part(task.tenant.as_str().as_bytes());
    part(task.payload.content_type.as_bytes());
    part(&task.payload.data);
    part(&(task.metadata.len() as u64).to_be_bytes());
    for (key, value) in &task.metadata {
        part(key.as_bytes());
        part(value.as_bytes());
    }
    // The handler reads what these came to.
    for parent in &task.terms.after {
        part(parent.to_string().as_bytes());
    }
    format!("{}:{}", task.task_type, Digest(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{QueueName, TaskType, TenantName, Terms};

    use super::*;

    fn task() -> Task {
        Task {
            id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
            task_type: TaskType::new("t").unwrap(),
            queue: QueueName::default(),
            tenant: TenantName::default(),
            priority: Default::default(),
            payload: Payload::new("text/plain", "abc"),
            metadata: vec![("a".into(), "b".into())],
            trace: None,
            limits: Default::default(),
            submitted_at: 1,
            terms: Terms::default(),
        }
    }

    #[test]
    fn a_result_is_bound_to_all_that_its_handler_sees() {
        let version = Digest([1; 32]);
        let key = |task: &Task, version| super::key(task, "p", version);
        let same = Task {
            id: "0190163d-8694-739b-aea5-966c26f8ad92".parse().unwrap(),
            submitted_at: 9,
            queue: QueueName::new("other").unwrap(),
            ..task()
        };
        assert_eq!(key(&same, version), key(&task(), version));

        let after = vec!["mail/0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap()];
        let payload = |kind: &str, data: &str| Payload::new(kind, data);
        let others = [
            Task { task_type: TaskType::new("u").unwrap(), ..task() },
            Task { tenant: TenantName::new("acme").unwrap(), ..task() },
            Task { payload: payload("text/html", "abc"), ..task() },
            Task { payload: payload("text/plain", "abd"), ..task() },
            Task { payload: payload("text/plaina", "bc"), ..task() },
            Task { metadata: vec![("ab".into(), String::new())], ..task() },
            Task { metadata: Vec::new(), ..task() },
            Task { terms: Terms { after, ..Terms::default() }, ..task() },
        ];
        for other in &others {
            assert_ne!(key(other, version), key(&task(), version), "{other:?}");
        }
        assert_ne!(key(&task(), Digest([2; 32])), key(&task(), version));
        assert_ne!(super::key(&task(), "acme/p", version), key(&task(), version));
    }
}
