//! Cancelling tasks and giving them fresh attempts, by id or by what they are.

use anyhow::Result;
use bulkhead::core::{QueueName, State, TaskId};
use bulkhead::queue::{Broker, CancelAnswer, QueueError, RerunAnswer};
use bulkhead_api::asked::Selection;
use clap::Args;
use serde::Serialize;

use super::find;
use super::select::{depth, sweep};
use crate::cli::asked::Content;
use crate::cli::exit::{Exit, failed, usage};
use crate::cli::output;
use crate::cli::queue::agreed;
use crate::cli::session::{BATCH, Session, locate, queues};

/// Which tasks to cancel.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Ids of the tasks
    #[arg(value_name = "ID",
        conflicts_with_all = ["state", "all", "queue", "task_type", "tenant", "batch", "schedule",
            "failure", "contains", "submitted_from", "submitted_before"])]
    ids: Vec<TaskId>,
    /// Without ids: only tasks that are scheduled, blocked, pending or running [default: all
    /// of these]
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Without ids: all tasks that have not ended
    #[arg(long)]
    all: bool,
    /// Without ids: do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    selection: Selection,
}

/// Which tasks to give fresh attempts.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// Ids of the tasks
    #[arg(required = true, value_name = "ID")]
    ids: Vec<TaskId>,
    #[command(flatten)]
    content: Content,
}

/// What became of one task.
#[derive(Serialize)]
struct Answer<A> {
    id: String,
    answer: A,
}

/// How many tasks were cancelled, in JSON.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Cancelled {
    cancelled: usize,
    requested: usize,
}

impl Cancel {
    /// Do it.
    pub(crate) async fn run(&self, session: &Session) -> Result<Exit> {
        if !self.ids.is_empty() {
            return cancel(session, &self.ids).await;
        }
        if self.state.is_none() && self.selection.is_everything() && !self.all {
            return Err(usage(
                "no task is named; give ids, or say which by --state, --type and the like, or --all",
            ));
        }
        let states = match self.state {
            None => [State::Blocked, State::Scheduled, State::Pending, State::Running].to_vec(),
            Some(state) if state.is_terminal() => {
                return Err(usage(format!(
                    "tasks that are {state} have ended; cancel scheduled, blocked, pending or \
                     running ones"
                )));
            }
            Some(state) => vec![state],
        };
        self.by_selection(session, &states).await
    }

    async fn by_selection(&self, session: &Session, states: &[State]) -> Result<Exit> {
        let broker = session.broker().await?;
        let queues = queues(broker.as_ref(), self.selection.queue.as_ref()).await?;
        let mut most = 0;
        for queue in &queues {
            let stats = broker.stats(queue).await?;
            most += states.iter().filter_map(|state| depth(&stats, *state)).sum::<u64>();
        }
        let of =
            self.state.map_or("that have not ended".into(), |state| format!("that are {state}"));
        let which = if self.selection.is_everything() { "all" } else { "those selected" };
        agreed(&format!("Cancel {which} of the {most} tasks {of}?"), self.yes)?;
        let mut done = Cancelled::default();
        for queue in &queues {
            let retention_ms = session.config.queue(queue).retention_ms;
            for state in states {
                let act = async |ids: &[TaskId]| {
                    for answer in broker.cancel(queue, ids, retention_ms).await? {
                        match answer {
                            CancelAnswer::Cancelled => done.cancelled += 1,
                            CancelAnswer::Requested => done.requested += 1,
                            // It ended while we looked.
                            CancelAnswer::AlreadyEnded | CancelAnswer::Unknown => {}
                        }
                    }
                    Ok(())
                };
                sweep(&self.selection, broker.as_ref(), queue, *state, act).await?;
            }
        }
        if session.out.is_json() {
            session.out.document(&done)?;
        } else {
            let Cancelled { cancelled, requested } = done;
            session.out.text(&format!(
                "cancelled {cancelled} tasks; asked the hosts of {requested} running ones to stop \
                 them\n"
            ))?;
        }
        Ok(Exit::Done)
    }
}

async fn cancel(session: &Session, ids: &[TaskId]) -> Result<Exit> {
    let broker = session.broker().await?;
    let answers = of_each(broker.as_ref(), ids, CancelAnswer::Unknown, async |queue, ids| {
        broker.cancel(queue, ids, session.config.queue(queue).retention_ms).await
    });
    let answers = answers.await?;
    print_answers(session, &answers, |answer| match answer {
        CancelAnswer::Cancelled => "cancelled",
        CancelAnswer::Requested => "is running; its host was asked to stop it",
        CancelAnswer::AlreadyEnded => "had ended already",
        CancelAnswer::Unknown => "not found",
    })?;
    let any = |wanted| answers.iter().any(|answer| answer.answer == wanted);
    Ok(if any(CancelAnswer::Unknown) {
        Exit::NotFound
    } else if any(CancelAnswer::AlreadyEnded) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

impl Retry {
    /// Do it.
    pub(crate) async fn run(&self, session: &Session) -> Result<Exit> {
        retry(session, &self.ids, &self.content).await
    }
}

/// Give tasks fresh attempts, one of them with another payload if there is one.
pub(crate) async fn retry(session: &Session, ids: &[TaskId], content: &Content) -> Result<Exit> {
    match ids {
        _ if content.is_type_alone() => {
            Err(usage("a content type is given without a payload; add --data, --file or --stdin"))
        }
        [id] if content.is_given() => edited(session, *id, content).await,
        _ if content.is_given() => {
            Err(usage("a payload is for one task; name one id, or leave the payload out"))
        }
        ids => as_they_are(session, ids).await,
    }
}

async fn as_they_are(session: &Session, ids: &[TaskId]) -> Result<Exit> {
    let broker = session.broker().await?;
    let answers = of_each(broker.as_ref(), ids, RerunAnswer::Unknown, async |queue, ids| {
        broker.rerun(queue, ids).await
    });
    let answers = answers.await?;
    print_answers(session, &answers, words)?;
    let missing = answers.iter().any(|answer| answer.answer == RerunAnswer::Unknown);
    Ok(if missing { Exit::NotFound } else { Exit::Done })
}

async fn edited(session: &Session, id: TaskId, content: &Content) -> Result<Exit> {
    let view = find(session, id).await?;
    let present = view.task.as_ref().ok().map(|task| task.payload.content_type.as_str());
    let payload = content.read(present, session.config.submit.payload_bytes)?;
    let answer = session.broker().await?.rerun_edited(&view.queue, id, payload).await?;
    if answer == RerunAnswer::Active {
        return Err(failed(format!(
            "task {id} has not ended, so its payload stays as it is; cancel it first"
        )));
    }
    print_answers(session, &[Answer { id: id.to_string(), answer }], words)?;
    Ok(if answer == RerunAnswer::Unknown { Exit::NotFound } else { Exit::Done })
}

/// What `act` answers of each task, queue by queue; `unknown` of those that there are not.
async fn of_each<A: Copy>(
    broker: &dyn Broker,
    ids: &[TaskId],
    unknown: A,
    act: impl AsyncFn(&QueueName, &[TaskId]) -> Result<Vec<A>, QueueError>,
) -> Result<Vec<Answer<A>>> {
    let located = locate(broker, ids).await?;
    let answer = |(id, answer): (&TaskId, A)| Answer { id: id.to_string(), answer };
    let mut answers = Vec::with_capacity(ids.len());
    for (queue, ids) in &located.by_queue {
        for ids in ids.chunks(BATCH) {
            answers.extend(ids.iter().zip(act(queue, ids).await?).map(answer));
        }
    }
    answers.extend(located.missing.iter().map(|id| answer((id, unknown))));
    Ok(answers)
}

fn words(answer: RerunAnswer) -> &'static str {
    match answer {
        RerunAnswer::InLine => "in line",
        RerunAnswer::Active => "is pending or running already",
        RerunAnswer::Unknown => "not found",
    }
}

fn print_answers<A: Serialize + Copy>(
    session: &Session,
    answers: &[Answer<A>],
    words: impl Fn(A) -> &'static str,
) -> Result<()> {
    if session.out.is_json() {
        return Ok(session.out.document(&answers)?);
    }
    let mut table = output::table(&["ID", "ANSWER"]);
    for Answer { id, answer } in answers {
        table.add_row(vec![output::cell(id), output::cell(words(*answer))]);
    }
    Ok(session.out.table(table, "no task")?)
}
