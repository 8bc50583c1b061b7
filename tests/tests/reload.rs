//! Plugins that change while a host serves: swaps under load, files that are no plugin
//! or not one yet, files that come and go.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use bulkhead_core::{FailureKind, State};
use bulkhead_tests::{
    Load, Site, digest_of, eventually, failure, guest, install, install_as, install_version,
    output, version, version_of,
};

const SWAPS: u32 = 50;

#[tokio::test]
async fn fifty_swaps_under_load_fail_no_task() {
    let site = Site::new().await;
    let mut versions = vec![install_version(site.folder(), "unruly", 0)];
    let _host = site.host("host", &["--concurrency", "16"]).await;
    site.serves("unruly", versions[0]).await;

    let load = Load::begin(&site.client, Duration::from_millis(10));
    for swap in 1..=SWAPS {
        let digest = install_version(site.folder(), "unruly", swap);
        versions.push(digest);
        site.serves("unruly", digest).await;
        load.report(swap as usize);
    }
    let last = site.ended("noop", "").await;
    assert_eq!(version(&last), versions[SWAPS as usize]);
    let submitted = load.end().await;
    assert!(submitted.len() > 10 * SWAPS as usize, "only {} tasks", submitted.len());

    let mut used = vec![0_usize; versions.len()];
    for (id, after) in submitted {
        let view = site.wait(id).await;
        assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
        let ran = versions.iter().position(|digest| *digest == version(&view));
        let ran = ran.unwrap_or_else(|| panic!("{id} ran on a version that was never installed"));
        assert!(ran >= after, "{id}: submitted after swap {after}, ran on version {ran}");
        used[ran] += 1;
    }
    let in_use = used.iter().filter(|tasks| **tasks > 0).count();
    assert!(in_use > SWAPS as usize / 2, "the load met {in_use} versions: {used:?}");
}

#[tokio::test]
async fn an_attempt_ends_on_the_version_it_began_with() {
    let site = Site::new().await;
    let old = install_version(site.folder(), "unruly", 1);
    let _host = site.host("host", &[]).await;
    site.serves("unruly", old).await;
    let slow = site.submit("sleep", "6000").await;
    site.running(slow).await;
    let new = install_version(site.folder(), "unruly", 2);
    site.serves("unruly", new).await;
    assert_eq!(version(&site.ended("noop", "").await), new);
    assert_eq!(site.view(slow).await.state, State::Running, "it spans the swap");
    let view = site.wait(slow).await;
    assert_eq!((view.state, view.attempts(), version(&view)), (State::Completed, 1, old));
}

/// Written over the file that serves, with pauses in which it looks finished.
#[tokio::test]
async fn a_half_written_file_never_serves() {
    let site = Site::new().await;
    let old = install_version(site.folder(), "unruly", 1);
    let _host = site.host("host", &[]).await;
    site.serves("unruly", old).await;
    for name in ["unruly", "another"] {
        let (bytes, new) = version_of("unruly", 2);
        let mut file = File::create(site.folder().join(format!("{name}.wasm"))).expect("a file");
        let piece = bytes.len() / 6 + 1;
        let mut written = 0;
        for chunk in bytes.chunks(piece) {
            file.write_all(chunk).expect("written");
            written += chunk.len();
            if written == bytes.len() {
                break;
            }
            // The host has looked at the file as it is, so the pause was long enough.
            let refused = site.refuses(name, digest_of(&bytes[..written])).await;
            assert_eq!(refused.gate, "invalid", "{refused:?}");
            assert!(refused.reason.contains("half-written"), "{refused:?}");
            let info = site.plugin(name).await.expect("known");
            let serving = info.serving.map(|serving| serving.digest);
            assert_eq!(serving, (name == "unruly").then_some(old));
            let serving = if name == "unruly" { old } else { version_of("unruly", 2).1 };
            assert_eq!(version(&site.ended("noop", "").await), serving);
        }
        drop(file);
        if name == "unruly" {
            site.serves(name, new).await;
            assert_eq!(site.plugin(name).await.expect("known").rejected, None);
            assert_eq!(version(&site.ended("noop", "").await), new);
        } else {
            // Finished, it claims types that are served already.
            assert_eq!(site.refuses(name, new).await.gate, "task_type_taken");
        }
    }
}

/// The header of a compiled artifact: ELF of wasmtime's own ABI, holding a component.
fn looks_precompiled() -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 200]);
    elf[16] = 1;
    elf[18] = 62;
    elf[20] = 1;
    elf[48] = 2;
    elf[52] = 64;
    elf[54] = 56;
    elf[58] = 64;
    elf
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_version_and_says_why() {
    let site = Site::new().await;
    let settings = site.folder().join("settings.toml");
    let max_bytes = guest("unruly").len() + 1_000;
    let text = format!("[plugins]\nmax_bytes = {max_bytes}\n");
    std::fs::write(&settings, text).expect("write the settings");
    let old = digest_of(&guest("unruly"));
    let _host = site.host("host", &["--config", &settings.to_string_lossy()]).await;

    let truncated = guest("unruly")[..100_000].to_vec();
    // One byte over the bound, in a custom section that any reader would skip.
    let mut large = guest("unruly");
    let section = max_bytes + 1 - large.len() - 3;
    large.extend([0, (section & 0x7f) as u8 | 0x80, (section >> 7) as u8, 1, b'x']);
    large.resize(max_bytes + 1, 0);
    for (bytes, gate, says) in [
        (truncated, "invalid", "half-written"),
        (b"\x00\x01garbage\xff".repeat(1_000), "invalid", "no WebAssembly binary"),
        (b"(component)".to_vec(), "invalid", "text is not accepted"),
        (Vec::new(), "invalid", "empty"),
        (guest("wrongworld"), "world", "bulkhead:handler/handler@0.1"),
        (guest("networked"), "imports", "wasi:sockets"),
        (looks_precompiled(), "precompiled", "precompiled"),
        (large, "size", "bytes"),
    ] {
        let digest = digest_of(&bytes);
        install_as(site.folder(), "unruly", &bytes);
        let rejected = site.refuses("unruly", digest).await;
        assert_eq!(rejected.gate, gate, "{rejected:?}");
        assert!(rejected.reason.contains(says), "{rejected:?}");
        let serving = site.serving("unruly").await.expect("the old version serves");
        assert_eq!(serving.digest, old);
        assert_eq!(version(&site.ended("noop", "").await), old);
    }
    let good = install_version(site.folder(), "unruly", 1);
    site.serves("unruly", good).await;
    assert_eq!(site.plugin("unruly").await.expect("known").rejected, None);

    // The version that serves comes back after a bad file: nothing is wrong any more.
    install_as(site.folder(), "unruly", b"bad");
    site.refuses("unruly", digest_of(b"bad")).await;
    install_version(site.folder(), "unruly", 1);
    eventually("the refusal is withdrawn", || async {
        let info = site.plugin("unruly").await?;
        (info.rejected.is_none() && info.serving?.digest == good).then_some(())
    })
    .await;
}

#[tokio::test]
async fn tasks_of_a_removed_plugin_wait_until_it_is_back() {
    let site = Site::new().await;
    install(site.folder(), "idle");
    let _host = site.host("host", &[]).await;
    let path = site.folder().join("unruly.wasm");
    std::fs::remove_file(&path).expect("removed");
    eventually("the plugin is gone", || async {
        site.plugin("unruly").await.is_none().then_some(())
    })
    .await;
    let mut waiting = site.submit_many(5, "echo", "still here").await;
    waiting.extend(site.submit_many(5, "noop", "").await);
    // The host goes on serving what it has, and leaves these alone.
    for _ in 0..5 {
        assert_eq!(site.ended("idle", "").await.state, State::Completed);
    }
    for view in site.views(&waiting).await {
        assert_eq!((view.state, view.history.len()), (State::Pending, 0), "{view:?}");
    }
    install(site.folder(), "unruly");
    for id in &waiting {
        let view = site.wait(*id).await;
        assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
    }
    assert_eq!(output(&site.view(waiting[0]).await), "still here");
}

#[tokio::test]
async fn a_task_type_has_one_plugin() {
    let site = Site::new().await;
    let first = digest_of(&guest("unruly"));
    let _host = site.host("host", &[]).await;
    let (bytes, second) = version_of("unruly", 1);
    install_as(site.folder(), "usurper", &bytes);
    let refused = site.refuses("usurper", second).await;
    assert_eq!(refused.gate, "task_type_taken");
    assert!(refused.reason.contains("`unruly`"), "{refused:?}");
    assert!(refused.reason.contains("`task_types` in `usurper.toml`"), "{refused:?}");
    assert_eq!(site.serving("usurper").await, None);
    assert_eq!(version(&site.ended("noop", "").await), first);

    // Once the type is free, the file that wanted it serves without being touched.
    std::fs::remove_file(site.folder().join("unruly.wasm")).expect("removed");
    site.serves("usurper", second).await;
    assert_eq!(version(&site.ended("noop", "").await), second);
}

#[tokio::test]
async fn a_manifest_alone_is_a_change() {
    let site = Site::new().await;
    let digest = digest_of(&guest("unruly"));
    let _host = site.host("host", &[]).await;
    let manifest = site.folder().join("unruly.toml");
    let loaded_at = site.serves("unruly", digest).await.loaded_at;
    assert_eq!(site.ended("burn", "1000000").await.state, State::Completed);

    std::fs::write(&manifest, "[limits]\nfuel = 1_000_000\n").expect("write the manifest");
    let lowered = reloaded(&site, loaded_at).await;
    let view = site.ended("burn", "1000000").await;
    let starved = failure(&view);
    assert_eq!(starved.kind, FailureKind::OutOfFuel);
    assert!(starved.message.contains("`fuel` = 1000000;"), "{}", starved.message);
    assert_eq!(version(&view), digest, "the same code under another limit");

    // A manifest that cannot be used is refused like a bad plugin.
    std::fs::write(&manifest, "[limits]\nfule = 1\n").expect("write the manifest");
    let rejected = site.refuses("unruly", digest).await;
    assert_eq!(rejected.gate, "manifest", "{rejected:?}");
    assert!(rejected.reason.contains("unruly.toml"), "{rejected:?}");
    assert!(rejected.reason.contains("fule"), "{rejected:?}");
    assert_eq!(site.ended("burn", "1000000").await.state, State::Failed, "the limit stays");

    std::fs::remove_file(&manifest).expect("removed");
    reloaded(&site, lowered).await;
    assert_eq!(site.ended("burn", "1000000").await.state, State::Completed);
    assert_eq!(site.plugin("unruly").await.expect("known").rejected, None);
}

/// Wait until the plugin has been loaded again; when it was.
async fn reloaded(site: &Site, earlier: u64) -> u64 {
    eventually("it is loaded anew", || async {
        let serving = site.serving("unruly").await?;
        (serving.loaded_at > earlier).then_some(serving.loaded_at)
    })
    .await
}
