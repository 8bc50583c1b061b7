//! What an attempt has of what it was granted: the services, what is left of its quotas, what
//! it used, and the secrets that it was handed. Only plugins that import a granted capability
//! have this; for all others nothing of it is made.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_core::{Child, Metering};
use serde::{Deserialize, Serialize};

use crate::attempt::AttemptEnd;
use crate::capability::Folders;
use crate::grants::Grants;
use crate::redact::{Redactor, Spoken};
use crate::service::{Call, Services};

/// Bounds on the tasks that guests submit, as on those of other producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildBounds {
    /// Bytes of one payload.
    pub payload_bytes: u64,
    /// Bytes of all metadata keys and values of one task.
    pub metadata_bytes: u64,
}

impl Default for ChildBounds {
    fn default() -> Self {
        Self { payload_bytes: 8 << 20, metadata_bytes: 16 << 10 }
    }
}

/// What passed between a guest and its capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    pub(crate) calls: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Traffic {
    /// A call begins.
    pub(crate) fn call(&mut self) {
        self.calls = self.calls.saturating_add(1);
    }

    /// A capability gave the guest this.
    pub(crate) fn came_in(&mut self, bytes: usize) {
        self.bytes_in = self.bytes_in.saturating_add(bytes as u64);
    }

    /// The guest gave a capability this.
    pub(crate) fn went_out(&mut self, bytes: usize) {
        self.bytes_out = self.bytes_out.saturating_add(bytes as u64);
    }
}

/// What one compartment has of what its plugin was granted.
pub(crate) struct Powers {
    pub(crate) grants: Arc<Grants>,
    pub(crate) services: Services,
    pub(crate) child_bounds: ChildBounds,
    pub(crate) traffic: Traffic,
    pub(crate) spoken: Spoken,
    /// What is left of `kv`'s `operations`.
    pub(crate) kv_operations: u32,
    /// None before they were opened, and for a plugin that uses none.
    pub(crate) folders: Option<Box<Folders>>,
}

impl Powers {
    pub(crate) fn new(
        grants: &Arc<Grants>,
        services: &Services,
        child_bounds: ChildBounds,
    ) -> Box<Self> {
        Box::new(Self {
            grants: Arc::clone(grants),
            services: services.clone(),
            child_bounds,
            traffic: Traffic::default(),
            spoken: Spoken::default(),
            kv_operations: grants.kv.map_or(0, |kv| kv.operations),
            folders: None,
        })
    }

    /// Add what was used to a metering.
    pub(crate) fn meter(&self, metering: &mut Metering) {
        let files = self.folders.as_deref().map(Folders::traffic).unwrap_or_default();
        let Traffic { calls, bytes_in, bytes_out } = self.traffic;
        metering.host_calls = calls.saturating_add(files.calls);
        metering.bytes_in = bytes_in.saturating_add(files.bytes_in);
        metering.bytes_out = bytes_out.saturating_add(files.bytes_out);
    }

    /// Tell whoever wants to know that a call ended.
    pub(crate) fn called(
        &self,
        capability: &'static str,
        operation: &str,
        began: Instant,
        succeeded: bool,
    ) {
        if let Some(calls) = &self.services.calls {
            calls.called(&Call { capability, operation, target: None, began, succeeded });
        }
    }

    /// What takes the secrets that were handed out from texts.
    pub(crate) fn redactor(&self) -> Option<&Redactor> {
        self.spoken.redactor()
    }

    /// Take the secrets out of an attempt's end.
    pub(crate) fn redact(&self, end: &mut AttemptEnd) {
        if let Some(redactor) = self.redactor() {
            redactor.outcome(&mut end.outcome);
            redactor.logs(&mut end.logs);
        }
    }
}

/// The children of one task so far.
#[derive(Default)]
pub(crate) struct Children {
    pub(crate) submitted: Vec<Child>,
    /// Bytes of their payloads and metadata.
    pub(crate) bytes: u64,
}
