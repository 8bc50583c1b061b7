//! How well queues keep to what is asked of them: the figures of this host, and the bounds that
//! its alerts set them.

use std::time::Duration;

use axum::extract::State as From;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Json;
use super::{Api, Caller, Problems, Scope};
use crate::local::{Alert, RecentQueue};
use crate::problem::Problem;

/// How far back the figures look.
const OVER: Duration = Duration::from_secs(300);
/// The signals that are promises to those who submit.
const PROMISED: [&str; 4] = ["p95_latency", "success_rate", "error_rate", "wait"];

/// How well queues keep to what is asked of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sla {
    /// The host whose figures these are.
    host: String,
    /// How far they look back, in milliseconds: five minutes, or to when the host began.
    over_ms: u64,
    /// By queue, of those that the host serves.
    queues: Vec<SlaQueue>,
}

/// How well one queue does.
#[derive(Debug, Serialize, ToSchema)]
struct SlaQueue {
    #[serde(flatten)]
    figures: RecentQueue,
    /// What is asked of it: the alerts about `p95_latency`, `wait`, `success_rate` and
    /// `error_rate`.
    targets: Vec<Target>,
    /// Whether it keeps to all of them; nothing if nothing is asked, or nothing could be judged.
    met: Option<bool>,
}

/// What is asked of a queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SlaTarget)]
struct Target {
    #[serde(flatten)]
    alert: Alert,
    /// Whether its last value keeps to it; nothing if there was nothing to judge.
    met: Option<bool>,
}

impl Target {
    fn of(alert: Alert) -> Self {
        let keeps = |value: f64| {
            alert.above.is_none_or(|above| value <= above)
                && alert.below.is_none_or(|below| value >= below)
        };
        Self { met: alert.value.map(keeps), alert }
    }
}

/// Show how well the queues of this host keep to what its alerts ask of them
#[utoipa::path(get, operation_id = "get_sla", path = "/v1/sla", tag = "health",
    responses((status = 200, body = Sla), Problems))]
pub(super) async fn sla(From(api): From<Api>, caller: Caller) -> Result<Json<Sla>, Problem> {
    caller.may_for_all(Scope::Read)?;
    let local = api.local()?;
    let (recent, alerts) = (local.recent(OVER), local.alerts());
    let queues = recent.queues.into_iter().map(|figures| {
        let promised = alerts.iter().filter(|alert| {
            alert.queue == figures.queue && PROMISED.contains(&alert.signal.as_str())
        });
        let targets: Vec<Target> = promised.cloned().map(Target::of).collect();
        let judged: Vec<bool> = targets.iter().filter_map(|target| target.met).collect();
        let met = (!judged.is_empty()).then(|| judged.iter().all(|met| *met));
        SlaQueue { figures, targets, met }
    });
    Ok(Json(Sla { host: local.about().host, over_ms: recent.over_ms, queues: queues.collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_the_good_side_of_its_bound() {
        let alert = |above, below, value| Alert {
            alert: "a".into(),
            queue: "q".into(),
            signal: "wait".into(),
            above,
            below,
            clear: 0.0,
            value,
            state: "quiet".into(),
            since: None,
            looked_at: 0,
        };
        let met = |above, below, value| Target::of(alert(above, below, value)).met;
        assert_eq!(met(Some(2.0), None, Some(2.0)), Some(true));
        assert_eq!(met(Some(2.0), None, Some(2.1)), Some(false));
        assert_eq!(met(None, Some(0.9), Some(0.8)), Some(false));
        assert_eq!(met(None, Some(0.9), Some(0.9)), Some(true));
        assert_eq!(met(None, Some(0.9), None), None);
    }
}
