//! `[layers.NAME]` as it is written. Which keys belong together depends on `kind`.

use serde::{Deserialize, Serialize};

use crate::config::quantity::{Size, Span};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawLayer {
    /// Nothing said: the layer's name.
    pub(in crate::config) kind: Option<String>,
    pub(in crate::config) level: Option<String>,
    pub(in crate::config) after: Option<Span>,
    pub(in crate::config) rate: Option<String>,
    pub(in crate::config) per: Option<String>,
    pub(in crate::config) wait: Option<Span>,
    pub(in crate::config) payload: Option<Size>,
    pub(in crate::config) result: Option<Size>,
    pub(in crate::config) keys: Option<Vec<String>>,
    pub(in crate::config) failures: Option<u32>,
    pub(in crate::config) share: Option<f64>,
    pub(in crate::config) window: Option<Span>,
    pub(in crate::config) open: Option<Span>,
    pub(in crate::config) probes: Option<u32>,
    pub(in crate::config) on: Option<Vec<String>>,
}

impl RawLayer {
    pub(super) fn with_every_key() -> Self {
        let text = || Some(String::new());
        Self { kind: text(), level: text(), rate: text(), per: text(), ..Self::default() }
    }

    /// The keys that are said, but for `kind`.
    pub(in crate::config) fn said(&self) -> Vec<&'static str> {
        let keys = [
            ("level", self.level.is_some()),
            ("after", self.after.is_some()),
            ("rate", self.rate.is_some()),
            ("per", self.per.is_some()),
            ("wait", self.wait.is_some()),
            ("payload", self.payload.is_some()),
            ("result", self.result.is_some()),
            ("keys", self.keys.is_some()),
            ("failures", self.failures.is_some()),
            ("share", self.share.is_some()),
            ("window", self.window.is_some()),
            ("open", self.open.is_some()),
            ("probes", self.probes.is_some()),
            ("on", self.on.is_some()),
        ];
        keys.into_iter().filter(|(_, is_said)| *is_said).map(|(key, _)| key).collect()
    }
}
