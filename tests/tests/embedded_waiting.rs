//! Commands that wait, on an embedded broker that no host serves yet: they keep no host out
//! and go on with the one that comes.

use bulkhead_queue::EmbeddedBroker;
use bulkhead_tests::{EmbeddedFolder, HostProcess, Ran, eventually};

/// Long enough for a busy machine.
const LONG: &str = "4m";

/// A folder with a queue and no host.
fn unserved() -> EmbeddedFolder {
    let folder = EmbeddedFolder::new();
    drop(EmbeddedBroker::open(folder.data()).expect("a broker"));
    folder
}

fn nobody(folder: &EmbeddedFolder) -> String {
    format!(
        "no host serves the embedded broker in `{}`; start one with `bulkhead run --broker {}`",
        folder.data().display(),
        folder.url()
    )
}

#[tokio::test]
async fn commands_that_wait_let_a_host_have_the_folder() {
    let folder = unserved();
    folder.run(&["queue", "limit", "default", "--events", "100"]).exits(0);
    let earlier = folder.submit(&["echo", "--data", "earlier"]);
    let other = folder.submit(&["echo", "--data", "other"]);
    let lines = "{\"type\": \"echo\", \"payload\": \"member\"}\n".repeat(3);
    let lines = folder.file("batch.jsonl", &lines);

    let submit = ["submit", "echo", "--data", "one", "--wait", "--timeout", LONG];
    let wait = ["task", "wait", &earlier, &other, "--timeout", LONG];
    let batch = ["batch", "submit", "--jsonl", &lines, "--wait", "--timeout", LONG, "--json"];
    let follow = ["queue", "events", "default", "--follow"];
    let mut waiting = Vec::new();
    for args in [&submit[..], &wait, &batch, &follow] {
        let command = folder.begin(args);
        command.says(&format!("waiting for a host: {}", nobody(&folder))).await;
        waiting.push(command);
    }
    let stored = folder.json(&["task", "list", "--state", "pending"]);
    assert_eq!(stored.as_array().map(Vec::len), Some(6), "{stored}");

    let _host = folder.host("h1", &[]).await;
    let events = waiting.pop().expect("the one that follows events");
    events.prints("completed").await;
    let [submit, wait, batch] = waiting.try_into().ok().expect("three that end");
    assert_eq!(submit.ended().await.said(), "one");
    let table = wait.ended().await.succeeds().stdout;
    assert!(table.contains(&earlier) && table.contains(&other), "{table}");
    assert_eq!(batch.ended().await.succeeds().json()["completed"], 3);
}

#[tokio::test]
async fn waiting_goes_on_when_a_host_is_replaced() {
    let folder = EmbeddedFolder::new();
    let mut first = folder.host("first", &["--queue", "idle"]).await;
    let waiting = folder.begin(&["submit", "echo", "--data", "x", "--wait", "--timeout", LONG]);
    eventually("the task is stored", || async {
        let listed = folder.json(&["task", "list", "--state", "pending"]);
        listed.as_array().is_some_and(|tasks| tasks.len() == 1).then_some(())
    })
    .await;
    first.kill();
    let _second = folder.host("second", &[]).await;
    assert_eq!(waiting.ended().await.said(), "x");
}

#[test]
fn waiting_in_vain_for_a_host_says_so_and_keeps_the_task() {
    let folder = unserved();
    let submit = ["submit", "echo", "--data", "x", "--wait", "--timeout", "200ms"];
    let late = folder.run(&submit).exits(5);
    assert!(late.stderr.contains("has not ended within 200ms"), "{late:?}");
    assert!(late.stderr.contains(&format!("tells more; {}", nobody(&folder))), "{late:?}");
    let stored = folder.json(&["task", "list", "--state", "pending"]);
    let id = stored[0]["id"].as_str().expect("a task");
    assert!(late.stderr.contains(id), "{late:?}");

    let many = folder.run(&["task", "wait", id, id, "--timeout", "200ms"]).exits(5);
    assert!(many.stderr.contains(&nobody(&folder)), "{many:?}");
    let lines = folder.file("batch.jsonl", "{\"type\": \"echo\", \"payload\": \"x\"}\n");
    let batch = ["batch", "submit", "--jsonl", &lines, "--wait", "--timeout", "200ms"];
    let batch = folder.run(&batch).exits(5);
    assert!(batch.stderr.contains("1 of 1 tasks have not ended"), "{batch:?}");
    assert!(batch.stderr.contains(&nobody(&folder)), "{batch:?}");
}

#[tokio::test]
async fn what_has_ended_already_needs_no_host() {
    let folder = EmbeddedFolder::new();
    let mut host = folder.host("h1", &[]).await;
    let done = folder.submit(&["echo", "--data", "done"]);
    folder.run(&["task", "wait", &done, "--timeout", LONG]).exits(0);
    host.signal("TERM");
    assert!(host.wait(std::time::Duration::from_secs(60)).success(), "{}", host.log());
    let alone = folder.run(&["task", "wait", &done]).exits(0);
    assert_eq!((alone.stdout.as_str(), alone.stderr.as_str()), ("done", ""));
    // Of several, those that have ended are told even if the others have not.
    let open = folder.submit(&["echo", "--data", "open"]);
    let both = ["task", "wait", &done, &open, "--timeout", "200ms", "--json"];
    let both = folder.run(&both).exits(5);
    assert!(both.stderr.contains("1 of 2 tasks have not ended"), "{both:?}");
    assert_eq!(both.json()[0]["id"], done);
}

#[tokio::test]
async fn a_command_right_after_its_host_waits_for_it() {
    let folder = EmbeddedFolder::new();
    let mut host = folder.start("h1", &[]);
    // Nothing tells here that the host has made its folder, or answers yet.
    let ran = folder.run(&["submit", "echo", "--data", "x", "--wait", "--timeout", LONG]);
    assert_eq!(host.ended(), None, "{}", host.log());
    assert_eq!(ran.said(), "x");
}

#[test]
fn a_command_on_no_queue_waits_in_bounds_and_says_so() {
    let folder = EmbeddedFolder::new();
    let listed = folder.run(&["task", "list"]).exits(3);
    let waits = format!("waiting up to 5s for a host in `{}`", folder.data().display());
    assert!(listed.stderr.starts_with(&waits), "{listed:?}");
    assert!(listed.stderr.contains("there is no embedded broker in"), "{listed:?}");
    assert!(!folder.data().exists(), "a command makes no queue");
}

#[tokio::test]
async fn dev_is_in_memory_unless_its_flags_say_otherwise() {
    let folder = unserved();
    let temporary = tempfile::tempdir().expect("a folder");
    let started = |args: &[&str]| {
        let mut command = HostProcess::command();
        command.env("TMPDIR", temporary.path()).env("BULKHEAD_BROKER", folder.url());
        command.args(["dev", "--plugins"]).arg(folder.plugins()).args(args);
        HostProcess::spawn(command, folder.plugins().join("dev.log"))
    };
    let serves = async |host: &HostProcess| {
        eventually("it serves", || async { host.log().contains("host serves").then_some(()) })
            .await;
    };
    let memory = started(&[]);
    serves(&memory).await;
    let log = memory.log();
    assert!(log.contains(&format!("--broker embedded:{}", temporary.path().display())), "{log}");
    assert!(!log.contains("lost when the process ends"), "it is meant so: {log}");
    drop(memory);

    let named = started(&["--broker", &folder.url()]);
    serves(&named).await;
    assert!(named.log().contains(&format!("--broker {} submit", folder.url())), "{}", named.log());
    assert_eq!(folder.run(&["submit", "echo", "--data", "x", "--wait"]).said(), "x");
    drop(named);
    assert_eq!(folder.json(&["task", "list", "--state", "completed"])[0]["output"]["text"], "x");

    let both = ["dev", "--data", "a", "--broker", "embedded:b"];
    let both = Ran::of(&both).exits(2);
    assert!(both.stderr.contains("cannot be used with"), "{both:?}");

    // A host that forgets its tasks is warned of where nobody said that it shall.
    let mut command = HostProcess::command();
    command.args(["run", "--broker", "embedded:", "--plugins"]).arg(folder.plugins());
    let host = HostProcess::spawn(command, folder.plugins().join("run.log"));
    serves(&host).await;
    assert!(host.log().contains("lost when the process ends"), "{}", host.log());
}
