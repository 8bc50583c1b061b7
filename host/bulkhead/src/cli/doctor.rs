//! `bulkhead doctor`: does what a queue says of its tasks agree with itself?

use anyhow::Result;
use bulkhead::core::QueueName;
use bulkhead::queue::{Finding, FindingKind};
use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{self, note};
use super::session::{Session, known_queue};

/// Look for disagreement in queues, and repair it if asked
///
/// Exit code 1 if something was found that is not repaired. Queues may be in use meanwhile:
/// what changes is looked at twice before it is reported.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Names of the queues [default: all]
    #[arg(value_name = "QUEUE")]
    queues: Vec<QueueName>,
    /// Repair what can be repaired
    #[arg(long)]
    repair: bool,
}

/// A finding in JSON.
#[derive(Serialize)]
struct FindingDocument<'a> {
    queue: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl Doctor {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        let broker = session.broker().await?;
        for queue in &self.queues {
            known_queue(broker.as_ref(), queue).await?;
        }
        let queues = if self.queues.is_empty() { broker.queues().await? } else { self.queues };
        let mut findings: Vec<(&QueueName, Finding)> = Vec::new();
        for queue in &queues {
            let found = broker.examine(queue, self.repair).await?;
            findings.extend(found.into_iter().map(|finding| (queue, finding)));
        }
        print(session, &findings, queues.len())?;
        let left = findings.iter().filter(|(_, finding)| !finding.repaired).count();
        if left == 0 {
            return Ok(Exit::Done);
        }
        let advice = if self.repair { "" } else { "; --repair repairs what can be repaired" };
        note(&format!("{left} of {} findings are not repaired{advice}", findings.len()));
        Ok(Exit::Failed)
    }
}

fn print(session: &Session, findings: &[(&QueueName, Finding)], queues: usize) -> Result<()> {
    if session.out.is_json() {
        let documents: Vec<_> = findings
            .iter()
            .map(|(queue, finding)| FindingDocument { queue: queue.as_str(), finding })
            .collect();
        return Ok(session.out.document(&documents)?);
    }
    let mut table = output::table(&["QUEUE", "FINDING", "TASK", "WHAT", "REPAIRED"]);
    for (queue, finding) in findings {
        table.add_row(vec![
            output::cell(queue.as_str()),
            output::cell(name(finding.kind)),
            output::cell(&finding.task.map_or_else(String::new, |id| id.to_string())),
            output::cell(&finding.detail),
            output::cell(if finding.repaired { "yes" } else { "no" }),
        ]);
    }
    Ok(session.out.table(table, &format!("{queues} queues examined; nothing is wrong"))?)
}

fn name(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Stranded => "stranded",
        FindingKind::Dangling => "dangling",
        FindingKind::Duplicated => "duplicated",
        FindingKind::Unringed => "unringed",
        FindingKind::Miscounted => "miscounted",
        FindingKind::Leaked => "leaked",
        FindingKind::Damaged => "damaged",
        FindingKind::Undelivered => "undelivered",
    }
}
