//! The registry of running hosts, in memory: it is about this process alone.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::host::HostInfo;

#[derive(Debug, Default)]
pub(super) struct Hosts(Mutex<BTreeMap<String, (HostInfo, u64)>>);

impl Hosts {
    pub(super) fn announce(&self, host: &HostInfo, ttl: Duration, now_ms: u64) {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let until_ms = now_ms.saturating_add(ttl_ms);
        let mut hosts = self.0.lock();
        hosts.retain(|_, (_, until_ms)| *until_ms >= now_ms);
        hosts.insert(host.name.clone(), (host.clone(), until_ms));
    }

    pub(super) fn withdraw(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// Those that have announced themselves in time, the latest last.
    pub(super) fn list(&self, now_ms: u64) -> Vec<HostInfo> {
        let hosts = self.0.lock();
        let running = hosts.values().filter(|(_, until_ms)| *until_ms >= now_ms);
        let mut running: Vec<HostInfo> = running.map(|(host, _)| host.clone()).collect();
        running.sort_by(|a, b| (a.seen_at, &a.name).cmp(&(b.seen_at, &b.name)));
        running
    }
}
