//! What was used, by day, tenant, plugin and type.

use std::collections::BTreeMap;

use anyhow::Result;
use bulkhead::core::{PluginId, QueueName, TaskType, TenantName};
use bulkhead::queue::{Day, Usage as Used, UsageRow};
use clap::{Args, ValueEnum};
use comfy_table::Cell;
use jiff::civil::Date;
use jiff::{Span, Timestamp};
use serde_json::{Map, Value};

use crate::cli::exit::{self, Exit};
use crate::cli::session::{Session, known_queue};
use crate::cli::{figures, output};

/// The days that are shown unless asked otherwise, today included.
const DAYS: i64 = 30;
/// The most days in one look, as many as are kept.
const MAX_DAYS: u32 = 400;

/// Show what was used by day (UTC), tenant, plugin and task type
///
/// Each row is the sum over all that `--by` does not name. `*` stands for what is over the
/// number of rows that a day has.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// Names of the queues [default: all]
    names: Vec<QueueName>,
    /// What has a row of its own, in this order
    #[arg(
        long,
        value_name = "BY",
        value_enum,
        value_delimiter = ',',
        default_value = "day,tenant"
    )]
    by: Vec<By>,
    /// The first day, such as 2030-01-31 [default: 30 days up to the last one]
    #[arg(long, value_name = "DATE", value_parser = parsed_date)]
    from: Option<Date>,
    /// The last day [default: today]
    #[arg(long, value_name = "DATE", value_parser = parsed_date)]
    to: Option<Date>,
    /// Only this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// Only this plugin
    #[arg(long, value_name = "NAME")]
    plugin: Option<PluginId>,
    /// Only this task type
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<TaskType>,
    /// A table for people, JSON as with --json, or CSV with a header
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What usage is summed up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Tenant,
    Plugin,
    Type,
    Queue,
    Day,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
    Csv,
}

/// The sums, and what they are called in JSON and CSV.
type Sum = (&'static str, fn(&Used) -> u64);
const SUMS: [Sum; 7] = [
    ("attempts", |used| used.attempts),
    ("fuel", |used| used.fuel),
    ("cpu_us", |used| used.cpu_us),
    ("kib_ms", |used| used.kib_ms),
    ("host_calls", |used| used.host_calls),
    ("bytes_in", |used| used.bytes_in),
    ("bytes_out", |used| used.bytes_out),
];

/// Sums, by the names that `--by` asks for.
type Sums = BTreeMap<Vec<String>, Used>;

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Plugin => "plugin",
            Self::Type => "type",
            Self::Queue => "queue",
            Self::Day => "day",
        }
    }

    fn of(self, queue: &QueueName, row: &UsageRow) -> String {
        match self {
            Self::Tenant => row.line.tenant.clone(),
            Self::Plugin => row.line.plugin.clone(),
            Self::Type => row.line.task_type.clone(),
            Self::Queue => queue.to_string(),
            Self::Day => date(row.day),
        }
    }
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
        for name in &self.names {
            known_queue(broker.as_ref(), name).await?;
        }
        let names = match self.names.is_empty() {
            true => broker.queues().await?,
            false => self.names.clone(),
        };
        let mut sums = Sums::new();
        for name in &names {
            self.add(&mut sums, name, &broker.usage(name, from, to).await?);
        }
        match self.format {
            Format::Csv => session.out.raw(self.csv(&sums).as_bytes())?,
            Format::Table if !session.out.is_json() => self.print(session, &sums)?,
            Format::Table | Format::Json => session.out.document(&self.documents(&sums))?,
        }
        Ok(Exit::Done)
    }

    /// Sum up the rows that are asked for.
    fn add(&self, sums: &mut Sums, queue: &QueueName, rows: &[UsageRow]) {
        let fits = |wanted: Option<&str>, name: &str| wanted.is_none_or(|wanted| wanted == name);
        for row in rows {
            if fits(self.tenant.as_ref().map(TenantName::as_str), &row.line.tenant)
                && fits(self.plugin.as_ref().map(PluginId::as_str), &row.line.plugin)
                && fits(self.task_type.as_ref().map(TaskType::as_str), &row.line.task_type)
            {
                let by = self.by.iter().map(|by| by.of(queue, row)).collect();
                sums.entry(by).or_default().add(row.usage);
            }
        }
    }

    fn csv(&self, sums: &Sums) -> String {
        let header: Vec<&str> = self.by.iter().map(|by| by.name()).collect();
        let header = header.into_iter().chain(SUMS.map(|(name, _)| name)).chain(["gib_seconds"]);
        let mut text = header.collect::<Vec<_>>().join(",") + "\n";
        // No name has a comma, a quote or a line end in it.
        for (by, used) in sums {
            let numbers = SUMS.map(|(_, sum)| sum(used).to_string());
            let gib_seconds = format!("{:.6}", used.gib_seconds());
            let cells = by.iter().cloned().chain(numbers).chain([gib_seconds]);
            text.push_str(&(cells.collect::<Vec<_>>().join(",") + "\n"));
        }
        text
    }

    fn documents(&self, sums: &Sums) -> Vec<Map<String, Value>> {
        let document = |(by, used): (&Vec<String>, &Used)| {
            let names = self.by.iter().zip(by);
            let names = names.map(|(by, name)| (by.name().to_owned(), Value::from(name.as_str())));
            let numbers = SUMS.map(|(name, sum)| (name.to_owned(), Value::from(sum(used))));
            let gib_seconds = ("gib_seconds".to_owned(), Value::from(used.gib_seconds()));
            names.chain(numbers).chain([gib_seconds]).collect()
        };
        sums.iter().map(document).collect()
    }

    fn print(&self, session: &Session, sums: &Sums) -> Result<()> {
        let header: Vec<String> = self.by.iter().map(|by| by.name().to_uppercase()).collect();
        let figures = ["ATTEMPTS", "FUEL", "CPU", "GiB·s", "CALLS", "IN", "OUT"];
        let header: Vec<&str> = header.iter().map(String::as_str).chain(figures).collect();
        let mut table = output::table(&header);
        let mut all = Used::default();
        for (by, used) in sums {
            all.add(*used);
            let names = by.iter().map(|name| if name.is_empty() { "-" } else { name.as_str() });
            table.add_row(cells(names, *used));
        }
        if sums.len() > 1 {
            let names = std::iter::once("sum").chain(std::iter::repeat(""));
            table.add_row(cells(names.take(self.by.len()), all));
        }
        Ok(session.out.table(table, "nothing was used in these days")?)
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

fn cells<'a>(names: impl Iterator<Item = &'a str>, used: Used) -> Vec<Cell> {
    let figures = [
        used.attempts.to_string(),
        figures::count(used.fuel),
        figures::micros(used.cpu_us),
        format!("{:.3}", used.gib_seconds()),
        figures::count(used.host_calls),
        figures::bytes(used.bytes_in),
        figures::bytes(used.bytes_out),
    ];
    names.map(output::cell).chain(figures.map(output::number)).collect()
}

#[cfg(test)]
mod tests {
    use bulkhead::queue::UsageLine;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        usage: Usage,
    }

    fn asked(args: &str) -> Usage {
        let args = ["usage"].into_iter().chain(args.split_whitespace());
        Line::try_parse_from(args).unwrap().usage
    }

    fn row(day: u32, line: &str, attempts: u64) -> UsageRow {
        let [tenant, plugin, task_type] =
            line.split(':').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
        let usage = Used { attempts, kib_ms: 524_288_000, ..Used::default() };
        UsageRow { day: Day(day), line: UsageLine { tenant, plugin, task_type }, usage }
    }

    fn csv(args: &str) -> String {
        let usage = asked(args);
        let mut sums = Sums::new();
        let rows = [row(0, "acme:mail:send", 1), row(0, "acme:mail:poll", 2), row(1, "b::x", 4)];
        usage.add(&mut sums, &QueueName::default(), &rows);
        let other = [row(0, "acme:*:*", 8)];
        usage.add(&mut sums, &QueueName::new("other").unwrap(), &other);
        usage.csv(&sums)
    }

    #[test]
    fn rows_are_summed_up_by_what_is_asked_for() {
        insta::assert_snapshot!(csv("--by tenant,plugin"), @"
        tenant,plugin,attempts,fuel,cpu_us,kib_ms,host_calls,bytes_in,bytes_out,gib_seconds
        acme,*,8,0,0,524288000,0,0,0,0.500000
        acme,mail,3,0,0,1048576000,0,0,0,1.000000
        b,,4,0,0,524288000,0,0,0,0.500000
        ");
        insta::assert_snapshot!(csv("--by queue,day --tenant acme"), @"
        queue,day,attempts,fuel,cpu_us,kib_ms,host_calls,bytes_in,bytes_out,gib_seconds
        default,1970-01-01,3,0,0,1048576000,0,0,0,1.000000
        other,1970-01-01,8,0,0,524288000,0,0,0,0.500000
        ");
        insta::assert_snapshot!(csv("--by type --plugin mail --type poll"), @"
        type,attempts,fuel,cpu_us,kib_ms,host_calls,bytes_in,bytes_out,gib_seconds
        poll,2,0,0,524288000,0,0,0,0.500000
        ");
    }

    #[test]
    fn documents_have_the_names_that_are_asked_for() {
        let usage = asked("--by plugin,tenant --format json");
        let mut sums = Sums::new();
        usage.add(&mut sums, &QueueName::default(), &[row(0, "acme:mail:send", 3)]);
        let documents = serde_json::to_value(usage.documents(&sums)).unwrap();
        assert_eq!(documents[0]["plugin"], "mail");
        assert_eq!(
            (&documents[0]["tenant"], &documents[0]["attempts"]),
            (&"acme".into(), &3.into())
        );
        assert_eq!(documents[0]["gib_seconds"], 0.5);
        assert!(documents[0].get("day").is_none());
    }

    fn usage(from: Option<&str>, to: Option<&str>) -> Result<(Day, Day), String> {
        let date = |text: &str| text.parse().unwrap();
        let mut usage = asked("");
        (usage.from, usage.to) = (from.map(date), to.map(date));
        usage.days(date("2026-11-21"))
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
