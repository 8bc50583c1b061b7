//! What a host says of itself: to the broker, again and again, that it runs and with what; to
//! its operator, once, that its memory is short.
//!
//! An announcement is believed for a while only, so that nobody has to take back that of a
//! host that was killed.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_queue::{HostInfo, HostMemory, TenantLoad};

use super::lines::Lines;
use crate::clock::unix_ms;
use crate::options::FleetPolicy;
use crate::shutdown::Shutdown;

/// How often a host says that it runs.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3);
/// Between two times of saying so, however often files change.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(50);
/// How long it is believed.
const ANNOUNCE_TTL: Duration = Duration::from_secs(15);

impl Lines {
    /// Say so if the memory admits fewer attempts at once than are allowed.
    pub(super) fn warn_of_little_memory(&self) {
        let Some(ceiling) = self.options.memory_bytes else { return };
        let most_bytes = self.shared.registry.table().most_bytes();
        let admitted = self.shared.budget.admits(most_bytes);
        let concurrency = self.options.concurrency;
        if most_bytes > 0 && admitted < concurrency {
            tracing::warn!(
                admitted,
                concurrency,
                attempt_mib = most_bytes.div_ceil(1 << 20),
                host_memory_mib = ceiling >> 20,
                "the host's memory admits fewer attempts at once of the plugin that needs most \
                 than `host.concurrency`; others wait their turn; lower `limits.memory` or the \
                 plugin's own, or raise `host.memory`"
            );
        }
    }

    /// How the host's memory stands, if it is bounded.
    fn memory(&self) -> Option<HostMemory> {
        let status = self.shared.budget.status();
        Some(HostMemory {
            ceiling_bytes: self.options.memory_bytes?,
            budget_bytes: status.total_bytes,
            held_bytes: status.held_bytes,
            waiting: status.waiting,
        })
    }

    fn in_flight(&self) -> u32 {
        let running: usize = self.lines.iter().map(|line| line.ledger.glance().running).sum();
        u32::try_from(running).unwrap_or(u32::MAX)
    }

    /// Whose attempts run, most first.
    fn tenants(&self) -> Vec<TenantLoad> {
        let mut counts = BTreeMap::new();
        self.lines.iter().for_each(|line| line.ledger.count_tenants(&mut counts));
        let load = |(tenant, in_flight)| TenantLoad { tenant, in_flight };
        let mut tenants: Vec<TenantLoad> = counts.into_iter().map(load).collect();
        tenants.sort_by(|a, b| b.in_flight.cmp(&a.in_flight).then_with(|| a.tenant.cmp(&b.tenant)));
        tenants.truncate(HostInfo::TENANTS);
        tenants
    }

    /// Say again and again that the host runs, and at once when its plugins change or it drains.
    pub(super) async fn announce(self, mut shutdown: Shutdown) {
        let (mut news, mut rescans) = (self.shared.registry.news(), self.shared.registry.rescans());
        let mut draining = false;
        loop {
            let info = HostInfo {
                name: self.options.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                started_at: self.started_at,
                seen_at: unix_ms(),
                concurrency: self.shared.permits.total(),
                in_flight: self.in_flight(),
                memory: self.memory(),
                queues: self.lines.iter().map(|line| line.queue.name.to_string()).collect(),
                plugins: self.shared.registry.info(),
                rescans: *rescans.borrow_and_update(),
                isolation: self.layers.clone(),
                fleet: self.options.fleet != FleetPolicy::Off,
                scaling: self.vitals.scaling(),
                draining,
                refusing: self.vitals.refusing(),
                types: self.shared.metrics.types(),
                tenants: self.tenants(),
                latency: self.shared.metrics.latency(),
            };
            if let Err(error) = self.shared.broker.announce_host(&info, ANNOUNCE_TTL).await {
                tracing::debug!(%error, "cannot announce the host");
            }
            tokio::time::sleep(ANNOUNCE_PAUSE).await;
            tokio::select! {
                _ = news.changed() => {}
                _ = rescans.changed() => {}
                () = shutdown.drained(), if !draining => draining = true,
                () = tokio::time::sleep(ANNOUNCE_EVERY) => {}
            }
        }
    }
}
