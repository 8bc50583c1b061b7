//! Plugins as JSON documents.

use bulkhead_queue::PluginInfo;
use serde::Serialize;
use utoipa::ToSchema;

/// A plugin of one host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostPlugin)]
pub struct PluginDocument<'a> {
    /// The host.
    pub host: &'a str,
    /// The plugin as that host sees it.
    #[serde(flatten)]
    pub plugin: &'a PluginInfo,
    /// Whether hosts serve different versions of it.
    pub mixed: bool,
}
