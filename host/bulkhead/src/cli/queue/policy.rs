//! A queue's policy as a whole: shown, checked, replaced.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bulkhead::config::quantity::Size;
use bulkhead::core::{Bounds, QueueName, QueuePolicy, Rate, TenantPolicy, WhenSpent};
use bulkhead_api::document::PolicyDocument;
use clap::Subcommand;
use comfy_table::{Cell, Table};
use serde_json::Value;

use crate::cli::asked::read;
use crate::cli::exit::{Exit, usage};
use crate::cli::output;
use crate::cli::session::{Session, known_queue};

/// Most bytes of a policy file.
const MAX_BYTES: usize = 16 << 20;

/// Show or replace a queue's policy: its limits, shares and quotas
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Show a queue's policy
    Show {
        /// Name of the queue
        name: QueueName,
    },
    /// Replace a queue's policy by what a JSON file says
    ///
    /// The file has the form that `policy show --json` prints as `policy`; a rate may be
    /// written as text, such as "10/s burst 20". It applies from the next claim on, for all
    /// hosts. A host whose configuration says something of the queue's policy replaces all
    /// of it when it starts.
    Set {
        /// Name of the queue
        name: QueueName,
        /// The JSON file, `-` for standard input
        #[arg(long, value_name = "PATH")]
        file: PathBuf,
    },
}

impl Policy {
    /// Do it.
    pub(crate) async fn run(&self, session: &Session) -> Result<Exit> {
        match self {
            Self::Show { name } => {
                let broker = session.broker().await?;
                known_queue(broker.as_ref(), name).await?;
                print(session, name, &broker.policy(name).await?)
            }
            Self::Set { name, file } => {
                let policy = load(file)?;
                session.broker().await?.set_policy(name, &policy).await?;
                print(session, name, &policy)
            }
        }
    }
}

fn load(path: &Path) -> Result<QueuePolicy> {
    let (text, _) = read(None, Some(path), false, MAX_BYTES)?;
    let at = |reason: String| usage(format!("`{}` is no policy: {reason}", path.display()));
    let mut value: Value = serde_json::from_slice(&text).map_err(|e| at(e.to_string()))?;
    read_rates(&mut value).map_err(at)?;
    serde_json::from_value(value).map_err(|e| at(e.to_string()))
}

/// Put numbers in place of rates that are written as text.
fn read_rates(value: &mut Value) -> Result<(), String> {
    let Value::Object(members) = value else { return Ok(()) };
    for (name, member) in members {
        match member {
            Value::String(text) if name == "rate" => {
                let rate: Rate = text.parse()?;
                *member = serde_json::to_value(rate).map_err(|e| e.to_string())?;
            }
            member => read_rates(member)?,
        }
    }
    Ok(())
}

/// Print a policy.
pub(super) fn print(session: &Session, queue: &QueueName, policy: &QueuePolicy) -> Result<Exit> {
    if session.out.is_json() {
        session.out.document(&PolicyDocument { queue: queue.as_str(), policy })?;
        return Ok(Exit::Done);
    }
    let events = policy.events.map_or("no events are recorded".to_owned(), |events| {
        format!("the newest {events} events are kept")
    });
    session.out.text(&format!("queue {queue}; {events}\n\n"))?;
    session.out.table(table(policy), "nothing is bounded")?;
    session.out.text(&by_minute(policy))?;
    Ok(Exit::Done)
}

/// The quotas of a minute, a line each.
fn by_minute(policy: &QueuePolicy) -> String {
    let named = policy.tenants.iter().map(|(name, tenant)| (format!("tenant {name}"), tenant));
    let others = policy.other_tenants.iter().map(|tenant| ("other tenants".to_owned(), tenant));
    let mut text = String::new();
    for (of, tenant) in named.chain(others).filter(|(_, tenant)| tenant.is_metered()) {
        let fuel = tenant.fuel_per_minute.map(|fuel| format!("{fuel} fuel"));
        let memory = tenant
            .kib_ms_per_minute
            .map(|kib_ms| format!("{} GiB·s", kib_ms as f64 / TenantPolicy::GIB_SECOND as f64));
        let quotas: Vec<String> = fuel.into_iter().chain(memory).collect();
        let when = match tenant.when_spent {
            WhenSpent::Wait => "its tasks wait",
            WhenSpent::Refuse => "its new tasks are refused",
        };
        text.push_str(&format!(
            "\n{of}: {} a minute; when that is spent, {when}\n",
            quotas.join(" and ")
        ));
    }
    text
}

fn table(policy: &QueuePolicy) -> Table {
    let mut table = output::table(&["OF", "AT ONCE", "RATE", "WEIGHT", "PENDING", "PAYLOAD"]);
    let bounds = |of: &str, bounds: &Bounds| {
        let mut row = vec![output::cell(of), number(bounds.concurrency), rate(bounds.rate)];
        row.extend(["", "", ""].map(Cell::new));
        row
    };
    let own = Bounds { concurrency: policy.concurrency, rate: policy.rate };
    if own != Bounds::default() {
        table.add_row(bounds("the queue", &own));
    }
    for (task_type, of_type) in &policy.types {
        table.add_row(bounds(&format!("type {task_type}"), of_type));
    }
    for (key, of_key) in &policy.keys {
        table.add_row(bounds(&format!("key {key}"), of_key));
    }
    let named = policy.tenants.iter().map(|(name, tenant)| (format!("tenant {name}"), tenant));
    let others = policy.other_tenants.iter().map(|tenant| ("other tenants".to_owned(), tenant));
    for (of, tenant) in named.chain(others) {
        table.add_row(vec![
            output::cell(&of),
            number(tenant.in_flight),
            rate(tenant.rate),
            output::number(tenant.weight),
            number(tenant.pending),
            number(tenant.payload_bytes.map(Size)),
        ]);
    }
    table
}

fn number(number: Option<impl ToString>) -> Cell {
    output::number(number.map_or("-".to_owned(), |number| number.to_string()))
}

fn rate(rate: Option<Rate>) -> Cell {
    output::cell(&rate.map_or("-".to_owned(), |rate| rate.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<QueuePolicy, String> {
        let mut value: Value = serde_json::from_str(text).unwrap();
        read_rates(&mut value)?;
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    #[test]
    fn rates_may_be_written_as_text_wherever_they_are() {
        let read = policy(
            r#"{"rate": "10/s", "types": {"mail": {"rate": "1/s burst 2"}}, "keys": {"smtp:*": {}},
                "other_tenants": {"rate": {"interval_us": 5, "burst": 1}}}"#,
        )
        .unwrap();
        assert_eq!(read.rate, Rate::new(10, 1_000_000, 10));
        assert_eq!(read.types.values().next().unwrap().rate, Rate::new(1, 1_000_000, 2));
        assert_eq!(read.other_tenants.unwrap().rate, Some(Rate { interval_us: 5, burst: 1 }));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (text, says) in [
            (r#"{"concurency": 1}"#, "concurency"),
            (r#"{"rate": "often"}"#, "is no rate"),
            (r#"{"tenants": {"a b": {}}}"#, "a b"),
        ] {
            let error = policy(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
