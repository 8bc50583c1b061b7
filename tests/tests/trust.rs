//! Which plugin files serve where not every one may: keys, signatures and pins, made and used
//! with the real binary, and tenants' plugins as the command line shows them.

use std::future::ready;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use bulkhead_tests::{EmbeddedFolder, HostProcess, digest_of, eventually_within, guest, install};
use serde_json::Value;

/// Every look is a process of its own, so that much of a busy machine's time goes by.
const PATIENCE: Duration = Duration::from_secs(240);

fn path(folder: &EmbeddedFolder, name: &str) -> String {
    folder.plugins().join(name).display().to_string()
}

/// What the host says of a plugin, once it says what is looked for.
async fn until(
    folder: &EmbeddedFolder,
    name: &str,
    what: &str,
    says: impl Fn(&Value) -> bool,
) -> Value {
    eventually_within(PATIENCE, &format!("{name} {what}"), || {
        let listed = folder.run(&["plugin", "list", "--json"]);
        let plugins: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap_or_default();
        ready(plugins.into_iter().find(|plugin| plugin["name"] == name && says(plugin)))
    })
    .await
}

async fn until_refused(folder: &EmbeddedFolder, name: &str, gate: &str) -> String {
    let refused = |plugin: &Value| plugin["rejected"]["gate"] == gate;
    let plugin = until(folder, name, "is refused", refused).await;
    plugin["rejected"]["reason"].as_str().expect("a reason").to_owned()
}

async fn until_served(folder: &EmbeddedFolder, name: &str) -> Value {
    let served = |plugin: &Value| plugin["serving"].is_object() && plugin["rejected"].is_null();
    until(folder, name, "serves", served).await
}

/// A new key; its file and the key that checks.
fn key(folder: &EmbeddedFolder, name: &str) -> (String, String) {
    let file = folder.plugins().join(name).display().to_string();
    let made = folder.json(&["plugin", "keygen", &file]);
    (file, made["public_key"].as_str().expect("a key").to_owned())
}

#[test]
fn a_key_is_made_once_for_its_owner_and_signs_one_name() {
    let folder = EmbeddedFolder::new();
    let plugin = install(&folder.plugins(), "idle");
    let plugin = plugin.to_str().expect("a path");
    let (file, public) = key(&folder, "key");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    folder.run(&["plugin", "keygen", &file]).exits(2);
    let (_, stranger) = key(&folder, "other");
    let config = folder.file(
        "bulkhead.toml",
        &format!("[plugins.trust]\npolicy = \"signed\"\nkeys.release = \"{public}\"\n"),
    );
    let verify =
        |file: &str| folder.run(&["--config", &config, "plugin", "verify", file, "--json"]);

    let unsigned = verify(plugin).exits(1).json();
    assert_eq!(unsigned[0]["trusted"], false);
    let reason = unsigned[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("there is no `idle.wasm.sig`"), "{reason}");
    folder.run(&["plugin", "sign", "--key", &file, plugin]).succeeds();
    let signed = verify(plugin).succeeds().json();
    assert_eq!(signed[0]["reason"], "the signature of `release`");

    // Under another name the signature is worth nothing, nor by another's key.
    let renamed = path(&folder, "busy.wasm");
    std::fs::copy(plugin, &renamed).expect("a copy");
    std::fs::copy(format!("{plugin}.sig"), format!("{renamed}.sig")).expect("a copy");
    verify(&renamed).exits(1);
    let _ = folder.file(
        "bulkhead.toml",
        &format!("[plugins.trust]\npolicy = \"signed\"\nkeys.release = \"{stranger}\"\n"),
    );
    verify(plugin).exits(1);

    // A key that others can read signs nothing.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let refused = folder.run(&["plugin", "sign", "--key", &file, plugin]).exits(2);
    assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
}

#[tokio::test]
async fn what_the_policy_trusts_serves_as_soon_as_it_is_there() {
    let folder = EmbeddedFolder::new();
    let (file, public) = key(&folder, "key");
    let config = |pins: &str| {
        let text = format!(
            "[plugins.trust]\npolicy = \"pinned_or_signed\"\nkeys.release = \"{public}\"\n\
             [plugins.trust.pins]\n{pins}"
        );
        folder.file("bulkhead.toml", &text)
    };
    let idle = digest_of(&guest("idle"));
    let path_of_config = config(&format!("idle = \"sha256:{idle}\"\n"));
    install(&folder.plugins(), "idle");
    let signed = install(&folder.plugins(), "unruly");
    let mut host: HostProcess = folder.host("h1", &["--config", &path_of_config]).await;
    until_served(&folder, "idle").await;
    let reason = until_refused(&folder, "unruly", "trust").await;
    assert!(reason.contains("there is no `unruly.wasm.sig`"), "{reason}");
    let line =
        format!("[plugins.trust.pins]\nunruly = [\"sha256:{}\"]", digest_of(&guest("unruly")));
    assert!(reason.ends_with(&line), "{reason}");

    // The signature arrives.
    folder.run(&["plugin", "sign", "--key", &file, signed.to_str().expect("a path")]).succeeds();
    until_served(&folder, "unruly").await;
    // The pin goes, and with it the trust in what serves.
    let _ = config("");
    let reason = until_refused(&folder, "idle", "trust").await;
    assert!(reason.contains("nothing is pinned for this plugin"), "{reason}");
    let idle = until(&folder, "idle", "serves no more", |it| it["serving"].is_null()).await;
    assert_eq!(idle["owner"], Value::Null);
    host.signal("TERM");
    assert_eq!(host.wait(Duration::from_secs(60)).code(), Some(0), "{}", host.log());
}

#[tokio::test]
async fn tenants_plugins_are_shown_with_their_owner_and_the_lines_to_add() {
    let folder = EmbeddedFolder::new();
    let config = folder.file("bulkhead.toml", "[plugins]\ntenants_dir = \"brought\"\n");
    let brought: PathBuf = PathBuf::from(&config).with_file_name("brought");
    let acme = brought.join("acme");
    std::fs::create_dir_all(&acme).expect("a folder");
    let file = install(&acme, "notebook");
    let file = file.to_str().expect("a path");
    install(&folder.plugins(), "idle");
    let lines = "[tenants.acme.grants.notebook]\nkv = true";

    let inspect = |more: &[&str]| {
        folder.run(&[&["--config", &config, "plugin", "inspect", file], more].concat())
    };
    let missing = inspect(&["--tenant", "acme"]).exits(1).stdout;
    assert!(missing.starts_with("acme/notebook\n") && missing.contains(lines), "{missing}");
    let missing = inspect(&["--tenant", "acme", "--json"]).exits(1).json();
    assert_eq!(
        (&missing["plugin"], &missing["missing"][0]["line"]),
        (&"acme/notebook".into(), &"kv = true".into())
    );

    let mut host: HostProcess = folder.host("h1", &["--config", &config]).await;
    let reason = until_refused(&folder, "acme/notebook", "imports").await;
    assert!(reason.ends_with(lines), "{reason}");
    let _ = folder.file(
        "bulkhead.toml",
        &format!("[plugins]\ntenants_dir = \"brought\"\n{lines}\n[tenants.acme.share]\nnotebook = [\"globex\"]\n"),
    );
    let served = until_served(&folder, "acme/notebook").await;
    assert_eq!(served["serving"]["tenants"], serde_json::json!(["acme", "globex"]));
    let has = inspect(&["--tenant", "acme", "--json"]).succeeds().json();
    assert_eq!(
        (&has["plugin"], &has["missing"]),
        (&"acme/notebook".into(), &serde_json::json!([]))
    );
    let others = inspect(&["--tenant", "globex", "--json"]).exits(1).json();
    assert_eq!(others["plugin"], "globex/notebook", "what acme is granted is not globex's");
    let listed = folder.run(&["plugin", "list"]).said();
    assert!(listed.contains("acme/notebook") && listed.contains("acme, globex"), "{listed}");

    let submit = |tenant: &str, text: &str| {
        let submit = ["submit", "note", "--data", text, "--tenant", tenant];
        folder.run(&[&submit[..], &["--wait", "--timeout", "4m"]].concat()).said()
    };
    assert_eq!((submit("acme", "n+1"), submit("globex", "n+1")), ("1".into(), "1".into()));
    assert_eq!(submit("acme", "n+1"), "2");
    let id = folder.submit(&["note", "--data", "n+1", "--tenant", "globex"]);
    folder.run(&["task", "wait", &id, "--timeout", "4m"]).exits(0);
    let ran = &folder.task(&id)["history"][0];
    assert_eq!(ran["plugin"], "acme/notebook", "whose code ran globex's task");
    let version = &ran["digest"].as_str().expect("a digest")[..12];
    let shown = folder.run(&["task", "show", &id]).said();
    assert!(shown.contains(&format!("acme/notebook {version}\n")), "{shown}");
    let usage = folder.json(&[
        "queue",
        "usage",
        "default",
        "--by",
        "tenant,plugin",
        "--plugin",
        "acme/notebook",
    ]);
    let of = |row: &Value| (row["tenant"].to_string(), row["plugin"].to_string());
    let used: Vec<_> = usage.as_array().expect("a list").iter().map(of).collect();
    let by = |tenant: &str| (format!("\"{tenant}\""), "\"acme/notebook\"".to_owned());
    assert_eq!(used, [by("acme"), by("globex")]);
    host.signal("TERM");
    assert_eq!(host.wait(Duration::from_secs(60)).code(), Some(0), "{}", host.log());
    assert!(host.log().contains("acme/notebook"), "{}", host.log());
}

#[test]
fn trust_in_a_tenants_file_is_judged_by_its_section() {
    let folder = EmbeddedFolder::new();
    let plugin = install(&folder.plugins(), "idle");
    let plugin = plugin.to_str().expect("a path");
    let idle = digest_of(&guest("idle"));
    let config = folder.file(
        "bulkhead.toml",
        &format!(
            "[tenants.\"*\".trust]\npolicy = \"pinned\"\n\
             [tenants.acme.trust.pins]\nidle = \"sha256:{idle}\"\n"
        ),
    );
    let verify = |more: &[&str]| {
        let all = [&["--config", &config, "plugin", "verify", plugin, "--json"], more].concat();
        folder.run(&all)
    };
    assert_eq!(verify(&[]).succeeds().json()[0]["reason"], "the policy `any`");
    assert_eq!(verify(&["--tenant", "acme"]).succeeds().json()[0]["reason"], "its pin");
    let refused = verify(&["--tenant", "globex"]).exits(1).json();
    let reason = refused[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("[tenants.globex.trust.pins]"), "{reason}");
    folder.run(&["--config", &config, "plugin", "check", plugin, "--tenant", "acme"]).succeeds();
    let checked =
        folder.run(&["--config", &config, "plugin", "check", plugin, "--tenant", "globex"]);
    assert!(checked.exits(1).stdout.contains("trust"));
}
