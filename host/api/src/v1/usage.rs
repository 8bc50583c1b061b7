//! What tenants used.

use axum::extract::State as From;
use axum::response::{IntoResponse, Response};
use bulkhead_core::{QueueName, TenantName};
use bulkhead_queue::{Day, Usage};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Json, Query};
use super::{Api, Caller, Problems, Scope};
use crate::problem::{Kind, Problem};
use crate::unix_ms;

/// Days that are shown without another wish.
const DAYS: u32 = 30;
/// Days in one look.
const MAX_DAYS: u32 = 400;

/// Which usage.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only of this queue.
    queue: Option<QueueName>,
    /// Only this tenant's.
    tenant: Option<TenantName>,
    /// The first day (UTC); without it 30 days up to the last one.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<Date>,
    /// The last day; today without it.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<Date>,
}

/// What was used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageList)]
struct Listed {
    /// By queue, day, tenant, plugin and type.
    rows: Vec<Row>,
}

/// What was used in a queue on a day, by a plugin for tasks of a type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageRow)]
struct Row {
    /// The queue.
    queue: String,
    /// The day (UTC).
    #[schema(format = Date)]
    day: String,
    /// The tenant; `*` for what is over the number of rows of a day.
    tenant: String,
    /// The plugin; empty if none ran.
    plugin: String,
    /// The task type.
    #[serde(rename = "type")]
    task_type: String,
    #[serde(flatten)]
    usage: Usage,
}

/// Show what was used by day, tenant, plugin and task type
#[utoipa::path(get, operation_id = "get_usage", path = "/v1/usage", tag = "usage", params(Which),
    responses((status = 200, body = Listed), Problems))]
pub(super) async fn rows(
    From(api): From<Api>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    if let Some(own) = &caller.tenant
        && which.tenant.as_ref().is_some_and(|tenant| tenant != own)
    {
        let detail = format!("the token is of tenant {own} and sees nobody else's usage");
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let tenant = caller.tenant.or(which.tenant);
    let to = which.to.map_or_else(|| Ok(Day::of(unix_ms())), day)?;
    let from = which.from.map_or(Ok(Day(to.0.saturating_sub(DAYS - 1))), day)?;
    if from > to || to.0 - from.0 >= MAX_DAYS {
        let detail = format!("the days are {from} to {to}; use 1 to {MAX_DAYS} days in order");
        return Err(Problem::malformed(detail));
    }
    let queues = match which.queue {
        Some(queue) => vec![queue],
        None => api.broker().queues().await?,
    };
    let mut rows = Vec::new();
    for queue in queues {
        let used = api.broker().usage(&queue, from, to).await?.into_iter();
        let wanted = used
            .filter(|row| tenant.as_ref().is_none_or(|tenant| tenant.as_str() == row.line.tenant));
        rows.extend(wanted.map(|row| Row {
            queue: queue.to_string(),
            day: date(row.day),
            tenant: row.line.tenant,
            plugin: row.line.plugin,
            task_type: row.line.task_type,
            usage: row.usage,
        }));
    }
    rows.sort_by(|a, b| {
        (&a.queue, &a.day, &a.tenant, &a.plugin, &a.task_type).cmp(&(
            &b.queue,
            &b.day,
            &b.tenant,
            &b.plugin,
            &b.task_type,
        ))
    });
    Ok(Json(Listed { rows }).into_response())
}

/// The first day of all.
const EPOCH: Date = Date::constant(1970, 1, 1);

fn day(date: Date) -> Result<Day, Problem> {
    let days = (date - EPOCH).get_days();
    u32::try_from(days)
        .map(Day)
        .map_err(|_| Problem::malformed(format!("{date} is before 1970-01-01")))
}

fn date(day: Day) -> String {
    let days = jiff::Span::new().try_days(i64::from(day.0)).ok();
    days.and_then(|days| EPOCH.checked_add(days).ok()).unwrap_or(Date::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for text in ["1970-01-01", "2024-02-29", "2026-11-21"] {
            assert_eq!(date(day(text.parse().unwrap()).unwrap()), text);
        }
        assert!(day("1969-12-31".parse().unwrap()).is_err());
        assert_eq!(date(Day(u32::MAX)), "9999-12-31");
    }
}
