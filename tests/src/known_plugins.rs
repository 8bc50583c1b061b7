//! What the hosts of a site say about their plugins.

use bulkhead_core::Digest;
use bulkhead_queue::{PluginInfo, RejectedVersion, ServingVersion};

use crate::{Site, eventually};

impl Site {
    /// A plugin as a host of this site sees it, if one does.
    ///
    /// # Panics
    /// If the broker is away.
    pub async fn plugin(&self, name: &str) -> Option<PluginInfo> {
        let hosts = self.client.broker().hosts().await.expect("a broker");
        hosts.into_iter().flat_map(|host| host.plugins).find(|plugin| plugin.name == name)
    }

    /// The version of a plugin that serves now, if one does.
    pub async fn serving(&self, name: &str) -> Option<ServingVersion> {
        self.plugin(name).await?.serving
    }

    /// Wait until this version of a plugin serves.
    pub async fn serves(&self, name: &str, digest: Digest) -> ServingVersion {
        eventually(&format!("{name} {} serves", digest.short()), || async {
            self.serving(name).await.filter(|serving| serving.digest == digest)
        })
        .await
    }

    /// Wait until this file of a plugin is refused.
    pub async fn refuses(&self, name: &str, digest: Digest) -> RejectedVersion {
        eventually(&format!("{name} {} is refused", digest.short()), || async {
            self.plugin(name).await?.rejected.filter(|rejected| rejected.digest == digest)
        })
        .await
    }
}
