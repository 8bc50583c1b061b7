//! What the queue holds, as JSON documents: the answers of the API, and what the command line
//! prints with `--json`.
//!
//! Field names are stable and times are Unix milliseconds. Texts of guests and producers are as
//! they gave them: whoever shows them escapes them.

mod batch;
mod canary;
mod kept;
mod overview;
mod plugin;
mod queue;
mod rollout;
mod schedule;
mod sent;
mod task;

pub use batch::{BatchDocument, SubmittedDocument};
pub use canary::{CanaryDocument, CanaryRoundDocument, CanarySideDocument, CanaryVerdictDocument};
pub use kept::{
    AccessDocument, DescriptionDocument, GrantedDocument, HandlerDocument, InspectionDocument,
    KeptPlugin, MissingDocument, PluginStep, PluginVersion, RefusedDocument,
};
pub use overview::{HostNow, Latency, Look, Overview, QueueNow};
pub use plugin::PluginDocument;
pub use queue::{PolicyDocument, QueueDocument};
pub use rollout::{FollowState, Following, followed};
pub use schedule::ScheduleDocument;
pub use sent::{Sent, SentDocument};
pub use task::{PayloadDocument, SummaryDocument, TaskDocument, failure, next_name};
