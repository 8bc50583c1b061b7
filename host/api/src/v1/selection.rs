//! The tasks of a selection that a caller may see, page by page.

use std::collections::BTreeSet;

use bulkhead_core::{QueueName, State};
use bulkhead_queue::{Mark, TaskView};

use super::Api;
use super::cursor::Cursor;
use crate::asked::{Selection, States};
use crate::auth::Caller;
use crate::problem::{Kind, Problem};

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
        let fit: BTreeSet<State> = asked.iter().copied().filter(|state| wanted(*state)).collect();
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
                    if (&queue, state) < (&from.queue, from.state) {
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
        let next = states.iter().copied().find(|other| *other > state);
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
