//! Judging canaries: this host says what it counted, and looks whether all hosts have seen enough.
//!
//! Every host does so, about once a second, and where there are many hosts more rarely, so that
//! all of them together ask the broker about ten times a second. Attempts ask nothing. Whose look
//! comes first gives the verdict; without a broker nobody does, and the bound of harm holds still.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::UnixMs;
use bulkhead_core::canary::WHOLE_PERMILLE;
use bulkhead_queue::QueueError;

use crate::clock::unix_ms;
use crate::fleet::{CanaryCounts, CanaryEnd, CanaryTurn, FleetError, Shelf};
use crate::metrics;
use crate::plugins::Identity;
use crate::serve::Shared;

/// How often a host looks, where there are few.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How much more rarely for each host there is.
const LOOK_EVERY_FOR_EACH: Duration = Duration::from_millis(100);

/// How often hosts are counted, in looks.
const COUNT_HOSTS_EVERY: u32 = 10;

/// Follow canaries until aborted.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut canaries = shared.registry.canaries();
    let (mut hosts, mut looks) = (1, 0_u32);
    loop {
        let open: BTreeSet<Identity> = canaries.borrow_and_update().clone();
        if open.is_empty() {
            looks = 0;
            if canaries.changed().await.is_err() {
                return;
            }
            continue;
        }
        if looks.is_multiple_of(COUNT_HOSTS_EVERY) {
            let all = shared.broker.hosts().await;
            hosts = all.map_or(hosts, |all| u32::try_from(all.len()).unwrap_or(u32::MAX));
        }
        looks = looks.wrapping_add(1);
        if let Err(error) = look(&shared, &open).await {
            tracing::debug!(%error, "cannot judge canaries");
        }
        let pause = LOOK_EVERY.max(LOOK_EVERY_FOR_EACH.saturating_mul(hosts));
        // Hosts that began together need not look together.
        let pause = pause.mul_f64(0.75 + fastrand::f64() / 2.0);
        // What is told meanwhile is seen at the next look.
        tokio::time::sleep(pause).await;
    }
}

/// Say what was counted here of canaries, and judge them by what all hosts counted, which is asked
/// for once.
async fn look(shared: &Shared, open: &BTreeSet<Identity>) -> Result<(), FleetError> {
    let shelf = Shelf::new(shared.broker.archive(), format!("host {}", shared.host));
    let now = unix_ms();
    for trial in shared.registry.trials() {
        if open.contains(&trial.serving.identity) {
            let (counts, ends_at) = (trial.counts(), trial.canary.ends_at);
            if let Err(error) = shelf.count_canary(&shared.holder, &counts, ends_at, now).await {
                let plugin = &trial.serving.identity;
                tracing::debug!(%plugin, %error, "cannot say what was counted of the canary");
            }
        }
    }
    let all = shelf.canary_counts().await?;
    for plugin in open {
        if let Err(error) = judge(shared, &shelf, plugin, &all, now).await {
            tracing::debug!(%plugin, %error, "cannot judge the canary");
        }
    }
    Ok(())
}

/// Judge a canary, and tell what came of it.
async fn judge(
    shared: &Shared,
    shelf: &Shelf<'_>,
    plugin: &Identity,
    all: &[CanaryCounts],
    now: UnixMs,
) -> Result<(), FleetError> {
    let turn = match shelf.judge_canary(plugin, all, now).await {
        Err(FleetError::Broker(QueueError::Refused(reason))) => {
            tracing::warn!(%plugin, reason, "the canary cannot go on");
            return Ok(());
        }
        turn => turn?,
    };
    match turn {
        CanaryTurn::Goes => {}
        CanaryTurn::Grows(permille) => {
            let share = f64::from(permille) / f64::from(WHOLE_PERMILLE);
            tracing::info!(%plugin, share, "canary gets a larger share");
        }
        CanaryTurn::Ended(verdict) => {
            let (end, reason) = (verdict.end.as_str(), verdict.reason);
            let counted = match verdict.end {
                CanaryEnd::Promoted => Some(metrics::CanaryVerdict::Promoted),
                CanaryEnd::RolledBack => Some(metrics::CanaryVerdict::RolledBack),
                CanaryEnd::Undecided => Some(metrics::CanaryVerdict::Undecided),
                CanaryEnd::Stopped | CanaryEnd::Superseded => None,
            };
            match verdict.end {
                CanaryEnd::RolledBack => tracing::warn!(%plugin, end, reason, "canary has ended"),
                _ => tracing::info!(%plugin, end, reason, "canary has ended"),
            }
            if let Some(counted) = counted {
                shared.metrics.canary_verdict(counted);
            }
        }
    }
    Ok(())
}
