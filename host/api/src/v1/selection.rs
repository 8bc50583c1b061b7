//! Which tasks are meant: by what they are.

use std::collections::BTreeSet;

use bulkhead_core::quantity::Moment;
use bulkhead_core::{BatchId, FailureKind, QueueName, State, TaskType, TenantName};
use bulkhead_queue::{ListFilter, Mark, TaskView};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::cursor::Cursor;
use crate::auth::Caller;
use crate::problem::{Kind, Problem};

/// What tasks have in common; what is not said does not matter.
#[derive(Debug, Clone, Default, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Selection {
    /// Only of this queue.
    queue: Option<QueueName>,
    /// Only in this state; several are separated by commas.
    #[param(value_type = Option<String>, example = "pending,running")]
    #[schema(value_type = Option<String>)]
    state: Option<States>,
    /// Only of this type.
    #[serde(rename = "type")]
    task_type: Option<TaskType>,
    /// Only this tenant's.
    tenant: Option<TenantName>,
    /// Only members of this batch.
    batch: Option<BatchId>,
    /// Only those that this schedule fired.
    schedule: Option<String>,
    /// Only those whose last attempt failed in this way.
    failure: Option<FailureKind>,
    /// Only those submitted at this time or later.
    submitted_from: Option<Moment>,
    /// Only those submitted before this time.
    submitted_before: Option<Moment>,
    /// Only those with this text in the last failure's message, a metadata value or a payload of
    /// text.
    contains: Option<String>,
}

/// States, separated by commas.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct States(BTreeSet<usize>);

impl TryFrom<String> for States {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let place = |name: &str| State::ALL.iter().position(|state| state.as_str() == name.trim());
        let named = text.split(',').map(|name| {
            place(name).ok_or_else(|| {
                let all: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
                format!("`{}` is no state; use {}", name.escape_debug(), all.join(", "))
            })
        });
        named.collect::<Result<_, _>>().map(Self)
    }
}

/// Part of a list, and where it goes on.
pub(super) struct Part {
    pub(super) tasks: Vec<TaskView>,
    pub(super) next: Option<Cursor>,
}

impl Selection {
    /// What the caller may see of it: its own tenant's, if it has one.
    pub(super) fn seen_by(mut self, caller: &Caller) -> Result<Self, Problem> {
        if let Some(own) = &caller.tenant {
            match &self.tenant {
                Some(other) if other != own => {
                    return Err(Problem::new(
                        Kind::Forbidden,
                        format!("the token is of tenant {own} and sees nobody else's tasks"),
                    ));
                }
                _ => self.tenant = Some(own.clone()),
            }
        }
        Ok(self)
    }

    /// The wanted ones of the states that it names, or of `unless_named`. If that leaves none,
    /// nothing would happen, which is an error.
    pub(super) fn only(
        mut self,
        unless_named: &[State],
        wanted: impl Fn(State) -> bool,
    ) -> Result<Self, Problem> {
        let asked = match self.state {
            Some(_) => self.states(),
            None => unless_named.to_vec(),
        };
        let fit: BTreeSet<usize> =
            asked.iter().copied().filter(|state| wanted(*state)).map(order).collect();
        if fit.is_empty() {
            let asked: Vec<&str> = asked.iter().map(|state| state.as_str()).collect();
            return Err(Problem::malformed(format!(
                "nothing can be done to tasks that are {}",
                asked.join(" or ")
            )));
        }
        self.state = Some(States(fit));
        Ok(self)
    }

    /// The states that are meant.
    pub(super) fn states(&self) -> Vec<State> {
        match &self.state {
            None => State::ALL.to_vec(),
            Some(States(places)) => places.iter().map(|at| State::ALL[*at]).collect(),
        }
    }

    fn filter(&self, state: State, limit: usize) -> ListFilter {
        ListFilter {
            state,
            task_type: self.task_type.clone(),
            tenant: self.tenant.clone(),
            batch: self.batch,
            schedule: self.schedule.clone(),
            failure: self.failure,
            submitted_from: self.submitted_from.map(|time| time.0),
            submitted_before: self.submitted_before.map(|time| time.0),
            contains: self.contains.clone(),
            limit,
        }
    }

    /// The queues that are meant: the one that is named, or all.
    async fn queues(&self, api: &Api) -> Result<Vec<QueueName>, Problem> {
        match &self.queue {
            Some(queue) => Ok(vec![queue.clone()]),
            None => Ok(api.broker().queues().await?),
        }
    }

    /// Some of these tasks, from a cursor on: queue by queue, state by state.
    pub(super) async fn page(
        &self,
        api: &Api,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Part, Problem> {
        let mut tasks = Vec::new();
        let mut cursor = cursor.cloned();
        for queue in self.queues(api).await? {
            for state in self.states() {
                let mut mark: Option<Mark> = None;
                if let Some(from) = &cursor {
                    if (&queue, order(state)) < (&from.queue, order(from.state)) {
                        continue;
                    }
                    if (&queue, state) == (&from.queue, from.state) {
                        mark.clone_from(&from.mark);
                    }
                    cursor = None;
                }
                let filter = self.filter(state, limit - tasks.len());
                let page = api.broker().list(&queue, &filter, mark.as_ref()).await?;
                tasks.extend(page.tasks);
                if page.next.is_some() {
                    let next = Some(Cursor { queue, state, mark: page.next });
                    return Ok(Part { tasks, next });
                }
                if tasks.len() >= limit {
                    // The next list from its beginning; should there be none, the page is empty.
                    let next = self.following(api, &queue, state).await?;
                    return Ok(Part { tasks, next });
                }
            }
        }
        Ok(Part { tasks, next: None })
    }

    /// The list behind one of a queue and a state.
    async fn following(
        &self,
        api: &Api,
        queue: &QueueName,
        state: State,
    ) -> Result<Option<Cursor>, Problem> {
        let states = self.states();
        let next = states.iter().copied().find(|other| order(*other) > order(state));
        if let Some(state) = next {
            return Ok(Some(Cursor { queue: queue.clone(), state, mark: None }));
        }
        let queues = self.queues(api).await?;
        let after = queues.into_iter().find(|other| other > queue);
        Ok(after.zip(states.first().copied()).map(|(queue, state)| Cursor {
            queue,
            state,
            mark: None,
        }))
    }
}

fn order(state: State) -> usize {
    State::ALL.iter().position(|other| *other == state).unwrap_or(usize::MAX)
}
