//! What tenants used, by day.

use anyhow::Result;
use bulkhead::core::{QueueName, TenantName};
use bulkhead::queue::{Day, Usage as Used, UsageRow};
use clap::Args;
use comfy_table::Cell;
use jiff::civil::Date;
use jiff::{Span, Timestamp};
use serde::Serialize;

use crate::cli::exit::{self, Exit};
use crate::cli::session::{Session, known_queue};
use crate::cli::{figures, output};

/// The days that are shown unless asked otherwise, today included.
const DAYS: i64 = 30;
/// The most days in one look, as many as are kept.
const MAX_DAYS: u32 = 400;

/// Show what tenants used by day (UTC)
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// Name of the queue
    name: QueueName,
    /// The first day, such as 2030-01-31 [default: 30 days up to the last one]
    #[arg(long, value_name = "DATE", value_parser = parsed_date)]
    from: Option<Date>,
    /// The last day [default: today]
    #[arg(long, value_name = "DATE", value_parser = parsed_date)]
    to: Option<Date>,
    /// Only this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
}

/// A tenant's day in JSON.
#[derive(Serialize)]
struct RowDocument<'a> {
    day: String,
    tenant: &'a str,
    #[serde(flatten)]
    used: Used,
    gib_seconds: f64,
}

fn parsed_date(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| "write a day (UTC), such as 2030-01-31".to_owned())
}

impl Usage {
    /// Do it.
    pub(crate) async fn run(&self, session: &Session) -> Result<Exit> {
        let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let (from, to) = self.days(today).map_err(exit::usage)?;
        let broker = session.broker().await?;
        known_queue(broker.as_ref(), &self.name).await?;
        let mut rows = broker.usage(&self.name, from, to).await?;
        rows.retain(|row| self.tenant.as_ref().is_none_or(|tenant| *tenant == row.tenant));
        rows.sort_by(|a, b| (a.day, &a.tenant).cmp(&(b.day, &b.tenant)));
        print(session, &rows)?;
        Ok(Exit::Done)
    }

    fn days(&self, today: Date) -> Result<(Day, Day), String> {
        let to = self.to.unwrap_or(today);
        let earlier = || to.saturating_sub(Span::new().days(DAYS - 1));
        let from = self.from.unwrap_or_else(earlier);
        if from > to {
            return Err(format!("the first day, {from}, is after the last one, {to}"));
        }
        let (from, to) = (day(from)?, day(to)?);
        let days = to.0 - from.0 + 1;
        if days > MAX_DAYS {
            return Err(format!("these are {days} days; at most {MAX_DAYS} are kept and shown"));
        }
        Ok((from, to))
    }
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

fn day(date: Date) -> Result<Day, String> {
    let days = EPOCH.until(date).ok().and_then(|span| u32::try_from(span.get_days()).ok());
    days.map(Day).ok_or_else(|| format!("the day {date} is before {EPOCH}"))
}

fn date(day: Day) -> String {
    let days = Span::new().try_days(i64::from(day.0));
    days.ok()
        .and_then(|days| EPOCH.checked_add(days).ok())
        .map_or_else(|| format!("day {}", day.0), |date| date.to_string())
}

fn print(session: &Session, rows: &[UsageRow]) -> Result<()> {
    if session.out.is_json() {
        let documents: Vec<_> = rows
            .iter()
            .map(|row| RowDocument {
                day: date(row.day),
                tenant: row.tenant.as_str(),
                used: row.usage,
                gib_seconds: row.usage.gib_seconds(),
            })
            .collect();
        return Ok(session.out.document(&documents)?);
    }
    let mut table =
        output::table(&["DAY", "TENANT", "ATTEMPTS", "FUEL", "CPU", "GiB·s", "CALLS", "IN", "OUT"]);
    let mut sum = Used::default();
    for row in rows {
        sum.add(row.usage);
        table.add_row(cells(&date(row.day), row.tenant.as_str(), row.usage));
    }
    if rows.len() > 1 {
        table.add_row(cells("sum", "", sum));
    }
    Ok(session.out.table(table, "nothing was used in these days")?)
}

fn cells(day: &str, tenant: &str, used: Used) -> Vec<Cell> {
    vec![
        output::cell(day),
        output::cell(tenant),
        output::number(used.attempts),
        output::number(figures::count(used.fuel)),
        output::number(figures::micros(used.cpu_us)),
        output::number(format!("{:.3}", used.gib_seconds())),
        output::number(figures::count(used.host_calls)),
        output::number(figures::bytes(used.bytes_in)),
        output::number(figures::bytes(used.bytes_out)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(from: Option<&str>, to: Option<&str>) -> Result<(Day, Day), String> {
        let date = |text: &str| text.parse().unwrap();
        let name = QueueName::default();
        Usage { name, from: from.map(date), to: to.map(date), tenant: None }
            .days(date("2026-11-21"))
    }

    #[test]
    fn days_are_whole_and_bounded() {
        let today = Day(20_778);
        assert_eq!(usage(None, None), Ok((Day(today.0 - 29), today)));
        assert_eq!(usage(Some("2026-11-21"), None), Ok((today, today)));
        assert_eq!(usage(Some("1970-01-01"), Some("1970-01-02")), Ok((Day(0), Day(1))));
        assert!(usage(Some("2026-11-22"), None).unwrap_err().contains("is after"));
        assert!(usage(Some("2020-01-01"), None).unwrap_err().contains("at most 400"));
        assert!(usage(Some("1969-12-31"), Some("1969-12-31")).unwrap_err().contains("before"));
        assert_eq!(date(today), "2026-11-21");
        assert!(date(Day(u32::MAX)).starts_with("day "));
    }
}
