//! The binary's command line as people meet it: help, results, messages, exit codes.
//!
//! Each test has a broker of its own. Ids, times, ports and measurements differ
//! from run to run and are masked before a result is compared.

#[path = "cli/batches.rs"]
mod batches;
#[path = "cli/dead.rs"]
mod dead;
#[path = "cli/plugins.rs"]
mod plugins;
#[path = "cli/queues.rs"]
mod queues;
#[path = "cli/schedules.rs"]
mod schedules;
#[path = "cli/stage.rs"]
mod stage;
#[path = "cli/tasks.rs"]
mod tasks;
#[path = "cli/terms.rs"]
mod terms;
#[path = "cli/usage.rs"]
mod usage;

use stage::{Place, masked, masked_tables};
