//! Which tasks are meant: by what they are, not by id.

use std::collections::BTreeSet;
use std::str::FromStr;

use bulkhead_core::quantity::Moment;
use bulkhead_core::{BatchId, FailureKind, QueueName, State, TaskType, TenantName};
use bulkhead_queue::ListFilter;
use clap::Args;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// What tasks have in common; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize, ToSchema, IntoParams)]
#[command(next_help_heading = "Which tasks")]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// Only this queue.
    #[arg(long, value_name = "NAME")]
    pub queue: Option<QueueName>,
    /// Only in this state; several are separated by commas.
    // Of states every command allows others, by a flag of its own.
    #[arg(skip)]
    #[param(value_type = Option<String>, example = "pending,running")]
    #[schema(value_type = Option<String>)]
    pub state: Option<States>,
    /// Only this task type.
    #[arg(long = "type", value_name = "TYPE")]
    #[serde(rename = "type")]
    pub task_type: Option<TaskType>,
    /// Only this tenant's.
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<TenantName>,
    /// Only members of this batch.
    #[arg(long, value_name = "ID")]
    pub batch: Option<BatchId>,
    /// Only those that this schedule fired.
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<String>,
    /// Only those whose last attempt failed in this way, such as reject or timed_out.
    #[arg(long, value_name = "KIND")]
    pub failure: Option<FailureKind>,
    /// Only those with this text in the last failure's message, a metadata value or a
    /// payload of text.
    #[arg(long, value_name = "TEXT")]
    pub contains: Option<String>,
    /// Only those submitted at this time (RFC 3339) or later.
    #[arg(long, value_name = "TIME")]
    pub submitted_from: Option<Moment>,
    /// Only those submitted before this time.
    #[arg(long, value_name = "TIME")]
    pub submitted_before: Option<Moment>,
}

impl Selection {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The states that are meant, in the order of a task's life: those that are named, or all.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        match &self.state {
            None => State::ALL.to_vec(),
            Some(States(states)) => states.iter().copied().collect(),
        }
    }

    /// It as a question to the broker: for tasks in this state of a queue, at most so many.
    #[must_use]
    pub fn filter(&self, state: State, limit: usize) -> ListFilter {
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
}

/// States, as text separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct States(pub BTreeSet<State>);

impl TryFrom<String> for States {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let named = text.split(',').map(|name| State::from_str(name.trim()));
        named.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_in_the_order_of_a_tasks_life() {
        let read = |text: &str| States::try_from(text.to_owned());
        let state = Some(read("failed, pending,failed").unwrap());
        let selection = Selection { state, ..Selection::default() };
        assert_eq!(selection.states(), [State::Pending, State::Failed]);
        assert!(!selection.is_everything());
        assert_eq!(Selection::default().states(), State::ALL);
        for bad in ["", "pending,", "done", "pending,\u{1b}"] {
            let error = read(bad).unwrap_err();
            assert!(error.contains("completed, failed, cancelled or expired"), "{error}");
            assert!(!error.contains('\u{1b}'), "{error}");
        }
    }
}
