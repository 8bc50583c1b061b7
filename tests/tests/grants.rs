//! What a plugin may touch, through the real binary: refused without its grant, served with it,
//! and what the configuration says of it changed while the host runs.

use bulkhead_tests::{EmbeddedFolder, HostProcess, eventually_within, install};
use serde_json::Value;
use std::future::ready;
use std::time::Duration;

/// Every look is a process of its own, so that much of a busy machine's time goes by.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the host says of the plugin `configured`.
fn configured(folder: &EmbeddedFolder) -> Value {
    let plugins = folder.json(&["plugin", "list"]);
    let plugins = plugins.as_array().expect("a list").clone();
    plugins.into_iter().find(|plugin| plugin["name"] == "configured").unwrap_or_default()
}

/// What the handler is told of a key.
fn told(folder: &EmbeddedFolder, tenant: &str) -> String {
    let submit = ["submit", "configured", "--data", "greeting", "--tenant", tenant];
    folder.run(&[&submit[..], &["--wait", "--timeout", "4m"]].concat()).said()
}

async fn until_told(folder: &EmbeddedFolder, tenant: &str, wanted: &str) {
    eventually_within(PATIENCE, &format!("{tenant} is told {wanted}"), || {
        ready((told(folder, tenant) == wanted).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn grants_and_values_change_without_a_restart() {
    let folder = EmbeddedFolder::new();
    install(&folder.plugins(), "configured");
    let config = folder.file("bulkhead.toml", "[config.configured]\ngreeting = \"one\"\n");
    let mut host: HostProcess = folder.host("h1", &["--config", &config]).await;
    let rejected = eventually_within(PATIENCE, "the plugin is refused", || {
        ready(Some(configured(&folder)["rejected"].clone()).filter(Value::is_object))
    })
    .await;
    assert_eq!(rejected["gate"], "imports");
    let reason = rejected["reason"].as_str().expect("a reason");
    assert!(reason.ends_with("[grants]\nconfig = true"), "{reason}");

    let granted = "[grants.configured]\nconfig = true\n";
    let write = |values: &str| folder.file("bulkhead.toml", &format!("{granted}{values}"));
    let _ = write("[config.configured]\ngreeting = \"one\"\n");
    eventually_within(PATIENCE, "the plugin serves", || {
        ready(configured(&folder)["serving"].is_object().then_some(()))
    })
    .await;
    assert_eq!(told(&folder, "default"), "one");
    let _ = write(
        "[config.configured]\ngreeting = \"two\"\n[tenants.acme.config.configured]\n\
         greeting = \"acme's own\"\n",
    );
    until_told(&folder, "default", "two").await;
    assert_eq!(told(&folder, "acme"), "acme's own");

    let _ = folder.file("bulkhead.toml", "[config");
    eventually_within(PATIENCE, "the host says what is wrong", || {
        ready(host.log().contains("the changed configuration cannot be used").then_some(()))
    })
    .await;
    assert_eq!(told(&folder, "default"), "two", "what it said last goes on");

    let listed = folder.json(&["task", "list", "--type", "configured", "--state", "completed"]);
    let id = listed[0]["id"].as_str().expect("an id").to_owned();
    let metering = folder.task(&id)["history"][0]["metering"].clone();
    assert_eq!((&metering["host_calls"], &metering["bytes_out"]), (&1.into(), &0.into()));
    assert!(metering["bytes_in"].as_u64() >= Some(3), "{metering}");
    let usage = folder.json(&["queue", "usage", "default", "--tenant", "acme"]);
    assert_eq!((&usage[0]["host_calls"], &usage[0]["bytes_in"]), (&1.into(), &10.into()));

    host.signal("TERM");
    assert_eq!(host.wait(Duration::from_secs(60)).code(), Some(0), "{}", host.log());
}

#[test]
fn inspecting_a_file_shows_what_it_asks_for_has_and_misses() {
    let folder = EmbeddedFolder::new();
    let path = install(&folder.plugins(), "configured");
    let path = path.to_str().expect("a path");
    let inspect = |more: &[&str]| folder.run(&[&["plugin", "inspect", path], more].concat());
    let import = "bulkhead:handler/config@0.1.0";

    let missing = inspect(&["--json"]).exits(1);
    let missing: Value = serde_json::from_str(&missing.stdout).expect("a document");
    assert_eq!(missing["missing"][0]["import"], import);
    assert_eq!(missing["missing"][0]["line"], "config = true");
    assert!(missing["asked"].as_array().expect("a list").contains(&import.into()));
    let text = inspect(&[]).exits(1).stdout;
    assert!(text.contains(&format!("{import}  MISSING")), "{text}");
    assert!(text.contains("[grants]\nconfig = true"), "{text}");

    std::fs::write(folder.plugins().join("configured.toml"), "[grants]\nconfig = true\n")
        .expect("a manifest");
    let has: Value = serde_json::from_str(&inspect(&["--json"]).said()).expect("a document");
    assert_eq!(has["missing"], serde_json::json!([]));
    let granted = has["granted"].as_array().expect("a list");
    assert!(granted.contains(&serde_json::json!({"import": import, "grant": "config"})), "{has}");
    let text = inspect(&[]).said();
    assert!(text.contains(&format!("{import}  granted by `config`")), "{text}");

    // Where only the configuration counts, the manifest grants nothing.
    let config = folder.file("bulkhead.toml", "[plugins]\ngrants_from = \"configuration\"\n");
    inspect(&["--config", &config]).exits(1);
    let granted =
        "[plugins]\ngrants_from = \"configuration\"\n[grants.configured]\nconfig = true\n";
    let config = folder.file("bulkhead.toml", granted);
    inspect(&["--config", &config]).exits(0);
}
