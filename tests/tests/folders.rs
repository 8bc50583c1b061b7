//! Folders that a plugin was granted, through the real binary: named in its configuration, and
//! tidied after a host that was killed.

use std::future::ready;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bulkhead_tests::{EmbeddedFolder, HostProcess, eventually_within, install};

/// Every look is a process of its own, so that much of a busy machine's time goes by.
const PATIENCE: Duration = Duration::from_secs(240);

/// What is in a folder, if it is there.
fn within(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The files of this name in attempts' folders.
fn written(scratch: &Path, name: &str) -> Vec<PathBuf> {
    let attempts = within(scratch).into_iter().flat_map(|host| within(&host));
    attempts.map(|attempt| attempt.join(name)).filter(|file| file.exists()).collect()
}

#[tokio::test]
async fn what_a_killed_host_left_goes_when_the_next_one_starts() {
    let folder = EmbeddedFolder::new();
    install(&folder.plugins(), "filer");
    let config = folder.file(
        "bulkhead.toml",
        "[host]\nscratch_dir = \"scratch\"\nlease = \"1s\"\n\
         [grants.filer.fs]\nscratch = \"1 KiB\"\n\
         dirs = [{ host = \"data\", guest = \"/data\", access = \"read\" }]\n",
    );
    let root = Path::new(&config).parent().expect("a folder").to_owned();
    let scratch = root.join("scratch");
    std::fs::create_dir(root.join("data")).expect("a folder");
    std::fs::write(root.join("data/there"), "shared").expect("a file");
    let mut first: HostProcess = folder.host("h1", &["--config", &config]).await;
    eventually_within(PATIENCE, "the plugin serves", || {
        let plugins = folder.json(&["plugin", "list"]);
        let plugins = plugins.as_array().cloned().unwrap_or_default();
        ready(
            plugins
                .iter()
                .any(|plugin| plugin["name"] == "filer" && plugin["serving"].is_object())
                .then_some(()),
        )
    })
    .await;
    let commands = "read /data/there\nwrite /scratch/a 1024\ncount /scratch";
    let submit = ["submit", "file", "--data", commands, "--wait", "--timeout", "4m"];
    assert_eq!(folder.run(&submit).said(), "shared\nok\n1");

    let _ = folder.submit(&["file", "--data", "write /scratch/mine 10\nsleep"]);
    let left = eventually_within(PATIENCE, "the attempt writes", || {
        ready(written(&scratch, "mine").pop())
    })
    .await;
    first.kill();
    assert!(left.exists(), "nobody was there to remove it");
    let second = folder.host("h2", &["--config", &config]).await;
    assert!(!left.exists(), "{}", second.log());
    assert!(second.log().contains("removed scratch folders of killed hosts"), "{}", second.log());
}
