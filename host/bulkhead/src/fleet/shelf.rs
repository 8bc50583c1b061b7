//! What people do with pushed plugins: push, activate, roll back, remove. Each is a change of
//! documents in the broker, which hosts then follow; each is written in the journal.
//!
//! It knows the broker's archive and no host.

mod activate;
mod forget;
mod push;
#[cfg(test)]
mod tests;

use bulkhead_core::PluginId;
use bulkhead_queue::{Archive, Document, DocumentKind, JournalLine, QueueError};

pub use activate::Activated;
pub use push::{Pushed, Upload};

use super::Fleet;
use crate::plugins::Identity;

/// How often a change is tried again that another one came before.
pub(super) const TRIES: u32 = 5;

/// Why pushed plugins are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// What was asked for makes no sense as things are.
    #[error("{0}")]
    Refused(String),
    /// There is no such plugin or version.
    #[error("{0}")]
    NotFound(String),
    /// There is no room now; it is made within ten minutes.
    #[error("{0}")]
    Busy(String),
    /// The broker did not do its part.
    #[error(transparent)]
    Broker(#[from] QueueError),
}

/// The pushed plugins of one broker, and in whose name they are changed.
pub struct Shelf<'a> {
    pub(super) archive: &'a dyn Archive,
    pub(super) actor: String,
}

impl<'a> Shelf<'a> {
    /// Change them as this person or program.
    pub fn new(archive: &'a dyn Archive, actor: impl Into<String>) -> Self {
        Self { archive, actor: actor.into() }
    }

    /// All that was pushed.
    pub async fn read(&self) -> Result<Fleet, QueueError> {
        read(self.archive).await
    }

    pub(super) async fn note(
        &self,
        action: &str,
        plugin: &Identity,
        detail: &str,
    ) -> Result<(), QueueError> {
        let line = JournalLine::new(&self.actor, action, &plugin.to_string(), detail);
        self.archive.journal(&line).await
    }
}

/// All that was pushed. What cannot be read was put there by somebody else's hand.
pub(crate) async fn read(archive: &dyn Archive) -> Result<Fleet, QueueError> {
    // Activations first: a version that one names is then among the versions.
    let activations = archive.documents(DocumentKind::Activation).await?;
    let canaries = archive.documents(DocumentKind::Canary).await?;
    let versions = archive.documents(DocumentKind::Version).await?;
    let activations = activations.iter().filter_map(|(_, document)| parsed(document));
    let canaries = canaries.iter().filter_map(|(_, document)| parsed(document));
    let versions = versions.iter().filter_map(|(_, document)| parsed(document));
    Ok(Fleet::of(versions, activations).with(canaries))
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(document: &Document) -> Option<T> {
    serde_json::from_slice(&document.0).ok()
}

pub(super) fn written(of: &impl serde::Serialize) -> Result<Document, FleetError> {
    let bytes = serde_json::to_vec(of);
    bytes.map(Document).map_err(|e| FleetError::Refused(format!("it cannot be written: {e}")))
}

pub(super) fn key(plugin: &Identity) -> Result<String, FleetError> {
    let id: Option<PluginId> = plugin.id();
    let id = id.ok_or_else(|| FleetError::NotFound(format!("`{plugin}` is no plugin's name")))?;
    Ok(id.stored())
}

pub(super) fn unknown(plugin: &Identity) -> FleetError {
    FleetError::NotFound(format!(
        "no version of `{plugin}` was pushed; `bulkhead plugin push` keeps one"
    ))
}
