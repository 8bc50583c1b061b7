//! Waiting for submitted tasks, and what is done with their results.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use bulkhead::EVERY;
use bulkhead::core::{Outcome, Payload, QueueName, State, TaskId, TaskRef, TaskType, TenantName};
use bulkhead::queue::{Client, HostInfo, TaskView};
use comfy_table::Cell;

use bulkhead_api::document::TaskDocument;

use crate::cli::asked::content;
use crate::cli::exit::{self, Exit, failed, timed_out};
use crate::cli::follow::{Followed, follow};
use crate::cli::output::{self, note};
use crate::cli::reason::reason;
use crate::cli::session::Session;
use crate::cli::{escape, figures};

/// How long to wait, and where outputs go.
pub(crate) struct Waiting<'a> {
    pub(crate) timeout: Duration,
    pub(crate) out: Option<&'a Path>,
}

impl Waiting<'_> {
    /// Wait for one task and hand over its output. The client must be the only one.
    pub(crate) async fn one(
        &self,
        session: &Session,
        client: Client,
        task: TaskRef,
        of: Option<(&TaskType, &TenantName)>,
    ) -> Result<Exit> {
        let TaskRef { queue, id } = task;
        let mut ended = None;
        let tasks = BTreeMap::from([(queue.clone(), vec![id])]);
        let followed =
            follow(session, client, &tasks, self.timeout, |view| ended = Some(view)).await?;
        match ended {
            Some(view) => deliver(session, &view, self.out),
            None if followed.open == 0 => Err(forgotten(id)),
            None => Err(timed_out(format!(
                "task {id} has not ended within {}; `bulkhead task show {id}` tells more{}",
                bulkhead::config::quantity::Span(self.timeout),
                in_vain(followed.client, &queue, of).await
            ))),
        }
    }

    /// Wait for many tasks and print a line for each. The client must be the only one.
    pub(crate) async fn many(
        &self,
        session: &Session,
        client: Client,
        tasks: &[TaskRef],
    ) -> Result<Exit> {
        if let Some(folder) = self.out {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut by_queue: BTreeMap<QueueName, Vec<TaskId>> = BTreeMap::new();
        let mut order: HashMap<TaskId, usize> = HashMap::new();
        for task in tasks {
            let place = order.len();
            // Several submissions may have come to the same task.
            if let Entry::Vacant(entry) = order.entry(task.id) {
                entry.insert(place);
                by_queue.entry(task.queue.clone()).or_default().push(task.id);
            }
        }
        let tasks = order.len();
        let mut results = Results::new(session.out.is_json(), self.out, order);
        let take = |view: TaskView| results.take(&view);
        let Followed { open, client } =
            follow(session, client, &by_queue, self.timeout, take).await?;
        let forgotten = tasks.saturating_sub(open + results.ended);
        let all_completed = results.completed + forgotten == tasks;
        results.print(session)?;
        if forgotten > 0 {
            note(&format!("{forgotten} tasks ended and were forgotten at once (retention 0)"));
        }
        if open > 0 {
            return Err(timed_out(format!(
                "{open} of {tasks} tasks have not ended within {}{}",
                bulkhead::config::quantity::Span(self.timeout),
                client.map_or_else(|nobody| format!("; {nobody}"), |_| String::new())
            )));
        }
        Ok(if all_completed { Exit::Done } else { Exit::Failed })
    }
}

/// A likely reason for a wait in vain.
async fn in_vain(
    client: Result<Client, String>,
    queue: &QueueName,
    of: Option<(&TaskType, &TenantName)>,
) -> String {
    let client = match client {
        Ok(client) => client,
        Err(nobody) => return format!("; {nobody}"),
    };
    let Some((task_type, tenant)) = of else { return String::new() };
    let Ok(hosts) = client.broker().hosts().await else { return String::new() };
    let serves_type = |host: &HostInfo| {
        let mut serving = host.plugins.iter().filter_map(|plugin| plugin.serving.as_ref());
        serving.any(|version| {
            let tenants = &version.tenants;
            version.task_types.iter().any(|t| t == task_type.as_str())
                && tenants.iter().any(|served| served == EVERY || served == tenant.as_str())
        })
    };
    let of_tenant = match *tenant == TenantName::default() {
        true => String::new(),
        false => format!(" of the tenant `{tenant}`"),
    };
    let mut on_queue =
        hosts.iter().filter(|host| host.queues.iter().any(|q| q == queue.as_str())).peekable();
    if on_queue.peek().is_none() {
        format!("; no running host serves the queue `{queue}`: start one with `bulkhead run`")
    } else if !on_queue.any(serves_type) {
        format!(
            "; no running host has a handler for `{task_type}`{of_tenant}: `bulkhead plugin list` shows \
             what is served"
        )
    } else {
        String::new()
    }
}

fn forgotten(id: TaskId) -> Error {
    exit::not_found(format!(
        "task {id} has ended and was forgotten already; give it a longer --retention"
    ))
}

/// Hand over the output of an ended task, or say why it has none.
pub(crate) fn deliver(session: &Session, view: &TaskView, out: Option<&Path>) -> Result<Exit> {
    let outcome = view.last_report().map(|report| &report.outcome);
    let output = match outcome {
        Some(Outcome::Done(output)) if view.state == State::Completed => Some(output),
        _ => None,
    };
    if let (Some(path), Some(output)) = (out, output) {
        std::fs::write(path, &output.data)
            .with_context(|| format!("cannot write {}", path.display()))?;
        note(&format!("wrote {} ({})", path.display(), described(output)));
    }
    if session.out.is_json() {
        session.out.document(&TaskDocument::from(view))?;
        return Ok(if output.is_some() { Exit::Done } else { Exit::Failed });
    }
    match output {
        Some(_) if out.is_some() => Ok(Exit::Done),
        Some(output) => print(session, output).map(|()| Exit::Done),
        None => Err(failure(view)),
    }
}

/// Print an output: as it is where a program reads it, safe where a person does.
fn print(session: &Session, output: &Payload) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        return Ok(session.out.raw(&output.data)?);
    }
    match content::terminal_text(output) {
        Some(text) if text.ends_with('\n') || text.is_empty() => Ok(session.out.text(&text)?),
        Some(text) => Ok(session.out.text(&format!("{text}\n"))?),
        None => {
            note(&format!(
                "the output ({}) is not text; write it to a file with --out or redirect it",
                described(output)
            ));
            Ok(())
        }
    }
}

fn described(output: &Payload) -> String {
    format!("{}, {}", escape::line(&output.content_type), figures::bytes(output.data.len() as u64))
}

/// Why a task has no output.
fn failure(view: &TaskView) -> Error {
    let ended = match view.state {
        State::Failed => "failed",
        State::Cancelled => "was cancelled",
        State::Expired => "was not started in time",
        _ => "has no output",
    };
    let mut message = format!("task {} {ended}", view.id);
    if let Some(reason) = reason(view) {
        message.push_str(&format!(": {reason}"));
    } else if let Some(Outcome::Failed(failure)) = view.last_report().map(|report| &report.outcome)
    {
        message.push_str(&format!(": {}: {}", failure.kind, failure.message));
        if let Some(details) = &failure.details {
            message.push_str(&format!("\n  details: {details}"));
        }
        for frame in &failure.backtrace {
            message.push_str(&format!("\n  at {frame}"));
        }
    }
    failed(message)
}

/// Results of many tasks, reduced to what will be printed as they come.
struct Results<'a> {
    ended: usize,
    completed: usize,
    json: bool,
    /// Where in the input each task was.
    order: HashMap<TaskId, usize>,
    documents: Vec<(usize, serde_json::Value)>,
    rows: Vec<(usize, Vec<Cell>)>,
    folder: Option<&'a Path>,
    error: Option<Error>,
}

impl<'a> Results<'a> {
    fn new(json: bool, folder: Option<&'a Path>, order: HashMap<TaskId, usize>) -> Self {
        Self {
            ended: 0,
            completed: 0,
            json,
            order,
            documents: Vec::new(),
            rows: Vec::new(),
            folder,
            error: None,
        }
    }

    fn take(&mut self, view: &TaskView) {
        self.ended += 1;
        self.completed += usize::from(view.state == State::Completed);
        if let Err(error) = self.keep(view) {
            self.error.get_or_insert(error);
        }
    }

    fn keep(&mut self, view: &TaskView) -> Result<()> {
        let report = view.last_report();
        let result = match report.map(|report| &report.outcome) {
            Some(Outcome::Done(output)) => self.save(view.id, output)?,
            Some(Outcome::Failed(failure)) => format!("{}: {}", failure.kind, failure.message),
            None => reason(view).unwrap_or_default(),
        };
        let at = self.order.get(&view.id).copied().unwrap_or(usize::MAX);
        if self.json {
            self.documents.push((at, serde_json::to_value(TaskDocument::from(view))?));
            return Ok(());
        }
        let metering = report.map(|report| report.metering).unwrap_or_default();
        let task_type = view.task.as_ref().map_or("?", |task| task.task_type.as_str());
        let row = vec![
            output::cell(&view.id.to_string()),
            output::cell(task_type),
            output::state(view.state),
            output::number(view.attempts()),
            output::number(figures::micros(metering.wall_us)),
            output::number(figures::count(metering.fuel)),
            output::number(figures::bytes(metering.peak_memory_bytes)),
            output::cell(&escape::brief(&result, 80)),
        ];
        self.rows.push((at, row));
        Ok(())
    }

    /// Write an output to the folder; what to show of it.
    fn save(&self, id: TaskId, output: &Payload) -> Result<String> {
        let Some(folder) = self.folder else { return Ok(described(output)) };
        let path = folder.join(format!("{id}.{}", content::extension(&output.content_type)));
        std::fs::write(&path, &output.data)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// Print what there is, in the order of the input.
    fn print(mut self, session: &Session) -> Result<()> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.json {
            self.documents.sort_by_key(|(at, _)| *at);
            let documents: Vec<_> = self.documents.iter().map(|(_, document)| document).collect();
            session.out.document(&documents)?;
            return Ok(());
        }
        self.rows.sort_by_key(|(at, _)| *at);
        let header = ["ID", "TYPE", "STATE", "ATTEMPTS", "WALL", "FUEL", "MEMORY", "RESULT"];
        let mut table = output::table(&header);
        table.add_rows(self.rows.into_iter().map(|(_, row)| row));
        session.out.table(table, "no task ended")?;
        Ok(())
    }
}
