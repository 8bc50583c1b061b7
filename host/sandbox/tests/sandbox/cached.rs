//! Compiled plugins that are kept: found by the next start, and made anew if anything about
//! them is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use bulkhead_core::Outcome;
use bulkhead_sandbox::{CacheFolder, Plugin, PluginKind, Sandbox, SandboxConfig};

use crate::rig::{attempt, guest, source, task};

/// A host's sandbox, as it is after each start.
fn start(root: &Path) -> Sandbox {
    let cache = CacheFolder { folder: root.join("compiled"), max_bytes: 1 << 30 };
    Sandbox::new(SandboxConfig { concurrency: 1, cache: Some(cache), ..Default::default() })
        .unwrap()
}

async fn load(sandbox: &Sandbox, name: &str) -> Plugin {
    sandbox.load(source(name, guest(name))).await.unwrap()
}

async fn works(plugin: &Plugin) {
    let end = plugin.attempt(attempt(&task("idle", ""))).await.unwrap();
    assert!(matches!(end.outcome, Outcome::Done(_)), "{:?}", end.outcome);
}

fn kept(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("compiled")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn the_next_start_finds_what_was_compiled() {
    let root = tempfile::tempdir().unwrap();
    let first = load(&start(root.path()), "idle").await;
    assert!(!first.load_times().cached);
    let again = load(&start(root.path()), "idle").await;
    assert!(again.load_times().cached);
    assert_eq!((again.digest(), again.asked()), (first.digest(), first.asked()));
    assert_eq!(again.description(), first.description());
    assert_eq!(again.kind(), PluginKind::Component);
    works(&again).await;
    let command = load(&start(root.path()), "command").await;
    let found = load(&start(root.path()), "command").await;
    assert!(!command.load_times().cached && found.load_times().cached);
    assert_eq!(found.kind(), PluginKind::Command);
}

#[tokio::test]
async fn what_was_changed_is_compiled_anew() {
    let root = tempfile::tempdir().unwrap();
    load(&start(root.path()), "idle").await;
    let [file] = &kept(root.path())[..] else { panic!("one file") };
    let good = fs::read(file).unwrap();
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    for bad in [changed, good[..good.len() / 2].to_vec(), Vec::new(), guest("idle")] {
        fs::write(file, bad).unwrap();
        let plugin = load(&start(root.path()), "idle").await;
        assert!(!plugin.load_times().cached);
        works(&plugin).await;
        assert_eq!(fs::read(file).unwrap().len(), good.len(), "and kept again");
    }
    assert!(load(&start(root.path()), "idle").await.load_times().cached);
    fs::remove_file(root.path().join("compiled.key")).unwrap();
    let plugin = load(&start(root.path()), "idle").await;
    assert!(!plugin.load_times().cached, "another key's seal");
    works(&plugin).await;
}

/// What a grant allows is decided at each load, not when the file was compiled.
#[tokio::test]
async fn a_cached_plugin_passes_the_gates_anew() {
    let root = tempfile::tempdir().unwrap();
    let granted = || {
        let mut source = source("configured", guest("configured"));
        source.manifest.grants.config = true;
        source
    };
    let offers = bulkhead_sandbox::CapabilitySet { config: true, ..Default::default() };
    let cache = CacheFolder { folder: root.path().join("compiled"), max_bytes: 1 << 30 };
    let config = SandboxConfig { concurrency: 1, cache: Some(cache), offers, ..Default::default() };
    let sandbox = Sandbox::new(config).unwrap();
    sandbox.load(granted()).await.unwrap();
    assert!(sandbox.load(granted()).await.unwrap().load_times().cached);
    let refused = sandbox.load(source("configured", guest("configured"))).await.unwrap_err();
    assert_eq!(refused.gate, bulkhead_sandbox::Gate::Imports, "{refused}");
}
