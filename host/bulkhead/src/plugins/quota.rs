//! How much of a tenant's plugin folder is let in: a pure function of what lies there.
//!
//! What serves comes before what does not, and otherwise the order is that of names, so that
//! no file puts out one that works, and all hosts that start decide alike.

use std::collections::BTreeMap;

use bulkhead_core::TenantName;

use super::tenants::PluginQuota;
use crate::config::quantity::Size;

/// A plugin file of a tenant.
pub(super) struct TenantFile<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: u64,
    /// Whether a version of it serves.
    pub(super) serves: bool,
}

/// The files that are over the quota, and why.
pub(super) fn over(
    tenant: &TenantName,
    files: &[TenantFile<'_>],
    quota: &PluginQuota,
) -> BTreeMap<String, String> {
    let mut order: Vec<&TenantFile<'_>> = files.iter().collect();
    order.sort_by_key(|file| (!file.serves, file.name));
    let (mut number, mut bytes) = (0_u64, 0_u64);
    let mut over = BTreeMap::new();
    for file in order {
        let with_it = bytes.saturating_add(file.bytes);
        let reason = match (quota.files, quota.bytes) {
            (Some(most), _) if number >= most => format!(
                "it waits: `plugins` of the tenant `{tenant}` is {most}, and as many of its files \
                 come first (those that serve, then by name); it is taken up when one of them goes \
                 or the bound is raised"
            ),
            (_, Some(most)) if with_it > most => format!(
                "it waits: `plugin_bytes` of the tenant `{tenant}` is {}, and with the files that \
                 come first (those that serve, then by name) it makes {}; it is taken up when there \
                 is room or the bound is raised",
                Size(most),
                Size(with_it)
            ),
            _ => {
                (number, bytes) = (number + 1, with_it);
                continue;
            }
        };
        over.insert(file.name.to_owned(), reason);
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as `name` or `name+` (serves), each of so many bytes.
    fn refused(files: &[(&str, u64)], most: Option<u64>, bytes: Option<u64>) -> Vec<String> {
        let files: Vec<TenantFile<'_>> = files
            .iter()
            .map(|(name, bytes)| TenantFile {
                name: name.trim_end_matches('+'),
                bytes: *bytes,
                serves: name.ends_with('+'),
            })
            .collect();
        let quota = PluginQuota { files: most, bytes, compile_per_hour: None };
        over(&TenantName::new("acme").unwrap(), &files, &quota).into_keys().collect()
    }

    #[test]
    fn those_that_serve_stay_and_others_come_by_name() {
        let files = [("a", 1), ("b", 1), ("c+", 1), ("d", 1)];
        assert_eq!(refused(&files, None, None), Vec::<String>::new());
        assert_eq!(refused(&files, Some(4), None), Vec::<String>::new());
        assert_eq!(refused(&files, Some(2), None), ["b", "d"]);
        assert_eq!(refused(&files, Some(1), None), ["a", "b", "d"]);
        assert_eq!(refused(&files, Some(0), None), ["a", "b", "c", "d"]);
    }

    #[test]
    fn one_that_is_too_large_leaves_room_for_smaller_ones() {
        let files = [("a", 9), ("b+", 5), ("c", 5), ("d", u64::MAX)];
        assert_eq!(refused(&files, None, Some(10)), ["a", "d"]);
        assert_eq!(refused(&files, Some(1), Some(10)), ["a", "c", "d"]);
        assert_eq!(refused(&[("a+", 9), ("b+", 5)], None, Some(10)), ["b"]);
    }
}
