//! Lists of tasks, over one queue or all.

use std::collections::HashSet;

use anyhow::Result;
use bulkhead::core::{Outcome, QueueName, State, TaskType};
use bulkhead::queue::{Broker, ListFilter, TaskView};
use clap::Args;

use crate::cli::document::TaskDocument;
use crate::cli::exit::Exit;
use crate::cli::session::{Session, queues};
use crate::cli::{escape, figures, output};

/// Which part of a list.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<QueueName>,
    /// Only this task type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) task_type: Option<TaskType>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// How many to pass over
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) offset: u32,
}

/// List tasks
#[derive(Debug, Args)]
pub(crate) struct List {
    /// scheduled, pending, running, completed, failed or cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    #[command(flatten)]
    page: Page,
}

impl List {
    /// Print the list.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        let states = self.state.map_or(State::ALL.to_vec(), |state| vec![state]);
        let broker = session.broker().await?;
        let tasks = self.page.read(broker.as_ref(), &states).await?;
        print_tasks(session, &tasks)?;
        Ok(Exit::Done)
    }
}

impl Page {
    /// Read this part of the list of tasks in these states.
    pub(crate) async fn read(
        &self,
        broker: &dyn Broker,
        states: &[State],
    ) -> Result<Vec<TaskView>> {
        let (offset, limit) = (self.offset as usize, self.limit as usize);
        let mut tasks: Vec<TaskView> = Vec::new();
        // A task that moves on while we look must not be listed twice.
        let mut seen = HashSet::new();
        for queue in queues(broker, self.queue.as_ref()).await? {
            for state in states {
                let filter = ListFilter {
                    task_type: self.task_type.clone(),
                    offset: 0,
                    limit: offset + limit - tasks.len(),
                    ..ListFilter::of(*state)
                };
                if filter.limit == 0 {
                    break;
                }
                let found = broker.list(&queue, &filter).await?;
                tasks.extend(found.into_iter().filter(|view| seen.insert(view.id)));
            }
        }
        Ok(tasks.into_iter().skip(offset).collect())
    }
}

/// Print tasks, one a row.
pub(crate) fn print_tasks(session: &Session, tasks: &[TaskView]) -> Result<()> {
    if session.out.is_json() {
        let documents: Vec<_> = tasks.iter().map(TaskDocument::from).collect();
        return Ok(session.out.document(&documents)?);
    }
    let now = figures::now();
    let header = ["ID", "TYPE", "QUEUE", "STATE", "ATTEMPTS", "SUBMITTED", "LAST RESULT"];
    let mut table = output::table(&header);
    for view in tasks {
        let task = view.task.as_ref();
        table.add_row(vec![
            output::cell(&view.id.to_string()),
            output::cell(task.map_or("?", |task| task.task_type.as_str())),
            output::cell(view.queue.as_str()),
            output::state(view.state),
            output::number(view.attempts()),
            output::cell(
                &task.map_or("?".into(), |task| figures::relative(task.submitted_at, now)),
            ),
            output::cell(&result(view)),
        ]);
    }
    Ok(session.out.table(table, "no tasks")?)
}

/// A few words on what the newest attempt came to.
fn result(view: &TaskView) -> String {
    if let Err(unreadable) = &view.task {
        return escape::brief(&format!("unreadable: {}", unreadable.reason), 60);
    }
    match view.last_report().map(|report| &report.outcome) {
        Some(Outcome::Done(output)) => format!(
            "{}, {}",
            escape::brief(&output.content_type, 40),
            figures::bytes(output.data.len() as u64)
        ),
        Some(Outcome::Failed(failure)) => {
            escape::brief(&format!("{}: {}", failure.kind, failure.message), 60)
        }
        None => String::new(),
    }
}
