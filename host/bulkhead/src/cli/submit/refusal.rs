//! Why a task was refused, and what can be done about it.

use anyhow::Error;
use bulkhead::config::quantity::Size;
use bulkhead::core::TenantName;
use bulkhead::queue::{Broker, SubmitAnswer};

use crate::cli::exit::usage;
use crate::cli::figures;
use bulkhead_api::document::Sent;

/// The error for a task that was refused.
pub(super) async fn explain(broker: &dyn Broker, sent: &Sent, tenant: &TenantName) -> Error {
    let queue = &sent.queue;
    if let SubmitAnswer::Taken(holder) = sent.answer {
        return usage(format!(
            "the task was refused: task {holder} has its unique key in queue {queue}; \
             `bulkhead task show {holder}` shows it, --on-conflict existing takes it instead"
        ));
    }
    // The figure is a courtesy: without it the reason still stands.
    let quota = broker.policy(queue).await.ok().map(|policy| policy.tenant(tenant));
    usage(match sent.answer {
        SubmitAnswer::OverPending => format!(
            "the task was refused: tenant {tenant} has as many tasks in queue {queue} as it may{}; \
             wait for some to end, or raise it with `bulkhead queue limit {queue} --tenant {tenant} \
             --pending N`",
            figure(quota.and_then(|quota| quota.pending).map(|pending| pending.to_string()))
        ),
        SubmitAnswer::OverUsage(until) => format!(
            "the task was refused: tenant {tenant} has spent its quota of a minute in queue \
             {queue}; submit it again {}, or raise the quota with `bulkhead queue limit {queue} \
             --tenant {tenant} --fuel-per-minute N --gib-seconds-per-minute N`",
            figures::relative(until, figures::now())
        ),
        _ => format!(
            "the task was refused: it is larger than tasks of tenant {tenant} in queue {queue} may \
             be{}; send less, or raise it with `bulkhead queue limit {queue} --tenant {tenant} \
             --payload SIZE`",
            figure(quota.and_then(|quota| quota.payload_bytes).map(|size| Size(size).to_string()))
        ),
    })
}

fn figure(figure: Option<String>) -> String {
    figure.map_or_else(String::new, |figure| format!(" ({figure})"))
}
