//! The folder of tenants' folders: which tenants have one, and the way into it.
//!
//! A tenant's folder is a folder in it whose name is a tenant's. Symbolic links are none, and
//! neither is the operator's own folder, so that nobody's files become somebody else's. What
//! is in a tenant's folder is not known here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bulkhead_core::TenantName;
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::folder::Place;

/// Most tenants that have a folder; the first by name count.
const MAX_TENANTS: usize = 10_000;

/// The folder of tenants' folders.
pub(super) struct TenantFolders {
    dir: Dir,
    path: PathBuf,
    /// Where the operator's plugins are.
    operators: Place,
    /// Entries at the last look that were no tenant's folder.
    odd: usize,
}

impl TenantFolders {
    pub(super) fn open(path: &Path, operators: Place) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(Self { dir, path: path.to_owned(), operators, odd: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The tenants that have a folder now, and where it is.
    pub(super) fn look(&mut self) -> io::Result<BTreeMap<TenantName, Place>> {
        let (mut found, mut odd) = (BTreeMap::new(), 0);
        for entry in self.dir.entries()? {
            let name = entry?.file_name();
            let tenant = name.to_str().and_then(|name| TenantName::new(name).ok());
            match tenant.and_then(|tenant| Some((self.place(&tenant)?, tenant))) {
                Some((place, tenant)) => drop(found.insert(tenant, place)),
                None => odd += 1,
            }
            if found.len() > MAX_TENANTS {
                found.pop_last();
                odd += 1;
            }
        }
        if odd != self.odd {
            self.odd = odd;
            tracing::warn!(folder = %self.path.display(), entries = odd,
                "entries of the tenants' folder are passed over: they are no folder under a \
                 tenant's name, or there are too many");
        }
        Ok(found)
    }

    /// The way into a tenant's folder, if it is still the one that was found.
    pub(super) fn enter(&self, tenant: &TenantName, place: Place) -> io::Result<Dir> {
        let dir = self.dir.open_dir(tenant.as_str())?;
        // Opening follows links, and the name may be one by now.
        if Place::of(&dir.dir_metadata()?) != place || self.place(tenant) != Some(place) {
            return Err(io::Error::other("it was replaced while it was opened"));
        }
        Ok(dir)
    }

    /// Where a tenant's folder is, if it has one.
    fn place(&self, tenant: &TenantName) -> Option<Place> {
        let metadata = self.dir.symlink_metadata(tenant.as_str()).ok()?;
        let place = Place::of(&metadata);
        (metadata.is_dir() && place != self.operators).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::folder::Folder;

    #[test]
    fn only_real_folders_under_tenants_names_are_theirs() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        for name in ["acme", "globex", "no tenant", ".hidden", "shared"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        std::fs::write(root.path().join("file"), b"").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("acme", root.path().join("thief")).unwrap();
        let operators = Folder::open(&root.path().join("shared")).unwrap().place().unwrap();
        let mut folders = TenantFolders::open(root.path(), operators).unwrap();
        let found = folders.look().unwrap();
        assert_eq!(found.keys().map(TenantName::as_str).collect::<Vec<_>>(), ["acme", "globex"]);
        assert_eq!(folders.odd, 6);
        let many = tempfile::tempdir().unwrap();
        for number in 0..=MAX_TENANTS {
            std::fs::create_dir(many.path().join(format!("t{number:05}"))).unwrap();
        }
        let mut folders_of_many = TenantFolders::open(many.path(), operators).unwrap();
        let found_of_many = folders_of_many.look().unwrap();
        assert_eq!((found_of_many.len(), folders_of_many.odd), (MAX_TENANTS, 1));
        assert!(!found_of_many.contains_key("t10000"), "the first by name count");
        let (acme, place) = found.first_key_value().unwrap();
        assert!(folders.enter(acme, *place).is_ok());
        let other = *found.last_key_value().unwrap().1;
        assert!(folders.enter(acme, other).is_err(), "another folder than was found");
        std::fs::rename(root.path().join("acme"), root.path().join("gone")).unwrap();
        std::os::unix::fs::symlink("gone", root.path().join("acme")).unwrap();
        assert!(folders.enter(acme, *place).is_err(), "a link to the very same");
    }
}
