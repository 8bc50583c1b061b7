//! What a guest sees of the world when it was granted nothing.

use bulkhead_core::Limits;
use bulkhead_sandbox::Gate;

use crate::rig::{done, guest, load_bytes, run, sandbox, unruly};

#[tokio::test]
async fn a_guest_sees_no_files_no_environment_and_no_arguments() {
    let end = run(unruly().await, "probe", "", Limits::default()).await;
    let seen: serde_json::Value = serde_json::from_str(done(&end)).unwrap();
    assert_eq!(seen["env"], serde_json::json!([]));
    assert_eq!(seen["args"], serde_json::json!([]));
    assert_eq!(seen["root_readable"], false, "{seen}");
    assert_eq!(seen["passwd_readable"], false, "{seen}");
}

#[tokio::test]
async fn the_network_is_not_linked() {
    let rejection = load_bytes(sandbox().await, guest("networked")).await.unwrap_err();
    assert_eq!(rejection.gate, Gate::Imports, "{rejection}");
    assert!(rejection.message.contains("wasi:sockets/tcp@0.2"), "{rejection}");
    assert!(rejection.message.contains("cannot be provided"), "{rejection}");
}

#[tokio::test]
async fn only_what_is_asked_for_is_listed() {
    let asked = unruly().await.asked();
    assert!(asked.iter().any(|import| import == "bulkhead:handler/log@0.1.0"), "{asked:?}");
    assert!(!asked.iter().any(|import| import.contains("sockets")), "{asked:?}");
}
