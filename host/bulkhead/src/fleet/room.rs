//! How much of the broker one tenant's pushed plugins may take: a pure function of what is kept.
//!
//! What hosts serve or may go back to stays. Other versions of the plugin that is pushed make
//! room, the oldest first; where that is not enough, the push is refused.

use std::collections::HashSet;

use bulkhead_core::{Digest, TenantName};

use super::{Fleet, Version};
use crate::config::quantity::Size;
use crate::plugins::{Identity, PluginQuota};

/// How much one tenant may have in the broker, over all versions of all its plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Plugins.
    pub plugins: u64,
    /// Versions of all of them.
    pub versions: usize,
    /// Bytes of all versions, manifests left out.
    pub bytes: u64,
}

impl Room {
    /// The most that any tenant has, whatever its quota says: a fifth of the blobs that a broker
    /// stores, each with its manifest, and a quarter of their bytes.
    pub const MOST: Self = Self { plugins: 100, versions: 100, bytes: 1 << 30 };

    /// What a quota leaves of it.
    #[must_use]
    pub fn of(quota: &PluginQuota) -> Self {
        Self {
            plugins: quota.files.unwrap_or(u64::MAX).min(Self::MOST.plugins),
            versions: Self::MOST.versions,
            bytes: quota.bytes.unwrap_or(u64::MAX).min(Self::MOST.bytes),
        }
    }

    /// The versions that make room for one of so many bytes, or why there is none.
    pub(super) fn made_by<'a>(
        &self,
        fleet: &'a Fleet,
        plugin: &Identity,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<Vec<&'a Version>, String> {
        let Some(tenant) = &plugin.owner else { return Ok(Vec::new()) };
        let of_tenant = |other: &&Identity| other.owner.as_ref() == Some(tenant);
        let others = fleet.versions.keys().filter(of_tenant).filter(|other| *other != plugin);
        let plugins = others.clone().count() as u64 + 1;
        if plugins > self.plugins {
            return Err(self.full(tenant, &format!("{} plugins", self.plugins), "a plugin"));
        }
        let own = fleet.versions_of(plugin).iter().filter(|version| version.digest != digest);
        let kept: Vec<&Version> =
            others.flat_map(|other| fleet.versions_of(other)).chain(own).collect();
        let mut versions = kept.len() + 1;
        let bytes = kept.iter().map(|version| version.size_bytes);
        let mut bytes = bytes.fold(size_bytes, u64::saturating_add);
        let needed: HashSet<Digest> = fleet.needed(plugin).into_iter().chain([digest]).collect();
        let mut spare =
            fleet.versions_of(plugin).iter().filter(|version| !needed.contains(&version.digest));
        let mut make_room = Vec::new();
        while versions > self.versions || bytes > self.bytes {
            let Some(old) = spare.next() else {
                let most = match versions > self.versions {
                    true => format!("{} versions", self.versions),
                    false => format!("{} of versions", Size(self.bytes)),
                };
                return Err(self.full(tenant, &most, "a plugin that is not used"));
            };
            (versions, bytes) = (versions - 1, bytes.saturating_sub(old.size_bytes));
            make_room.push(old);
        }
        Ok(make_room)
    }

    fn full(&self, tenant: &TenantName, most: &str, what: &str) -> String {
        format!(
            "the tenant `{tenant}` may keep {most} in the broker (`plugins` and `plugin_bytes` of \
             the tenant, and never more than {} versions and {}), and has no room for this one; \
             remove {what}",
            Self::MOST.versions,
            Size(Self::MOST.bytes)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Activation, Step};
    use super::*;

    fn version(plugin: &str, number: u8, size_bytes: u64) -> Version {
        let (owner, name) = plugin.split_once('/').unwrap();
        Version {
            name: name.parse().unwrap(),
            owner: Some(owner.parse().unwrap()),
            digest: Digest([number; 32]),
            version: None,
            manifest: None,
            signature: None,
            size_bytes,
            pushed_at: u64::from(number),
            pushed_by: "ann".to_owned(),
        }
    }

    /// `acme/a` with the versions 1 to 3 of 10 bytes, of which 1 is active; `acme/b` with one of
    /// 10; one of another tenant.
    fn fleet() -> Fleet {
        let versions = [
            version("acme/a", 1, 10),
            version("acme/a", 2, 10),
            version("acme/a", 3, 10),
            version("acme/b", 4, 10),
            version("other/a", 5, 1 << 40),
        ];
        let digest = versions[0].digest;
        let step = Step { digest, version: None, at: 0, by: String::new(), rollback: false };
        let (name, owner) = (versions[0].name.clone(), versions[0].owner.clone());
        Fleet::of(versions, [Activation { name, owner, steps: vec![step] }])
    }

    /// The versions that make room for this one.
    fn made(room: &Room, plugin: &str, number: u8, size_bytes: u64) -> Result<Vec<u8>, String> {
        let fleet = fleet();
        let plugin = version(plugin, number, 0).identity();
        let made = room.made_by(&fleet, &plugin, Digest([number; 32]), size_bytes);
        made.map(|made| made.iter().map(|version| version.digest.0[0]).collect())
    }

    #[test]
    fn old_versions_of_the_plugin_make_room_and_what_serves_stays() {
        let room = |versions, bytes| Room { plugins: 2, versions, bytes };
        assert_eq!(made(&room(5, 50), "acme/a", 9, 10), Ok(vec![]));
        assert_eq!(made(&room(4, 50), "acme/a", 9, 10), Ok(vec![2]));
        assert_eq!(made(&room(5, 49), "acme/a", 9, 10), Ok(vec![2]));
        assert_eq!(made(&room(5, 30), "acme/a", 9, 10), Ok(vec![2, 3]));
        assert_eq!(made(&room(4, 40), "acme/a", 3, 10), Ok(vec![]), "it is there already");
        let full = made(&room(5, 29), "acme/a", 9, 10).unwrap_err();
        assert!(full.contains("`acme` may keep 29 B") && full.contains("remove"), "{full}");
        assert!(made(&room(2, 99), "acme/a", 9, 10).unwrap_err().contains("2 versions"));
        assert!(made(&room(4, 99), "acme/b", 9, 10).is_ok(), "its own one goes");
        assert!(made(&room(5, 99), "acme/c", 9, 10).unwrap_err().contains("2 plugins"));
    }

    #[test]
    fn a_tenant_without_a_quota_has_a_bound_too() {
        let quota = PluginQuota { files: None, bytes: None, compile_per_hour: None };
        assert_eq!(Room::of(&quota), Room::MOST);
        let quota = PluginQuota { files: Some(3), bytes: Some(u64::MAX), ..quota };
        assert_eq!(Room::of(&quota), Room { plugins: 3, ..Room::MOST });
        let too_large = made(&Room::MOST, "acme/a", 9, Room::MOST.bytes + 1);
        assert!(too_large.unwrap_err().contains("1 GiB"));
    }
}
