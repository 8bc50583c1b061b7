//! What a task learns of one that it waited for.

use serde::{Deserialize, Serialize};

use crate::{Payload, State, TaskRef};

/// A task that another waited for, as it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Which task it was.
    pub task: TaskRef,
    /// How it ended; nothing if it was unknown.
    pub state: Option<State>,
    /// Its output, if it completed.
    pub output: Option<Payload>,
}
