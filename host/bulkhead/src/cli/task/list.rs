//! Lists of tasks, over one queue or all.

use anyhow::Result;
use bulkhead::core::{Outcome, State};
use bulkhead::queue::{Broker, TaskView};
use bulkhead_api::asked::Selection;
use bulkhead_api::document::TaskDocument;
use clap::Args;

use super::select;
use crate::cli::exit::Exit;
use crate::cli::reason::reason;
use crate::cli::session::Session;
use crate::cli::{escape, figures, output};

/// Which part of which list.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// How many to pass over
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    offset: u32,
    #[command(flatten)]
    selection: Selection,
}

/// List tasks
#[derive(Debug, Args)]
pub(crate) struct List {
    /// scheduled, blocked, pending, running, completed, failed, cancelled or expired
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
        select::read(&self.selection, broker, states, offset, limit).await
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

/// A few words on what the task or its newest attempt came to.
fn result(view: &TaskView) -> String {
    if let Err(unreadable) = &view.task {
        return escape::brief(&format!("unreadable: {}", unreadable.reason), 60);
    }
    if let Some(reason) = reason(view) {
        return reason;
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
