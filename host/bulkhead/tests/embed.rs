//! The examples of hosts inside other programs do what they say, on each broker that needs no
//! server.

#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::path::Path;
use std::process::Command;

/// Run an example on the plugins that `cargo xtask guests` has built.
fn run(example: &str, place: Option<&Path>) -> String {
    // Examples lie beside the binaries, and are built with the tests.
    let binaries = Path::new(env!("CARGO_BIN_EXE_bulkhead")).parent().unwrap();
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins");
    assert!(plugins.join("markdown.wasm").exists(), "run `cargo xtask guests`");
    let mut command = Command::new(binaries.join("examples").join(example));
    let output = command.arg(plugins).args(place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_host_inside_a_program_needs_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // The second run finds the folder of the first.
    for place in [None, Some(data.as_path()), Some(data.as_path())] {
        let page = run("embed", place);
        assert!(page.contains("Rendered <strong>inside</strong> a sandbox."), "{page}");
        assert!(!page.contains("<script>"), "{page}");
    }
    assert!(data.join("queue.redb").exists());
}

#[test]
fn a_layer_of_ones_own_gives_tasks_back_and_changes_their_ends() {
    let page = run("layers", None);
    assert!(page.starts_with("attempt 1 of 1:"), "no attempt was lost: {page}");
    assert!(page.contains("Minutes</h1>"), "{page}");
    assert!(page.contains("<!-- during office hours -->"), "{page}");
}
