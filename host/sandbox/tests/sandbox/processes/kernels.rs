//! Kernels that lack a layer of protection. A filter around the worker answers as they do: it is
//! `older-kernel` of the tests that starts it.

use std::path::PathBuf;

use super::*;

/// A worker on a kernel without something.
fn without(what: &str, strict: bool) -> Sandbox {
    let older = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/older-kernel");
    assert!(older.exists(), "{} is not built; run `cargo xtask test`", older.display());
    let real = binary();
    let arguments = [what, real.to_str().unwrap(), "guest-worker"];
    apart(WorkerProcesses { program: program(&older, &arguments), strict, ..processes() })
}

const LANDLOCK: [Layer; 3] = [Layer::Files, Layer::Network, Layer::Scopes];

/// What is missing is told, and the rest holds.
#[tokio::test]
async fn a_layer_that_the_kernel_lacks_is_left_out_and_told() {
    for (what, missing) in [
        ("landlock", &LANDLOCK[..]),
        ("landlock-off", &LANDLOCK[..]),
        ("seccomp", &[Layer::Syscalls][..]),
        ("seccomp-filters", &[Layer::Syscalls][..]),
    ] {
        let sandbox = without(what, false);
        let layers = sandbox.layers().await.unwrap().unwrap();
        let left: Vec<Layer> =
            Layer::ALL.into_iter().filter(|layer| !missing.contains(layer)).collect();
        assert_eq!(layers, left, "{what}");
        let plugin = load(&sandbox, "unruly").await;
        assert_eq!(done(&run(&plugin, "echo", "x", Limits::default()).await), "x", "{what}");
    }
}

#[tokio::test]
async fn where_every_layer_is_demanded_no_guest_runs_without_one() {
    for (what, missing) in [
        ("landlock", "the kernel lacks files, network, scopes"),
        ("seccomp", "the kernel lacks syscalls"),
    ] {
        let sandbox = without(what, true);
        let error = sandbox.layers().await.unwrap_err().to_string();
        assert!(error.contains(missing), "{what}: {error}");
        let rejection = sandbox.load(source("idle", guest("idle"))).await.unwrap_err();
        assert_eq!(rejection.gate, Gate::Smoke, "{rejection}");
        assert!(rejection.message.contains(missing), "{rejection}");
        assert!(sandbox.worker_pids().is_empty());
    }
}
