//! File events, sorted by whose folder they are of. They are hints only: whoever hears of one
//! looks, and a periodic look finds what no event told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulkhead_core::TenantName;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Owner;

/// What events told since it was asked last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dirty {
    /// The folders of these changed.
    pub(super) owners: BTreeSet<Owner>,
    /// Folders may have come or gone, or events were lost: look everywhere.
    pub(super) all: bool,
}

/// What is told, and a bell.
#[derive(Default)]
struct Told {
    dirty: Mutex<Dirty>,
    bell: Notify,
}

/// Watches folders.
pub(super) struct Watch {
    told: Arc<Told>,
    watcher: Option<notify::RecommendedWatcher>,
    tenants: Option<PathBuf>,
}

impl Watch {
    /// Watch the operator's folder and that of the tenants' folders. Where there are no events,
    /// nothing is told.
    pub(super) fn of(operators: &Path, tenants: Option<&Path>) -> Self {
        let told = Arc::new(Told::default());
        let (telling, root) = (told.clone(), tenants.map(Path::to_owned));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let dirty = match event {
                Ok(event) if !counts(&event) => return,
                Ok(event) if !event.need_rescan() => sort(&event.paths, root.as_deref()),
                _ => Dirty { all: true, ..Dirty::default() },
            };
            let mut known = telling.dirty.lock();
            known.all |= dirty.all;
            known.owners.extend(dirty.owners);
            drop(known);
            telling.bell.notify_one();
        });
        let mut watch = Self { told, watcher: None, tenants: tenants.map(Path::to_owned) };
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => unavailable(operators, &error),
        }
        watch.add(operators);
        if let Some(tenants) = tenants {
            watch.add(tenants);
        }
        watch
    }

    /// A tenant has a folder.
    pub(super) fn begin(&mut self, tenant: &TenantName) {
        if let Some(tenants) = &self.tenants {
            self.add(&tenants.join(tenant.as_str()));
        }
    }

    /// A tenant's folder is gone.
    pub(super) fn end(&mut self, tenant: &TenantName) {
        if let (Some(tenants), Some(watcher)) = (&self.tenants, &mut self.watcher) {
            // The system has ended it already if the folder was removed.
            let _ = watcher.unwatch(&tenants.join(tenant.as_str()));
        }
    }

    /// Wait until there is something to look at.
    pub(super) async fn told(&self) {
        self.told.bell.notified().await;
    }

    /// What there is to look at.
    pub(super) fn take(&self) -> Dirty {
        std::mem::take(&mut self.told.dirty.lock())
    }

    fn add(&mut self, folder: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            unavailable(folder, &error);
        }
    }
}

fn unavailable(folder: &Path, error: &notify::Error) {
    tracing::warn!(folder = %folder.display(), %error,
        "file events are not available; relying on the periodic look");
}

/// Looking opens and reads files, which is an event too: only changes count.
fn counts(event: &notify::Event) -> bool {
    !event.kind.is_access() || event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// Whose folders these paths are in.
fn sort(paths: &[PathBuf], tenants: Option<&Path>) -> Dirty {
    let mut dirty = Dirty::default();
    for path in paths {
        let Some(within) = tenants.and_then(|tenants| path.strip_prefix(tenants).ok()) else {
            dirty.owners.insert(None);
            continue;
        };
        let mut parts = within.iter();
        let tenant = parts.next().and_then(|first| TenantName::new(first.to_str()?).ok());
        match (tenant, parts.next()) {
            (Some(tenant), Some(_)) => drop(dirty.owners.insert(Some(tenant))),
            _ => dirty.all = true,
        }
    }
    dirty.all |= paths.is_empty();
    dirty
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_of_a_tenants_folder_or_of_the_operators() {
        let sorted = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            let Dirty { owners, all } = sort(&paths, Some(Path::new("/p/tenants")));
            let owners = owners.into_iter().map(|owner| owner.map_or("-".into(), String::from));
            (owners.collect::<Vec<String>>().join(" "), all)
        };
        assert_eq!(sorted(&["/p/a.wasm", "/p/tenants/acme/b.wasm"]), ("- acme".into(), false));
        assert_eq!(sorted(&["/p/tenants/acme"]), (String::new(), true));
        assert_eq!(sorted(&["/p/tenants"]), (String::new(), true));
        assert_eq!(sorted(&["/p/tenants/no name/x"]), (String::new(), true));
        assert_eq!(sorted(&[]), (String::new(), true));
        assert!(sort(&["/p/tenants/acme".into()], None).owners.contains(&None));
    }
}
