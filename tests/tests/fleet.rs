//! Plugins that are pushed to the broker and activated for all hosts: with real hosts and the real
//! binary, on Redis and on an embedded broker.

use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{Digest, QueueName, State, TaskId};
use bulkhead_queue::{
    Client, DocumentKind, HostInfo, PluginInfo, PushedState, PushedVersion, SubmitLimits, TaskView,
};
use bulkhead_tests::{
    EmbeddedFolder, HostProcess, Load, Persistence, Ran, RedisServer, digest_of, eventually_within,
    guest, install_version, output, task, version, version_of,
};
use serde_json::Value;
use tempfile::TempDir;

/// Hosts compile, and commands are processes of their own, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Switches of one version for another under load.
const SWITCHES: usize = 10;

/// Takes whatever is pushed.
const ANY: &str = "[plugins]\nfleet = \"any\"\n";

/// A server, a configuration, and folders for hosts.
struct Fleet {
    server: RedisServer,
    client: Client,
    root: TempDir,
}

impl Fleet {
    async fn new(config: &str) -> Self {
        Self::on(RedisServer::start(), config).await
    }

    async fn on(server: RedisServer, config: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let client = Client::new(Arc::new(server.broker().await), SubmitLimits::default());
        let fleet = Self { server, client, root };
        fleet.say(config);
        fleet
    }

    /// The configuration says this now.
    fn say(&self, config: &str) {
        std::fs::write(self.config(), config).expect("a file");
    }

    fn config(&self) -> String {
        self.root.path().join("bulkhead.toml").display().to_string()
    }

    /// A host's plugin folder, made if it is not there.
    fn folder(&self, host: &str) -> PathBuf {
        let folder = self.root.path().join(host);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Start a host with a folder of its own.
    async fn host(&self, name: &str) -> HostProcess {
        let folder = self.folder(name);
        let mut host =
            HostProcess::start(&self.server.url(), &folder, name, &["--config", &self.config()]);
        eventually_within(PATIENCE, &format!("{name} runs"), || async {
            let info = self.info(name).await;
            info.filter(|info| info.pid == host.pid())
        })
        .await;
        assert_eq!(host.ended(), None, "{}", host.log());
        host
    }

    fn run(&self, args: &[&str]) -> Ran {
        let (url, config) = (self.server.url(), self.config());
        Ran::of(&[&["--broker", &url, "--config", &config], args].concat())
    }

    /// Put bytes into a file to be pushed; its path.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder("push").join(name);
        std::fs::write(&path, bytes).expect("a file");
        path.display().to_string()
    }

    /// Push a version of `unruly`, unchecked so that this machine compiles it less often.
    fn push(&self, version: u32) -> Digest {
        let (bytes, digest) = version_of("unruly", version);
        let file = self.file("unruly.wasm", &bytes);
        self.run(&["plugin", "push", &file, "--unchecked"]).succeeds();
        digest
    }

    fn activate(&self, digest: Digest) -> Ran {
        self.run(&["plugin", "activate", "unruly", &digest.to_string(), "--timeout", "3m"])
    }

    async fn info(&self, host: &str) -> Option<HostInfo> {
        let hosts = self.client.broker().hosts().await.ok()?;
        hosts.into_iter().find(|info| info.name == host)
    }

    async fn plugin(&self, host: &str) -> Option<PluginInfo> {
        self.info(host).await?.plugins.into_iter().find(|plugin| plugin.name == "unruly")
    }

    /// Wait until a host serves this version.
    async fn serves(&self, host: &str, digest: Digest) {
        let what = format!("{host} serves {}", digest.short());
        eventually_within(PATIENCE, &what, || async {
            let serving = self.plugin(host).await?.serving?;
            (serving.digest == digest).then_some(())
        })
        .await;
    }

    /// Wait until a host has judged this version; the gate and the reason if it has refused it.
    async fn judged(&self, host: &str, digest: Digest) -> Option<(String, String)> {
        let what = format!("{host} has judged {}", digest.short());
        eventually_within(PATIENCE, &what, || async {
            let pushed = self.plugin(host).await?.pushed;
            let pushed = pushed.into_iter().find(|pushed| pushed.digest == digest)?;
            match pushed.state {
                PushedState::Loading => None,
                PushedState::Ready | PushedState::Serving | PushedState::Canary => Some(None),
                PushedState::Rejected => Some(pushed.gate.zip(pushed.reason)),
            }
        })
        .await
    }

    async fn submit(&self, task_type: &str, payload: &str) -> TaskId {
        self.client.submit(task(task_type, payload)).await.expect("submitted").id
    }

    async fn wait(&self, id: TaskId) -> TaskView {
        let ended = self.client.wait(&QueueName::default(), id, PATIENCE).await;
        ended.expect("a broker").unwrap_or_else(|| panic!("{id} has not ended"))
    }

    /// The version that a new task runs on.
    async fn ran_on(&self) -> Digest {
        let id = self.submit("echo", "x").await;
        let view = self.wait(id).await;
        assert_eq!((view.state, output(&view).as_str()), (State::Completed, "x"));
        version(&view)
    }

    async fn running(&self, id: TaskId) {
        eventually_within(PATIENCE, "the task runs", || async {
            let queue = QueueName::default();
            let views = self.client.broker().inspect(&queue, &[id]).await.ok()?;
            (views.into_iter().next()??.state == State::Running).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_pushed_version_serves_on_all_hosts_once_it_is_active() {
    let fleet = Fleet::new(ANY).await;
    let (_h1, _h2) = (fleet.host("h1").await, fleet.host("h2").await);
    let (bytes, first) = version_of("unruly", 1);
    let (file, limits) = (fleet.file("unruly.wasm", &bytes), b"[limits]\nwall = \"20s\"\n");
    let push =
        |manifest: &str| fleet.run(&["plugin", "push", &file, "--manifest", manifest, "--json"]);
    let refused = push(&fleet.file("wrong.toml", b"[limit]\n")).exits(1).stderr;
    assert!(refused.contains("the gate `manifest`"), "{refused}");
    let pushed = push(&fleet.file("limits.toml", limits)).succeeds().json();
    assert_eq!(pushed["digest"], first.to_string());
    assert_eq!(pushed["manifest"], digest_of(limits).to_string());
    let named = pushed["version"].as_str().expect("what it calls itself").to_owned();
    for host in ["h1", "h2"] {
        assert_eq!(fleet.judged(host, first).await, None);
        let plugin = fleet.plugin(host).await.expect("it is known");
        assert!(plugin.serving.is_none(), "nobody activated it");
    }
    fleet.run(&["plugin", "activate", "unruly", "2.7.1"]).exits(4);
    fleet.run(&["plugin", "activate", "other", &named]).exits(4);
    fleet.run(&["plugin", "rollback", "unruly"]).exits(4);
    let activated = fleet.run(&["plugin", "activate", "unruly", &named, "--json"]);
    let activated = activated.succeeds().json();
    let states: Vec<&Value> = activated["hosts"].as_array().expect("hosts").iter().collect();
    assert!(states.len() == 2 && states.iter().all(|host| host["state"] == "serving"));
    assert_eq!(fleet.ran_on().await, first);

    // What is in flight ends on the version that it began with.
    let slow = fleet.submit("sleep", "8000").await;
    fleet.running(slow).await;
    let second = fleet.push(2);
    let told = fleet.activate(second).said();
    assert!(told.contains("2 of 2 hosts serve it"), "{told}");
    assert_eq!(fleet.ran_on().await, second);
    let slow = fleet.wait(slow).await;
    assert_eq!((slow.state, slow.attempts(), version(&slow)), (State::Completed, 1, first));

    fleet.run(&["plugin", "rollback", "unruly", "--timeout", "3m"]).succeeds();
    assert_eq!(fleet.ran_on().await, first);
    let history = fleet.run(&["plugin", "history", "unruly", "--json"]).succeeds().json();
    assert_eq!(history["active"], first.to_string());
    let steps = history["steps"].as_array().expect("steps").iter();
    let steps: Vec<_> =
        steps.map(|step| (step["digest"].as_str().unwrap_or(""), &step["rollback"])).collect();
    let (first_text, second_text) = (first.to_string(), second.to_string());
    let (yes, no) = (Value::Bool(true), Value::Bool(false));
    assert_eq!(steps, [(&*first_text, &no), (&*second_text, &no), (&*first_text, &yes)]);
    let shown = fleet.run(&["plugin", "history", "unruly"]).said();
    assert!(shown.contains("active") && shown.contains("rollback"), "{shown}");

    // A host that starts later serves what is active, not what is newest.
    let _h3 = fleet.host("h3").await;
    fleet.serves("h3", first).await;
    assert_eq!(fleet.judged("h3", second).await, None, "it is ready for the newest");
    let listed = fleet.run(&["plugin", "list"]).said();
    assert!(listed.contains("serving, pushed") && !listed.contains("mixed"), "{listed}");
    let journal = fleet.client.broker().archive();
    let journal = journal.journal_entries(&bulkhead_queue::JournalRange::newest(9)).await;
    let journal = journal.expect("a journal").into_iter();
    let actions: Vec<String> = journal.map(|entry| entry.line.action).collect();
    let [push, activate] = ["plugin.push", "plugin.activate"];
    assert_eq!(actions, [push, activate, push, activate, "plugin.rollback"]);
}

/// Whoever submits after an activation was reported is served by that version or a later one.
#[tokio::test]
async fn switches_of_two_hosts_under_load_fail_no_task() {
    let fleet = Fleet::new(ANY).await;
    let (_h1, _h2) = (fleet.host("h1").await, fleet.host("h2").await);
    let versions = [fleet.push(1), fleet.push(2)];
    fleet.activate(versions[0]).succeeds();
    let load = Load::begin(&fleet.client, Duration::from_millis(20));
    for switch in 1..=SWITCHES {
        let digest = versions[switch % 2];
        let activated = tokio::task::spawn_blocking({
            let (url, config) = (fleet.server.url(), fleet.config());
            move || {
                let digest = digest.to_string();
                let activate = ["plugin", "activate", "unruly", &digest, "--timeout", "3m"];
                Ran::of(&[&["--broker", &url, "--config", &config], &activate[..]].concat())
            }
        });
        activated.await.expect("it ran").succeeds();
        load.report(switch);
    }
    let submitted = load.end().await;
    let mut ran = [0_usize; 2];
    let last = submitted.last().expect("tasks").1;
    for (id, after) in submitted {
        let view = fleet.wait(id).await;
        assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
        let on = versions.iter().position(|digest| *digest == version(&view));
        ran[on.expect("a version that was pushed")] += 1;
        if after == SWITCHES {
            assert_eq!(on, Some(SWITCHES % 2), "the last switch was reported");
        }
    }
    assert!(last > 0 && ran.iter().all(|tasks| *tasks > 0), "{ran:?}");
}

#[tokio::test]
async fn a_bad_version_never_serves_and_both_hosts_say_why() {
    let fleet = Fleet::new(ANY).await;
    let (_h1, _h2) = (fleet.host("h1").await, fleet.host("h2").await);
    let good = fleet.push(1);
    fleet.activate(good).succeeds();
    let bytes = guest("wrongworld");
    let (file, bad) = (fleet.file("unruly.wasm", &bytes), digest_of(&bytes));
    let refused = fleet.run(&["plugin", "push", &file]).exits(1).stderr;
    assert!(refused.contains("the gate `world`") && refused.contains("--unchecked"), "{refused}");
    fleet.run(&["plugin", "push", &file, "--unchecked"]).succeeds();
    for host in ["h1", "h2"] {
        let (gate, reason) = fleet.judged(host, bad).await.expect("it is refused");
        assert!(gate == "world" && !reason.is_empty(), "{gate}: {reason}");
    }
    let refused = fleet.activate(bad).exits(1).stderr;
    for host in ["h1", "h2"] {
        assert!(refused.contains(&format!("{host} refused it at the gate `world`")), "{refused}");
    }
    let forced = ["plugin", "activate", "unruly", &bad.to_string(), "--force", "--json"];
    let forced = fleet.run(&forced).exits(1).json();
    assert!(forced["hosts"].as_array().expect("hosts").iter().all(|h| h["state"] == "refused"));
    assert_eq!(fleet.ran_on().await, good);
    for host in ["h1", "h2"] {
        let serving = fleet.plugin(host).await.and_then(|plugin| plugin.serving);
        assert_eq!(serving.expect("it serves").digest, good);
    }
    let listed = fleet.run(&["plugin", "list"]).said();
    assert!(listed.contains("unruly, pushed, on h2 failed the gate `world`"), "{listed}");
    // A host that has nothing better serves nothing.
    let _h3 = fleet.host("h3").await;
    assert_eq!(fleet.judged("h3", bad).await.expect("it is refused").0, "world");
    assert!(fleet.plugin("h3").await.expect("it is known").serving.is_none());
    let listed = fleet.run(&["plugin", "list", "--json"]).succeeds().json();
    assert!(listed.as_array().expect("a list").iter().all(|plugin| plugin["mixed"] == true));
    fleet.run(&["plugin", "rollback", "unruly", "--timeout", "3m"]).succeeds();
    fleet.serves("h3", good).await;
    eventually_within(PATIENCE, "it is not mixed any more", || {
        ready((!fleet.run(&["plugin", "list"]).said().contains("mixed")).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn a_file_does_not_count_while_a_pushed_version_serves() {
    let fleet = Fleet::new(ANY).await;
    let file = install_version(&fleet.folder("h1"), "unruly", 10);
    let _h1 = fleet.host("h1").await;
    fleet.serves("h1", file).await;
    let pushed = fleet.push(1);
    assert_eq!(fleet.judged("h1", pushed).await, None);
    assert_eq!(fleet.ran_on().await, file, "it is not active");
    fleet.activate(pushed).succeeds();
    let newer = install_version(&fleet.folder("h1"), "unruly", 11);
    let listed = fleet.run(&["plugin", "reload"]).said();
    assert!(listed.contains("serving, pushed") && listed.contains("shadowed"), "{listed}");
    assert_eq!(fleet.ran_on().await, pushed);
    // The same after a start.
    drop(_h1);
    let _h1 = fleet.host("h1").await;
    fleet.serves("h1", pushed).await;
    assert_eq!(fleet.ran_on().await, pushed);
    // A file that goes takes nothing away.
    std::fs::remove_file(fleet.folder("h1").join("unruly.wasm")).expect("removed");
    let listed = fleet.run(&["plugin", "reload"]).said();
    assert!(!listed.contains("shadowed"), "{listed}");
    assert_eq!(fleet.ran_on().await, pushed);
    assert_eq!(install_version(&fleet.folder("h1"), "unruly", 11), newer);
    fleet.run(&["plugin", "remove", "unruly"]).succeeds();
    fleet.serves("h1", newer).await;
    assert_eq!(fleet.ran_on().await, newer);
    assert!(!fleet.plugin("h1").await.expect("it is known").by_fleet);
    fleet.run(&["plugin", "remove", "unruly"]).exits(4);
}

#[tokio::test]
async fn a_pushed_version_must_be_trusted_and_its_manifest_grants_nothing() {
    let fleet = Fleet::new("").await;
    let mut host = fleet.host("h1").await;
    let bytes = guest("notebook");
    let (file, digest) = (fleet.file("notebook.wasm", &bytes), digest_of(&bytes));
    let _ = fleet.file("notebook.toml", b"[grants]\nkv = true\n");
    let push = |more: &[&str]| fleet.run(&[&["plugin", "push", &file], more].concat());
    let refused = push(&[]).exits(1).stderr;
    assert!(refused.contains("kv = true"), "what it would need is said: {refused}");
    push(&["--unchecked"]).succeeds();
    let judged = async |what: &str, is: &dyn Fn(&PushedVersion) -> bool| {
        eventually_within(PATIENCE, what, || async {
            let plugins = fleet.info("h1").await?.plugins;
            let plugin = plugins.into_iter().find(|plugin| plugin.name == "notebook")?;
            plugin.pushed.into_iter().find(|pushed| pushed.digest == digest && is(pushed))
        })
        .await
    };
    let failed = |gate: &'static str| move |it: &PushedVersion| it.gate.as_deref() == Some(gate);
    let distrusted = judged("nothing says whose pushes to trust", &failed("trust")).await;
    assert!(distrusted.reason.is_some_and(|reason| reason.contains("plugins.fleet")));

    let key = fleet.folder("push").join("key").display().to_string();
    let made = fleet.run(&["plugin", "keygen", &key, "--json"]).succeeds().json();
    let public = made["public_key"].as_str().expect("a key");
    let trust = format!("[plugins.trust]\npolicy = \"signed\"\nkeys.release = \"{public}\"\n");
    fleet.say(&trust);
    let unsigned = judged("it is not signed", &|it| {
        it.reason.as_ref().is_some_and(|reason| reason.contains("there is no `notebook.wasm.sig`"))
    });
    unsigned.await;
    fleet.run(&["plugin", "sign", "--key", &key, &file]).succeeds();
    push(&["--unchecked"]).succeeds();
    judged("its manifest grants nothing", &failed("imports")).await;
    fleet.say(&format!("{trust}[grants.notebook]\nkv = true\n"));
    judged("the host grants it", &|it| it.state == PushedState::Ready).await;
    fleet.run(&["plugin", "activate", "notebook", &digest.to_string()]).succeeds();
    let id = fleet.submit("note", "n+1").await;
    assert_eq!(output(&fleet.wait(id).await), "1");
    // The trust goes, and with it what serves.
    fleet.say("[plugins.trust]\npolicy = \"pinned\"\n");
    judged("it is trusted no more", &failed("trust")).await;
    let plugins = fleet.info("h1").await.expect("it runs").plugins;
    assert!(plugins.iter().all(|plugin| plugin.serving.is_none()));
    // A host that takes none says so, and is not waited for.
    host.kill();
    fleet.say("[plugins]\nfleet = \"off\"\n");
    let _host = fleet.host("h1").await;
    let told = fleet.run(&["plugin", "activate", "notebook", &digest.to_string()]).said();
    assert!(told.contains("h1 takes no pushed plugins"), "{told}");
}

/// A version with so much in it that fetching it takes a while.
fn large_version() -> (Vec<u8>, Digest) {
    let mut bytes = guest("unruly");
    let content = 24 << 20;
    let mut section = vec![7];
    section.extend_from_slice(b"ballast");
    section.resize(section.len() + content, 0);
    bytes.push(0);
    let mut length = section.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).expect("seven bits"));
    bytes.extend(section);
    let digest = digest_of(&bytes);
    (bytes, digest)
}

#[tokio::test]
async fn a_host_that_is_killed_and_a_broker_that_restarts_lose_nothing() {
    let mut fleet = Fleet::on(RedisServer::start_with(Persistence::Always), ANY).await;
    let (mut h1, _h2) = (fleet.host("h1").await, fleet.host("h2").await);
    let first = fleet.push(1);
    fleet.activate(first).succeeds();
    let (bytes, large) = large_version();
    let file = fleet.file("unruly.wasm", &bytes);
    fleet.run(&["plugin", "push", &file, "--unchecked"]).succeeds();
    eventually_within(PATIENCE, "h1 fetches it", || async {
        let pushed = fleet.plugin("h1").await?.pushed;
        pushed.iter().any(|pushed| pushed.digest == large).then_some(())
    })
    .await;
    h1.kill();
    let _h1 = fleet.host("h1").await;
    fleet.serves("h1", first).await;
    fleet.activate(large).succeeds();
    assert_eq!(fleet.ran_on().await, large);

    fleet.server.kill();
    fleet.server.restart();
    let second = eventually_within(PATIENCE, "a push goes through", || {
        let (bytes, digest) = version_of("unruly", 2);
        let file = fleet.file("unruly.wasm", &bytes);
        let pushed = fleet.run(&["plugin", "push", &file, "--unchecked"]);
        ready((pushed.code == 0).then_some(digest))
    })
    .await;
    for host in ["h1", "h2"] {
        assert_eq!(fleet.judged(host, second).await, None);
    }
    fleet.activate(second).succeeds();
    assert_eq!(fleet.ran_on().await, second);
    let archive = fleet.client.broker().archive();
    let versions = archive.documents(DocumentKind::Version).await;
    assert_eq!(versions.expect("a broker").len(), 3);

    // What the broker does not give is asked for again.
    let third = fleet.push(3);
    fleet.judged("h1", third).await;
    assert!(archive.delete_blob(&third).await.expect("a broker"));
    let _h3 = fleet.host("h3").await;
    let (gate, reason) = fleet.judged("h3", third).await.expect("it cannot be fetched");
    assert!(gate == "fetch" && reason.contains("push it again"), "{gate}: {reason}");
    archive.put_blob(&version_of("unruly", 3).0).await.expect("a broker");
    eventually_within(PATIENCE, "h3 is ready for it", || async {
        let pushed = fleet.plugin("h3").await?.pushed;
        let ready = |it: &PushedVersion| it.digest == third && it.state == PushedState::Ready;
        pushed.iter().any(ready).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pushed_plugin_waits_for_types_that_another_one_serves() {
    let fleet = Fleet::new(ANY).await;
    let _h1 = fleet.host("h1").await;
    fleet.activate(fleet.push(1)).succeeds();
    let (bytes, twin) = version_of("unruly", 2);
    let file = fleet.file("twin.wasm", &bytes);
    fleet.run(&["plugin", "push", &file, "--unchecked"]).succeeds();
    let activate = ["plugin", "activate", "twin", &twin.to_string(), "--timeout", "3m"];
    let refused = fleet.run(&activate).exits(1).stdout;
    assert!(refused.contains("the gate `task_type_taken`"), "{refused}");
    fleet.run(&["plugin", "remove", "unruly"]).succeeds();
    // The host hears of it a moment later.
    eventually_within(PATIENCE, "the twin serves", || async {
        (fleet.ran_on().await == twin).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_embedded_broker_keeps_what_was_pushed() {
    let folder = EmbeddedFolder::new();
    let config = folder.file("bulkhead.toml", ANY);
    let configured = ["--config", config.as_str()];
    let served = async |digest: Digest| {
        eventually_within(PATIENCE, "the version serves", || {
            let listed = folder.run(&["plugin", "list", "--json"]);
            let plugins: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap_or_default();
            let serves = |plugin: &Value| plugin["serving"]["digest"] == digest.to_string();
            ready(plugins.iter().any(serves).then_some(()))
        })
        .await;
    };
    let push = |version: u32| {
        let (bytes, digest) = version_of("unruly", version);
        let file = folder.file("unruly.wasm", "");
        std::fs::write(&file, bytes).expect("a file");
        folder.run(&["plugin", "push", &file, "--unchecked"]).succeeds();
        digest
    };
    let mut host = folder.host("h1", &configured).await;
    let (first, second) = (push(1), push(2));
    for digest in [first, second] {
        let text = digest.to_string();
        folder.run(&["plugin", "activate", "unruly", &text, "--timeout", "3m"]).succeeds();
        served(digest).await;
    }
    host.kill();
    // Without a host the folder itself is asked, and changed.
    let history = folder.json(&["plugin", "history", "unruly"]);
    assert_eq!(history["active"], second.to_string());
    let back = folder.run(&["plugin", "rollback", "unruly"]).said();
    assert!(back.contains("no host is running"), "{back}");
    let _host = folder.host("h1", &configured).await;
    served(first).await;
    let id = folder.submit(&["echo", "--data", "x"]);
    folder.run(&["task", "wait", &id, "--timeout", "4m"]).exits(0);
    assert_eq!(folder.task(&id)["history"][0]["digest"], first.to_string());
}

#[tokio::test]
async fn a_tenants_pushed_plugins_serve_it_within_its_quota() {
    let fleet = Fleet::new(&format!("{ANY}[tenants.acme]\nplugins = 1\n")).await;
    let _h1 = fleet.host("h1").await;
    let (bytes, digest) = version_of("unruly", 1);
    let file = fleet.file("unruly.wasm", &bytes);
    let other = fleet.file("zebra.wasm", &guest("idle"));
    for file in [&file, &other] {
        let push = ["plugin", "push", file, "--unchecked", "--tenant", "acme"];
        fleet.run(&push).succeeds();
    }
    let of = async |name: &str, state: PushedState| {
        eventually_within(PATIENCE, &format!("{name} is {state:?}"), || async {
            let plugins = fleet.info("h1").await?.plugins;
            let plugin = plugins.into_iter().find(|plugin| plugin.name == name)?;
            plugin.pushed.into_iter().find(|pushed| pushed.state == state)
        })
        .await
    };
    assert_eq!(of("acme/zebra", PushedState::Rejected).await.gate.as_deref(), Some("quota"));
    of("acme/unruly", PushedState::Ready).await;
    let text = digest.to_string();
    fleet.run(&["plugin", "activate", "unruly", &text]).exits(4);
    fleet.run(&["plugin", "activate", "unruly", &text, "--tenant", "acme"]).succeeds();
    let tenant = |name: &str| bulkhead_core::TenantName::new(name).expect("a name");
    let of_acme = bulkhead_queue::NewTask { tenant: tenant("acme"), ..task("echo", "x") };
    let id = fleet.client.submit(of_acme).await.expect("submitted").id;
    let view = fleet.wait(id).await;
    assert_eq!((view.state, version(&view)), (State::Completed, digest));
    let plugin = view.last_report().and_then(|report| report.plugin.clone());
    assert_eq!(plugin.expect("it is told").to_string(), "acme/unruly");
    // Nobody else is served by it.
    let others = fleet.submit("echo", "x").await;
    let first = bulkhead_queue::NewTask { tenant: tenant("acme"), ..task("echo", "y") };
    let first = fleet.client.submit(first).await.expect("submitted").id;
    fleet.wait(first).await;
    let queue = QueueName::default();
    let views = fleet.client.broker().inspect(&queue, &[others]).await.expect("a broker");
    assert_eq!(views[0].as_ref().expect("it is known").state, State::Pending);
    // There is room for the other when the first is gone.
    fleet.run(&["plugin", "remove", "unruly", "--tenant", "acme"]).succeeds();
    of("acme/zebra", PushedState::Ready).await;
}
