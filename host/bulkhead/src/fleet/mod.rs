//! Plugins that are kept in the broker for all hosts: the versions that were pushed, and which of
//! them is active.
//!
//! A version is a document that names blobs; an activation is a document that names a version and
//! those before it. What follows from both is decided here by pure functions, alike on all hosts.
//! Whether a version is any good is known to hosts alone, which take it through their gates.

mod canary;
mod promotion;
mod room;
mod shelf;
mod steer;

use std::collections::{BTreeMap, HashSet};

use bulkhead_core::{Digest, PluginId, PluginName, TenantName, UnixMs};
use serde::{Deserialize, Serialize};

pub use canary::{
    Canary, CanaryBy, CanaryCounts, CanaryEnd, CanaryPlan, CanaryPromotion, CanaryRound,
    CanaryVerdict,
};
pub use room::Room;
pub(crate) use shelf::read;
pub use shelf::{Activated, FleetError, Pushed, Shelf, Upload};
pub use steer::CanaryTurn;

use crate::plugins::Identity;

/// Versions of one plugin that are kept, besides the active one.
pub const KEPT_VERSIONS: usize = 10;

/// Steps of an activation that are kept.
pub const KEPT_STEPS: usize = 50;

/// A version that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The plugin.
    pub name: PluginName,
    /// The tenant whose it is; none for the operator's.
    pub owner: Option<TenantName>,
    /// sha256 of the component: the blob that holds it.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// The version that it gives itself, if that was known.
    pub version: Option<String>,
    /// The blob of its manifest, if it has one.
    #[serde(with = "some_digest_text", default)]
    pub manifest: Option<Digest>,
    /// The text of its signature file, if it has one.
    pub signature: Option<String>,
    /// Bytes of the component.
    pub size_bytes: u64,
    /// When it was pushed, by the broker's clock.
    pub pushed_at: UnixMs,
    /// Who says to have pushed it.
    pub pushed_by: String,
}

impl Version {
    /// The plugin that it is a version of.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::of(self.owner.as_ref(), self.name.as_str())
    }

    fn key(&self) -> String {
        let id = PluginId::of(self.owner.as_ref(), &self.name);
        format!("{}/{}", id.stored(), self.digest)
    }
}

/// Which version of a plugin all hosts are to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The plugin.
    pub name: PluginName,
    /// The tenant whose it is; none for the operator's.
    pub owner: Option<TenantName>,
    /// What was activated, the latest last; at most [`KEPT_STEPS`]. The latest is active.
    pub steps: Vec<Step>,
}

/// One time that a version was activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The version.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// What it called itself.
    pub version: Option<String>,
    /// When, by the clock of who did it.
    pub at: UnixMs,
    /// Who says to have done it.
    pub by: String,
    /// Whether this was to undo the step before.
    #[serde(default)]
    pub rollback: bool,
}

impl Activation {
    /// The version that all hosts are to serve.
    #[must_use]
    pub fn active(&self) -> Option<Digest> {
        self.steps.last().map(|step| step.digest)
    }

    /// The plugin.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::of(self.owner.as_ref(), self.name.as_str())
    }

    /// The version to go back to: the latest other one that is still kept. A rollback itself is
    /// no version to go back from, so that two of them go two versions back.
    #[must_use]
    pub fn before(&self, kept: &HashSet<Digest>) -> Option<&Step> {
        let mut undone: Vec<&Step> = Vec::new();
        for step in &self.steps {
            match step.rollback {
                true => {
                    let back = undone.iter().rposition(|before| before.digest == step.digest);
                    undone.truncate(back.map_or(0, |at| at + 1));
                    if back.is_none() {
                        undone.push(step);
                    }
                }
                false => undone.push(step),
            }
        }
        let active = self.active()?;
        undone.into_iter().rev().find(|step| step.digest != active && kept.contains(&step.digest))
    }
}

/// All that was pushed, and what is active of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fleet {
    /// By plugin, each sorted by when it was pushed, the newest last.
    pub versions: BTreeMap<Identity, Vec<Version>>,
    /// By plugin.
    pub activations: BTreeMap<Identity, Activation>,
    /// By plugin, the one that runs or the last one.
    pub canaries: BTreeMap<Identity, Canary>,
}

/// What hosts do about one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The version to serve.
    pub active: Option<&'a Version>,
    /// The newest one, which is taken through the gates before anybody activates it.
    pub newest: Option<&'a Version>,
    /// The one that a canary tries.
    pub canary: Option<&'a Version>,
}

impl<'a> Wanted<'a> {
    /// All of them; one may be there twice.
    pub fn versions(&self) -> impl Iterator<Item = &'a Version> + use<'a> {
        [self.active, self.newest, self.canary].into_iter().flatten()
    }
}

impl Fleet {
    /// Put together what documents say. Those that cannot be read are passed over.
    #[must_use]
    pub fn of(
        versions: impl IntoIterator<Item = Version>,
        activations: impl IntoIterator<Item = Activation>,
    ) -> Self {
        let mut fleet = Self::default();
        for version in versions {
            fleet.versions.entry(version.identity()).or_default().push(version);
        }
        for versions in fleet.versions.values_mut() {
            versions.sort_by_key(|version| (version.pushed_at, version.digest.0));
        }
        for activation in activations {
            fleet.activations.insert(activation.identity(), activation);
        }
        fleet
    }

    /// The same with canaries.
    #[must_use]
    pub fn with(mut self, canaries: impl IntoIterator<Item = Canary>) -> Self {
        self.canaries.extend(canaries.into_iter().map(|canary| (canary.identity(), canary)));
        self
    }

    /// The version of a plugin that all hosts are to serve.
    #[must_use]
    pub fn active(&self, identity: &Identity) -> Option<Digest> {
        self.activations.get(identity).and_then(Activation::active)
    }

    /// The canary of a plugin, if one is in force.
    #[must_use]
    pub fn canary(&self, identity: &Identity) -> Option<&Canary> {
        let active = self.active(identity);
        self.canaries.get(identity).filter(|canary| canary.is_in_force(active))
    }

    /// What is wanted of each plugin that was pushed.
    pub fn wanted(&self) -> impl Iterator<Item = (&Identity, Wanted<'_>)> {
        self.versions.iter().map(|(identity, versions)| {
            let of = |digest: Option<Digest>| {
                versions.iter().find(|version| Some(version.digest) == digest)
            };
            let canary = self.canary(identity).map(|canary| canary.digest);
            let (active, canary) = (of(self.active(identity)), of(canary));
            (identity, Wanted { active, newest: versions.last(), canary })
        })
    }

    /// Versions of one plugin, the newest last.
    #[must_use]
    pub fn versions_of(&self, identity: &Identity) -> &[Version] {
        self.versions.get(identity).map_or(&[], Vec::as_slice)
    }

    /// The versions that nobody needs any more: all but the newest ones, the active one, the one
    /// before it, and the one that a canary tries.
    #[must_use]
    pub fn old(&self, identity: &Identity) -> Vec<&Version> {
        let (versions, needed) = (self.versions_of(identity), self.needed(identity));
        let count = versions.len().saturating_sub(KEPT_VERSIONS);
        versions.iter().take(count).filter(|version| !needed.contains(&version.digest)).collect()
    }

    /// The active version, the one before it, and the one that a canary tries.
    fn needed(&self, identity: &Identity) -> HashSet<Digest> {
        let versions = self.versions_of(identity).iter();
        let kept = versions.map(|version| version.digest).collect();
        let activation = self.activations.get(identity);
        let active = activation.and_then(Activation::active);
        let before = activation.and_then(|it| it.before(&kept)).map(|step| step.digest);
        let canary = self.canary(identity).map(|canary| canary.digest);
        [active, before, canary].into_iter().flatten().collect()
    }

    /// The blobs that some version names.
    #[must_use]
    pub fn named(&self) -> HashSet<Digest> {
        let versions = self.versions.values().flatten();
        versions.flat_map(|version| [Some(version.digest), version.manifest]).flatten().collect()
    }
}

/// Which of these versions somebody means by this text: the beginning of its digest, at least
/// six digits of it, or what it calls itself.
pub fn meant<'a>(versions: &'a [Version], text: &str) -> Result<&'a Version, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let is_digest = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let by_digest =
        |version: &&Version| is_digest && version.digest.to_string().starts_with(&digits);
    let mut found: Vec<&Version> = versions.iter().filter(by_digest).collect();
    if found.is_empty() {
        let named = |version: &&Version| version.version.as_deref() == Some(text);
        found = versions.iter().filter(named).collect();
    }
    let shown = |versions: &mut dyn Iterator<Item = &Version>| -> String {
        let each = versions.map(|version| match &version.version {
            Some(named) => format!("{} ({named})", version.digest.short()),
            None => version.digest.short(),
        });
        each.collect::<Vec<_>>().join(", ")
    };
    match found[..] {
        [one] => Ok(one),
        [] => Err(format!(
            "no pushed version is `{}`; there are: {}",
            text.escape_debug(),
            shown(&mut versions.iter().rev())
        )),
        _ => Err(format!(
            "several pushed versions are `{}`: {}; write more of the digest",
            text.escape_debug(),
            shown(&mut found.into_iter())
        )),
    }
}

mod digest_text {
    use bulkhead_core::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod some_digest_text {
    use bulkhead_core::Digest;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[allow(clippy::ref_option, reason = "the form that serde asks for")]
    pub(super) fn serialize<S: Serializer>(of: &Option<Digest>, to: S) -> Result<S::Ok, S::Error> {
        of.as_ref().map(ToString::to_string).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Digest>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, number: u8, named: &str) -> Version {
        Version {
            name: PluginName::new(name).unwrap(),
            owner: None,
            digest: Digest([number; 32]),
            version: Some(named.into()),
            manifest: None,
            signature: None,
            size_bytes: 1,
            pushed_at: u64::from(number),
            pushed_by: "ann".into(),
        }
    }

    fn activation(steps: &[(u8, bool)]) -> Activation {
        let step = |&(number, rollback): &(u8, bool)| Step {
            digest: Digest([number; 32]),
            version: None,
            at: 0,
            by: String::new(),
            rollback,
        };
        Activation {
            name: PluginName::new("a").unwrap(),
            owner: None,
            steps: steps.iter().map(step).collect(),
        }
    }

    #[test]
    fn a_rollback_goes_to_the_one_before_and_two_go_two_back() {
        let kept: HashSet<Digest> = (1..=4).map(|number| Digest([number; 32])).collect();
        let before =
            |steps: &[(u8, bool)]| activation(steps).before(&kept).map(|step| step.digest.0[0]);
        assert_eq!(before(&[]), None);
        assert_eq!(before(&[(1, false)]), None);
        assert_eq!(before(&[(1, false), (1, false)]), None);
        assert_eq!(before(&[(1, false), (2, false)]), Some(1));
        assert_eq!(before(&[(1, false), (2, false), (3, false), (2, true)]), Some(1));
        assert_eq!(before(&[(1, false), (2, false), (3, false), (2, true), (4, false)]), Some(2));
        assert_eq!(before(&[(1, false), (9, false), (3, false)]), Some(1), "9 is not kept");
        assert_eq!(before(&[(3, true)]), None);
    }

    #[test]
    fn the_newest_the_active_and_the_one_before_are_kept() {
        let identity = Identity::from("a");
        let all = || (1..=15).map(|number| version("a", number, ""));
        let numbers = |fleet: &Fleet| -> Vec<u8> {
            fleet.old(&identity).iter().map(|version| version.digest.0[0]).collect()
        };
        assert_eq!(numbers(&Fleet::of(all(), [])), [1, 2, 3, 4, 5]);
        let fleet = Fleet::of(all(), [activation(&[(1, false), (3, false), (2, false)])]);
        assert_eq!(numbers(&fleet), [1, 4, 5]);
        let (of, wanted) = fleet.wanted().next().unwrap();
        assert_eq!(*of, identity);
        let number = |version: Option<&Version>| version.unwrap().digest.0[0];
        assert_eq!((number(wanted.active), number(wanted.newest)), (2, 15));
        assert_eq!(Fleet::of(all(), []).wanted().next().unwrap().1.active, None);
        let gone = Fleet::of(all(), [activation(&[(99, false)])]);
        assert_eq!(gone.wanted().next().unwrap().1.active, None, "its version is gone");
    }

    #[test]
    fn a_version_is_meant_by_its_digest_or_by_what_it_calls_itself() {
        let versions =
            [version("a", 1, "1.0.0"), version("a", 2, "1.1.0"), version("a", 3, "1.1.0")];
        let number = |text: &str| meant(&versions, text).map(|version| version.digest.0[0]);
        assert_eq!(number("1.0.0"), Ok(1));
        assert_eq!(number("020202"), Ok(2));
        assert_eq!(number(&format!("sha256:{}", Digest([3; 32]))), Ok(3));
        assert!(number("1.1.0").unwrap_err().contains("020202020202 (1.1.0), 030303"));
        assert!(number("0202").unwrap_err().contains("030303030303 (1.1.0), 020202"));
        assert!(number("2.0.0").is_err());
    }

    #[test]
    fn documents_are_read_as_they_were_written() {
        let version = Version { manifest: Some(Digest([9; 32])), ..version("a", 1, "1.0.0") };
        let text = serde_json::to_string(&version).unwrap();
        assert!(text.contains(&format!("\"digest\":\"{}\"", Digest([1; 32]))), "{text}");
        assert_eq!(serde_json::from_str::<Version>(&text).unwrap(), version);
        let activation = activation(&[(1, false), (2, true)]);
        let text = serde_json::to_string(&activation).unwrap();
        assert_eq!(serde_json::from_str::<Activation>(&text).unwrap(), activation);
    }
}
