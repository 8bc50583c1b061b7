//! Where things are in the checkout and in the target directory.
//!
//! Every path that another crate relies on (built guests, the plugin folder) is
//! named here once. It knows paths only and reads nothing from disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The checkout and its target directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
    target: PathBuf,
}

impl Layout {
    /// The checkout that this program was built from. `target_override` is the
    /// value of `CARGO_TARGET_DIR`, which cargo takes relative to the directory
    /// it runs in: here always the root.
    pub(crate) fn new(target_override: Option<OsString>) -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package.parent().unwrap_or(package).to_path_buf();
        Self::at(root, target_override)
    }

    fn at(root: PathBuf, target_override: Option<OsString>) -> Self {
        let target = root.join(target_override.unwrap_or_else(|| "target".into()));
        Self { root, target }
    }

    /// The root of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The sources of the plugins that ship with Bulkhead, one folder each.
    pub(crate) fn plugin_sources(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// The sources of the guests that only tests use, one folder each.
    pub(crate) fn test_guest_sources(&self) -> PathBuf {
        self.root.join("tests").join("guests")
    }

    /// Where built plugins are put, ready to be a host's plugin directory.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// Where cargo leaves what it builds for `triple` under the guest profile.
    pub(crate) fn guest_artifacts(&self, triple: &str) -> PathBuf {
        self.target.join(triple).join("guest")
    }

    /// A binary of this workspace, built for development.
    pub(crate) fn dev_binary(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// The threat model, which has the table of attacks.
    pub(crate) fn security_document(&self) -> PathBuf {
        self.root.join("docs").join("security.md")
    }

    /// Where the tools are kept that check what is in `deploy`.
    pub(crate) fn deploy_tools(&self) -> PathBuf {
        self.target.join("deploy-tools")
    }

    /// The picture of a simulated run of the autoscaler.
    pub(crate) fn autoscaler_picture(&self) -> PathBuf {
        self.root.join("docs").join("images").join("autoscaler.svg")
    }

    /// Where pictures for documents are kept.
    pub(crate) fn pictures(&self) -> PathBuf {
        self.root.join("docs").join("images")
    }

    /// Where the tests of the dashboard leave the pictures that they take.
    pub(crate) fn dashboard_pictures(&self) -> PathBuf {
        self.target.join("tmp").join("dashboard")
    }

    /// A binary of this workspace, built in release.
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// Where the demo puts what its tasks produced, unless told otherwise.
    pub(crate) fn demo_output(&self) -> PathBuf {
        self.target.join("demo").join("out")
    }

    /// Where criterion leaves the estimates of one benchmark.
    pub(crate) fn criterion_estimates(&self, benchmark: &str) -> PathBuf {
        self.target.join("criterion").join(benchmark).join("new").join("estimates.json")
    }

    /// The peers of the benchmarks: a workspace of their own with its own target.
    pub(crate) fn peers(&self) -> PathBuf {
        self.root.join("benches").join("peers")
    }

    /// `path` as seen from the root, where cargo runs; unchanged if it is elsewhere.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_directory_is_inside_the_root_unless_told() {
        let at = |told: Option<&str>| Layout::at("/src".into(), told.map(Into::into)).plugins();
        assert_eq!(at(None), Path::new("/src/target/plugins"));
        assert_eq!(at(Some("elsewhere")), Path::new("/src/elsewhere/plugins"));
        assert_eq!(at(Some("/big/disk")), Path::new("/big/disk/plugins"));
    }

    #[test]
    fn paths_are_shown_from_the_root() {
        let layout = Layout::at("/src".into(), None);
        assert_eq!(layout.shown(&layout.demo_output()).to_string(), "target/demo/out");
        assert_eq!(layout.shown(Path::new("/elsewhere/x")).to_string(), "/elsewhere/x");
    }

    #[test]
    fn the_root_is_the_workspace() {
        assert!(Layout::new(None).root().join("wit").join("bulkhead.wit").is_file());
    }
}
