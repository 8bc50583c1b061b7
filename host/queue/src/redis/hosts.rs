//! The registry of running hosts: one expiring key each, indexed by a sorted set.

use std::time::Duration;

use redis::{Cmd, Value};

use super::{RedisBroker, script};
use crate::broker::Signal;
use crate::document::DocumentKind;
use crate::error::QueueError;
use crate::host::HostInfo;

/// Hosts listed at most.
const MAX_HOSTS: isize = 1_000;
/// Hosts looked up in one call.
const CALL_HOSTS: usize = 100;
/// The words on the channel of all hosts.
const RESCAN: &str = "rescan";
const SCHEDULES: &str = "schedules";
/// Before the name of a kind.
const DOCUMENTS: &str = "documents ";

fn key(broker: &RedisBroker, name: &str) -> String {
    format!("{}:host:{name}", broker.namespace)
}

pub(super) async fn announce(
    broker: &RedisBroker,
    host: &HostInfo,
    ttl: Duration,
) -> Result<(), QueueError> {
    let info = rmp_serde::to_vec_named(host)
        .map_err(|e| QueueError::Refused(format!("cannot encode the host's state: {e}")))?;
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
    broker.run(&Cmd::pset_ex(key(broker, &host.name), info, ttl_ms)).await?;
    let index = format!("{}:hosts", broker.namespace);
    broker.run(&Cmd::zadd(&index, &host.name, host.seen_at)).await?;
    let long_gone = host.seen_at.saturating_sub(3_600_000);
    broker.run(&Cmd::zrembyscore(&index, "-inf", long_gone)).await.map(|_| ())
}

pub(super) async fn withdraw(broker: &RedisBroker, name: &str) -> Result<(), QueueError> {
    broker.run(&Cmd::del(key(broker, name))).await?;
    broker.run(&Cmd::zrem(format!("{}:hosts", broker.namespace), name)).await.map(|_| ())
}

pub(super) async fn list(broker: &RedisBroker) -> Result<Vec<HostInfo>, QueueError> {
    let index = Cmd::zrange(format!("{}:hosts", broker.namespace), 0, MAX_HOSTS - 1);
    let names = script::array(broker.run(&index).await?)?.into_iter();
    let names: Vec<String> = names.map(script::text).collect::<Result<_, _>>()?;
    let mut hosts = Vec::with_capacity(names.len());
    for some in names.chunks(CALL_HOSTS) {
        let keys = some.iter().map(|name| key(broker, name)).collect();
        for (_, keys) in broker.connection.lots(keys, String::as_str) {
            let infos = script::array(broker.run(&Cmd::mget(&keys)).await?)?.into_iter();
            hosts.extend(infos.filter_map(|info| match info {
                Value::BulkString(info) => rmp_serde::from_slice::<HostInfo>(&info).ok(),
                _ => None,
            }));
        }
    }
    // In a Cluster they come by slot.
    hosts.sort_by(|a, b| (a.seen_at, &a.name).cmp(&(b.seen_at, &b.name)));
    Ok(hosts)
}

pub(super) async fn request_rescan(broker: &RedisBroker) -> Result<u64, QueueError> {
    let reply = broker.run(&Cmd::publish(channel(&broker.namespace), RESCAN)).await?;
    script::integer(reply).map(|heard| u64::try_from(heard).unwrap_or(0))
}

/// Tell hosts that schedules have changed. They look by themselves too, so that a message
/// that is lost costs time only.
pub(super) async fn tell_of_schedules(broker: &RedisBroker) {
    let told = broker.run(&Cmd::publish(channel(&broker.namespace), SCHEDULES)).await;
    if let Err(error) = told {
        tracing::debug!(%error, "hosts could not be told of changed schedules");
    }
}

/// Tell hosts that documents have changed. They look by themselves too.
pub(super) async fn tell_of_documents(broker: &RedisBroker, kind: DocumentKind) {
    let word = format!("{DOCUMENTS}{}", kind.as_str());
    if let Err(error) = broker.run(&Cmd::publish(channel(&broker.namespace), word)).await {
        tracing::debug!(%error, "hosts could not be told of changed documents");
    }
}

/// What a message on the channel of all hosts means.
pub(super) fn said(message: &[u8]) -> Option<Signal> {
    match message {
        word if word == RESCAN.as_bytes() => Some(Signal::Rescan),
        word if word == SCHEDULES.as_bytes() => Some(Signal::Schedules),
        word => {
            let kind = std::str::from_utf8(word).ok()?.strip_prefix(DOCUMENTS)?;
            DocumentKind::named(kind).map(Signal::Documents)
        }
    }
}

pub(super) fn channel(namespace: &str) -> String {
    format!("{namespace}:control")
}
