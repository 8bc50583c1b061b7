//! What the lines of one host share: whom they speak to, what runs their tasks, and what bounds
//! all of them together.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bulkhead_core::TaskType;
use bulkhead_queue::Broker;
use bulkhead_sandbox::{Budget, Sandbox};
use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;

use super::backends::Backends;
use super::bell::RoomBell;
use super::permits::Permits;
use super::shelf::Shelf;
use super::tally::Tally;
use crate::metrics::Metrics;
use crate::plugins::Registry;
use crate::traces::Traces;

/// What the lines of one host share.
pub(crate) struct Shared {
    /// The host's name, for people.
    pub(crate) host: Arc<str>,
    /// Whose its leases are: its name and which of its lives this is, so that no other
    /// process holds leases under the same one, whatever it is called.
    pub(crate) holder: Arc<str>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) backends: Backends,
    pub(crate) permits: Permits,
    /// Set while the machine is too busy or too full for more work.
    pub(crate) refuses: AtomicBool,
    /// What attempts come to, if somebody follows that.
    pub(crate) tally: Option<Arc<Tally>>,
    /// The memory that attempts may come to.
    pub(crate) budget: Budget,
    pub(crate) sandbox: Sandbox,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Option<Traces>,
    pub(crate) log_payloads: bool,
    /// The memory for the records of claimed tasks.
    pub(crate) shelf: Arc<Shelf>,
    /// Rung when any of these three has room again.
    pub(crate) room: Arc<RoomBell>,
    pub(crate) lease: Duration,
    /// Settlements and attempts of one queue that may be open at once.
    pub(crate) settlement_buffer: usize,
    /// Rung when a line wants to hear of new work.
    pub(crate) hunger: Notify,
    /// The task type under which unreadable records are shown.
    pub(crate) unreadable_type: TaskType,
    /// The runtime on which the broker's connections live.
    pub(crate) control: Runtime,
}
