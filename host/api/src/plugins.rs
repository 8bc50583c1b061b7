//! Plugins that are kept for all hosts, as the API changes them.
//!
//! What a plugin is, which gates it passes and where it is kept is known to the program that
//! implements [`Plugins`]; here are only the questions and the documents of their answers. The
//! API has checked who asks before it asks here.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{Digest, PluginId, PluginName, TenantName};

use crate::document::{InspectionDocument, KeptPlugin, PluginVersion};
use crate::problem::Problem;

/// A plugin: its name, and the tenant whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRef {
    /// The tenant; none for the operator's.
    pub owner: Option<TenantName>,
    /// Its name.
    pub name: PluginName,
}

impl PluginRef {
    /// As people write it: `NAME`, or `OWNER/NAME`.
    #[must_use]
    pub fn id(&self) -> PluginId {
        PluginId::of(self.owner.as_ref(), &self.name)
    }
}

/// What is uploaded.
#[derive(Debug, Clone)]
pub struct PluginUpload {
    /// The component.
    pub component: Vec<u8>,
    /// Its manifest's text, if it has one.
    pub manifest: Option<String>,
    /// Its signature file's text, if it has one.
    pub signature: Option<String>,
    /// Keep it without taking it through the gates here.
    pub unchecked: bool,
}

/// What an upload came to.
#[derive(Debug, Clone)]
pub struct PluginPushed {
    /// The version as it is kept.
    pub version: PluginVersion,
    /// Whether this very version was kept before.
    pub was_known: bool,
    /// Versions that made room.
    pub forgotten: Vec<Digest>,
}

/// What an activation came to.
#[derive(Debug, Clone)]
pub struct PluginActivated {
    /// The version that is active now.
    pub version: PluginVersion,
    /// The one that was, if there was one.
    pub before: Option<Digest>,
}

/// What looks after the plugins that are kept for all hosts. Each change is written in the
/// journal, in the name of its actor.
#[async_trait]
pub trait Plugins: Send + Sync {
    /// Bytes of the largest component that is taken.
    fn max_bytes(&self) -> u64;

    /// Bytes of the largest manifest, and of the largest signature.
    fn max_text_bytes(&self) -> u64;

    /// How long a component may be on its way through the gates.
    fn gates_take(&self) -> Duration;

    /// All that are kept, by their names.
    async fn kept(&self) -> Result<Vec<KeptPlugin>, Problem>;

    /// The version that is meant by the beginning of its digest or by what it calls itself.
    async fn meant(&self, plugin: &PluginRef, version: &str) -> Result<PluginVersion, Problem>;

    /// What a version asks for and would handle on this host.
    async fn inspect(
        &self,
        plugin: &PluginRef,
        version: &str,
    ) -> Result<InspectionDocument, Problem>;

    /// Take a component through the gates and keep it.
    async fn push(
        &self,
        plugin: &PluginRef,
        upload: PluginUpload,
        actor: &str,
    ) -> Result<PluginPushed, Problem>;

    /// Let all hosts serve a version.
    async fn activate(
        &self,
        plugin: &PluginRef,
        version: &str,
        actor: &str,
    ) -> Result<PluginActivated, Problem>;

    /// Let all hosts serve the version that was active before.
    async fn roll_back(&self, plugin: &PluginRef, actor: &str) -> Result<PluginActivated, Problem>;

    /// Forget all versions of a plugin; how many they were.
    async fn remove(&self, plugin: &PluginRef, actor: &str) -> Result<usize, Problem>;
}
