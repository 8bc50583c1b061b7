//! The real binary on an embedded broker: one host that owns a folder, and commands that
//! reach the queue through its socket, or through the folder while no host runs.

use std::collections::BTreeSet;
use std::future::ready;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use bulkhead_core::{QueueName, State, TaskId};
use bulkhead_queue::{Broker, EmbeddedBroker, Entry, TaskView};
use bulkhead_tests::{
    EmbeddedFolder, HostProcess, Ran, digest_of, eventually_within, guest, install,
    install_version, lost_leases,
};
use serde_json::{Value, json};

const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// Every look is a process of its own, so that much of a busy machine's time goes by.
const PATIENCE: Duration = Duration::from_secs(240);

/// Ask a host to stop, and see it do so with success.
fn stop(host: &mut HostProcess, signal: &str) {
    host.signal(signal);
    assert_eq!(host.wait(STOPS_WITHIN).code(), Some(0), "{}", host.log());
}

fn entries(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().display().to_string()).collect()
}

#[tokio::test]
async fn commands_reach_the_queue_through_the_socket_of_its_host() {
    let folder = EmbeddedFolder::new();
    let mut host = folder.host("h1", &[]).await;
    let mode = std::fs::metadata(folder.socket()).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it is its owner's alone");

    let echo = folder.submit(&["echo", "--data", "through the socket"]);
    assert_eq!(
        folder.run(&["task", "wait", &echo, "--timeout", "4m"]).said(),
        "through the socket"
    );
    assert_eq!(
        folder.run(&["submit", "echo", "--data", "at once", "--wait", "--timeout", "4m"]).said(),
        "at once"
    );

    let spin = folder.submit(&["spin", "--data", ""]);
    folder.reaches(&spin, "running").await;
    let unserved = folder.submit(&["nobody", "--data", "{}"]);
    let listed = folder.json(&["task", "list", "--type", "nobody"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["state"]),
        (&unserved.as_str().into(), &"pending".into())
    );
    for id in [&spin, &unserved] {
        folder.run(&["task", "cancel", id]).exits(0);
        folder.run(&["task", "wait", id, "--timeout", "4m"]).exits(1);
        assert_eq!(folder.task(id)["state"], "cancelled");
    }
    let hosts = folder.json(&["host", "list"]);
    assert_eq!((&hosts[0]["name"], &hosts[0]["pid"]), (&"h1".into(), &host.pid().into()));

    stop(&mut host, "TERM");
    assert!(!folder.socket().exists(), "the socket goes with its host");
    assert_eq!(folder.task(&echo)["output"]["text"], "through the socket");
    assert_eq!(folder.json(&["host", "list"]), Value::Array(Vec::new()));
}

#[tokio::test]
async fn what_is_submitted_while_no_host_runs_waits_for_one() {
    let folder = EmbeddedFolder::new();
    stop(&mut folder.host("first", &[]).await, "TERM");
    let one = folder.submit(&["echo", "--data", "one"]);
    let lines = "{\"type\": \"echo\", \"payload\": \"two\"}\n".repeat(20);
    let many = folder.json(&["submit", "--jsonl", &folder.file("tasks.jsonl", &lines)]);
    assert_eq!(many.as_array().map(Vec::len), Some(20), "{many}");
    let dropped = folder.submit(&["echo", "--data", "never"]);
    folder.run(&["task", "cancel", &dropped]).exits(0);
    let waiting = folder.json(&["task", "list", "--state", "pending"]);
    assert_eq!(waiting.as_array().map(Vec::len), Some(21), "{waiting}");
    assert!(!folder.socket().exists(), "a command serves nobody");

    let _host = folder.host("second", &[]).await;
    for task in waiting.as_array().expect("a list") {
        let id = task["id"].as_str().expect("an id");
        folder.run(&["task", "wait", id, "--timeout", "4m"]).exits(0);
        assert_eq!(folder.task(id)["attempts"], 1);
    }
    assert_eq!(folder.task(&one)["output"]["text"], "one");
    assert_eq!(folder.task(&dropped)["state"], "cancelled");
}

#[tokio::test]
async fn a_second_host_is_refused_and_the_first_goes_on() {
    let folder = EmbeddedFolder::new();
    let _first = folder.host("first", &[]).await;
    let mut second = folder.start("second", &[]);
    assert_eq!(second.wait(STOPS_WITHIN).code(), Some(3), "{}", second.log());
    let log = second.log();
    assert!(log.contains("another host runs on the embedded broker in"), "{log}");
    assert!(log.contains(&folder.data().display().to_string()), "{log}");
    assert!(folder.socket().exists(), "the first one's socket stays");
    assert_eq!(
        folder.run(&["submit", "echo", "--data", "x", "--wait", "--timeout", "4m"]).said(),
        "x"
    );
}

#[tokio::test]
async fn a_host_waits_for_a_command_that_has_the_folder_and_not_for_ever() {
    let folder = EmbeddedFolder::new();
    let open = || EmbeddedBroker::open(folder.data()).expect("a broker");
    let held = open();
    let host = folder.start("patient", &[]);
    eventually_within(PATIENCE, "the host waits", || async {
        host.log().contains("waiting for a process that has the queue open").then_some(())
    })
    .await;
    drop(held);
    eventually_within(PATIENCE, "the host serves", || async {
        folder.socket().exists().then_some(())
    })
    .await;
    assert_eq!(
        folder.run(&["submit", "echo", "--data", "x", "--wait", "--timeout", "4m"]).said(),
        "x"
    );
    drop(host);

    // Another process has it and answers nobody.
    let _held = open();
    let command = folder.run(&["task", "list"]).exits(3);
    assert!(command.stderr.contains("does not answer at"), "{command:?}");
    let mut host = folder.start("refused", &[]);
    assert_eq!(host.wait(STOPS_WITHIN).code(), Some(3), "{}", host.log());
    assert!(host.log().contains("a process that is no host has"), "{}", host.log());
}

#[tokio::test]
async fn what_is_no_broker_is_refused_and_leaves_nothing_behind() {
    let folder = EmbeddedFolder::new();
    let nowhere = folder.run(&["submit", "echo", "--data", "x"]).exits(3);
    let says = format!("there is no embedded broker in `{}`", folder.data().display());
    assert!(nowhere.stderr.contains(&says), "{nowhere:?}");
    let remedy = format!("bulkhead run --broker {}`", folder.url());
    assert!(nowhere.stderr.contains(&remedy), "{nowhere:?}");
    assert!(!folder.data().exists(), "a command makes no queue");

    let memory = Ran::of(&["--broker", "embedded:", "task", "list"]).exits(2);
    assert!(memory.stderr.contains("in the memory of one host"), "{memory:?}");
    assert!(memory.stderr.contains("--broker embedded:PATH"), "{memory:?}");

    // A host that cannot start does not seem to run.
    let missing = folder.data().join("no-such-folder").display().to_string();
    let failed = folder.run(&["run", "--plugins", &missing]).exits(2);
    assert!(failed.stderr.contains("cannot be read"), "{failed:?}");
    assert_eq!(entries(&folder.data()), ["lock", "queue.redb"].map(String::from).into());

    std::fs::write(folder.data().join("queue.redb"), "not a queue").expect("written");
    let damaged = folder.run(&["task", "list"]).exits(2);
    assert!(damaged.stderr.contains("cannot use the embedded broker in"), "{damaged:?}");
}

/// What the hosts of the ledger can have begun and not yet recorded.
const UNSETTLED: usize = 64;
const LEDGER: usize = 3_000;
const KILLS: usize = 3;

/// Wait until so many tasks have completed; how many wait still.
async fn completed(folder: &EmbeddedFolder, tasks: usize) -> u64 {
    eventually_within(PATIENCE, &format!("{tasks} have completed"), || async {
        let stats = folder.json(&["queue", "stats", "default"]);
        let done = stats["totals"]["completed"].as_u64().unwrap_or(0);
        (done >= tasks as u64).then(|| stats["pending"].as_u64().expect("a depth"))
    })
    .await
}

/// The tasks of these ids, read from the folder of a host that has ended.
async fn read(folder: &EmbeddedFolder, ids: &[TaskId]) -> Vec<TaskView> {
    let broker = EmbeddedBroker::open(folder.data()).expect("a broker");
    let mut views = Vec::with_capacity(ids.len());
    for page in ids.chunks(500) {
        let found = broker.inspect(&QueueName::default(), page).await.expect("an answer");
        views.extend(found.into_iter().map(|view| view.expect("no task is lost")));
    }
    views
}

fn id_of(task: &Value) -> TaskId {
    task["id"].as_str().expect("an id").parse().expect("an id")
}

#[tokio::test]
async fn a_host_that_is_killed_under_load_loses_no_task() {
    let folder = EmbeddedFolder::new();
    let settings = folder.file(
        "settings.toml",
        &format!(
            "[host]\nguest_threads = 2\nconcurrency = 32\nsettlement_buffer = {UNSETTLED}\n[limits]\nwall = \"10m\"\n"
        ),
    );
    let flags = ["--config", settings.as_str()];
    let mut host = folder.host("victim-0", &flags).await;
    let lines = "{\"type\": \"burn\", \"payload\": \"1000000\"}\n".repeat(LEDGER);
    let ledger = folder.json(&["submit", "--jsonl", &folder.file("ledger.jsonl", &lines)]);
    let ledger: Vec<TaskId> = ledger.as_array().expect("a list").iter().map(id_of).collect();
    assert_eq!(ledger.len(), LEDGER);

    // One of these begins under each host and is cut off by every kill from then on.
    let mut sleepers = Vec::new();
    for kill in 1..=KILLS {
        sleepers.push(folder.submit(&["sleep", "--data", "600000", "--priority", "critical"]));
        for sleeper in &sleepers {
            folder.reaches(sleeper, "running").await;
        }
        let waiting = completed(&folder, kill * LEDGER / 10).await;
        assert!(waiting > 0, "the load ended before kill {kill}");
        host.kill();
        host = folder.host(&format!("victim-{kill}"), &flags).await;
    }
    for sleeper in &sleepers {
        folder.reaches(sleeper, "running").await;
    }
    completed(&folder, LEDGER).await;
    for sleeper in &sleepers {
        folder.run(&["task", "cancel", sleeper]).exits(0);
    }
    for sleeper in &sleepers {
        folder.reaches(sleeper, "cancelled").await;
    }
    let doctor = folder.json(&["doctor"]);
    assert_eq!(doctor, Value::Array(Vec::new()), "nothing is wrong with the queue");
    stop(&mut host, "TERM");

    let mut repeated = 0;
    for view in read(&folder, &ledger).await {
        assert_eq!(view.state, State::Completed, "{view:?}");
        let ends = view.history.iter().filter(|entry| matches!(entry, Entry::Ended(..))).count();
        assert_eq!((ends, view.history.len()), (1, 1 + lost_leases(&view)), "{view:?}");
        repeated += lost_leases(&view);
    }
    let sleepers: Vec<TaskId> = sleepers.iter().map(|id| id.parse().expect("an id")).collect();
    for (before, view) in read(&folder, &sleepers).await.iter().enumerate() {
        assert_eq!(lost_leases(view), KILLS - before, "{view:?}");
        repeated += lost_leases(view);
    }
    assert!(repeated <= KILLS * UNSETTLED, "{repeated} attempts repeated");
}

/// Wait until a schedule has fired so often and each of its tasks has completed.
async fn fired(folder: &EmbeddedFolder, name: &str, times: u64) {
    eventually_within(PATIENCE, &format!("{name} has fired {times} times"), || async {
        let fired = folder.json(&["schedule", "show", name])["fired"].as_u64()?;
        let tasks = folder.json(&["task", "list", "--schedule", name, "--state", "completed"]);
        (fired >= times && tasks.as_array()?.len() as u64 >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn schedules_put_by_a_command_fire_on_the_host_of_the_folder() {
    let folder = EmbeddedFolder::new();
    let mut host = folder.host("h1", &[]).await;
    let put = |name| ["schedule", "put", name, "echo", "--every", "1s", "--data", "tick"];
    assert_eq!(folder.json(&put("early"))["changed"], true);
    fired(&folder, "early", 2).await;
    stop(&mut host, "TERM");

    // Kept in the folder, and defined there while no host runs.
    let before = folder.json(&["schedule", "show", "early"])["fired"].as_u64().expect("a count");
    assert!(before >= 2, "{before}");
    assert_eq!(folder.json(&put("late"))["changed"], true);
    assert_eq!(folder.json(&put("early"))["changed"], false, "it is known");
    let _host = folder.host("h2", &[]).await;
    fired(&folder, "early", before + 1).await;
    fired(&folder, "late", 2).await;
    for name in ["early", "late"] {
        folder.run(&["schedule", "remove", name]).exits(0);
    }
    assert_eq!(folder.json(&["schedule", "list"]), Value::Array(Vec::new()));
}

#[tokio::test]
async fn plugins_are_reloaded_through_the_socket() {
    let folder = EmbeddedFolder::new();
    let settings = folder.file("settings.toml", "[plugins]\nrescan_every = \"1h\"\n");
    let _host = folder.host("h1", &["--config", &settings]).await;
    let serving = |digest: &str| {
        let plugins = folder.json(&["plugin", "reload"]);
        let unruly = plugins.as_array().expect("a list").iter().find(|p| p["name"] == "unruly");
        assert_eq!(unruly.expect("it is there")["serving"]["digest"], digest, "{plugins}");
    };
    serving(&digest_of(&guest("unruly")).to_string());
    let new = install_version(&folder.plugins(), "unruly", 2).to_string();
    serving(&new);
    let id = folder.submit(&["echo", "--data", "x"]);
    folder.run(&["task", "wait", &id, "--timeout", "4m"]).exits(0);
    let ran = &folder.task(&id)["history"][0];
    assert_eq!((&ran["plugin"], &ran["digest"]), (&json!("unruly"), &json!(new)));

    install(&folder.plugins(), "wrongworld");
    let refused = folder.run(&["plugin", "reload"]).exits(1);
    assert!(refused.stdout.contains("wrongworld on h1 failed the gate `world`"), "{refused:?}");
}

/// A `bulkhead dev`, the folder where it may put what is temporary, and its address.
struct Dev {
    process: HostProcess,
    temporary: tempfile::TempDir,
    address: String,
}

impl Dev {
    async fn start(plugins: &Path, extra: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        let mut command = HostProcess::command();
        command.env("TMPDIR", temporary.path()).args(["dev", "--plugins"]).arg(plugins);
        command.args(extra);
        let mut process = HostProcess::spawn(command, plugins.join("dev.log"));
        let address = eventually_within(PATIENCE, "it prints its address", || {
            assert_eq!(process.ended(), None, "{}", process.log());
            ready(address_in(&process.log()))
        })
        .await;
        Self { process, temporary, address }
    }

    /// Submit a task and wait for its output, as another process does by the address.
    fn output_of(&self, payload: &str) -> String {
        Ran::of(&[
            "--broker",
            &self.address,
            "submit",
            "echo",
            "--data",
            payload,
            "--wait",
            "--timeout",
            "4m",
        ])
        .said()
    }

    fn stop(mut self) {
        stop(&mut self.process, "INT");
        assert_eq!(entries(self.temporary.path()), BTreeSet::new(), "nothing is left behind");
    }
}

/// The address in what `bulkhead dev` tells its user to type.
fn address_in(log: &str) -> Option<String> {
    let (_, after) = log.split_once("bulkhead --broker ")?;
    after.split_once(" submit TYPE").map(|(address, _)| address.to_owned())
}

#[tokio::test]
async fn dev_serves_at_the_address_that_it_prints_and_leaves_nothing_behind() {
    let folder = EmbeddedFolder::new();
    let dev = Dev::start(&folder.plugins(), &[]).await;
    assert!(dev.address.contains(&dev.temporary.path().display().to_string()), "{}", dev.address);
    assert_eq!(dev.output_of("from another terminal"), "from another terminal");
    let new = install_version(&folder.plugins(), "unruly", 2).to_string();
    eventually_within(PATIENCE, "the new version serves", || async {
        let plugins = Ran::of(&["--broker", &dev.address, "plugin", "list", "--json"]).said();
        plugins.contains(&new).then_some(())
    })
    .await;
    let address = dev.address.clone();
    dev.stop();
    let gone = Ran::of(&["--broker", &address, "task", "list"]).exits(3);
    assert!(gone.stderr.contains("there is no embedded broker in"), "{gone:?}");
}

#[tokio::test]
async fn dev_keeps_tasks_in_the_folder_that_it_is_given() {
    let folder = EmbeddedFolder::new();
    let data = folder.data().display().to_string();
    let dev = Dev::start(&folder.plugins(), &["--data", &data]).await;
    assert_eq!(dev.address, folder.url());
    assert_eq!(dev.output_of("kept"), "kept");
    let waiting = folder.submit(&["echo", "--data", "later", "--delay", "1h"]);
    dev.stop();
    assert_eq!(entries(&folder.data()), ["lock", "queue.redb"].map(String::from).into());
    assert_eq!(folder.task(&waiting)["state"], "scheduled");

    let dev = Dev::start(&folder.plugins(), &["--data", &data]).await;
    let done = folder.json(&["task", "list", "--state", "completed"]);
    assert_eq!(done[0]["output"]["text"], "kept", "{done}");
    folder.run(&["task", "retry", &waiting]).exits(0);
    assert_eq!(folder.run(&["task", "wait", &waiting, "--timeout", "4m"]).said(), "later");
    dev.stop();
}
