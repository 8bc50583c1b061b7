//! A queue's policy as a whole: shown, checked, replaced.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bulkhead::config::quantity::Size;
use bulkhead::core::{Bounds, QueueName, QueuePolicy, Rate, TenantPolicy, WhenSpent};
use bulkhead_api::asked::policy_of;
use bulkhead_api::document::PolicyDocument;
use clap::Subcommand;
use comfy_table::{Cell, Table};

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
    policy_of(serde_json::from_slice(&text).map_err(|e| at(e.to_string()))?).map_err(at)
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
