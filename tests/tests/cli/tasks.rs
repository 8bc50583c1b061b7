//! Tasks: submitted, listed, waited for; their results and failures.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use bulkhead_tests::{HostProcess, eventually};
use serde_json::Value;

use super::*;

#[test]
fn waiting_tasks_are_listed_paused_cancelled_and_purged() {
    let place = Place::new();
    let empty = place.run(&["queue", "list"]).succeeds();
    assert!(empty.stdout.contains("no queues"), "{}", empty.stdout);
    let one = place.submit(&["mail", "--data", "one", "--meta", "k=v", "--priority", "high"]);
    let later = place.submit(&["mail", "--data", "{}", "--delay", "1h", "--tenant", "acme"]);
    masked(|| {
        insta::assert_snapshot!("task_list", place.run(&["task", "list"]).all());
        insta::assert_snapshot!("task_show", place.run(&["task", "show", &one]).all());
        insta::assert_snapshot!(
            "task_show_json",
            place.run(&["task", "show", &later, "--json"]).all()
        );
        insta::assert_snapshot!("queue_list", place.run(&["queue", "list"]).all());
        insta::assert_snapshot!(
            "queue_stats_json",
            place.run(&["queue", "stats", "default", "--json"]).all()
        );
    });
    let pause = place.run(&["queue", "pause", "default"]).succeeds();
    assert_eq!(pause.stdout, "queue default is paused\n");
    let stats = place.run(&["queue", "stats", "default", "--json"]).json();
    assert_eq!(stats["paused"], true);
    let resume = place.run(&["queue", "resume", "default", "--json"]).json();
    assert_eq!(resume["changed"], true);

    let unknown = "00000000-0000-0000-0000-000000000000";
    let cancelled = place.run(&["task", "cancel", &later, unknown, "--json"]);
    assert_eq!(cancelled.code, 4);
    let answers = cancelled.json();
    assert_eq!(answers[0]["answer"], "cancelled");
    assert_eq!(answers[1]["answer"], "unknown");
    assert_eq!(place.run(&["task", "cancel", &later]).code, 1, "it has ended already");
    assert_eq!(place.run(&["task", "show", unknown]).code, 4);
    assert_eq!(place.run(&["task", "output", &one]).code, 1, "it has not ended");

    let purge = ["queue", "purge", "default", "--state", "pending"];
    let asked = place.run(&purge);
    assert_eq!(asked.code, 2);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(place.run(&["queue", "purge", "default", "--state", "running"]).code, 2);
    let purged = place.run(&[&purge[..], &["--yes"]].concat()).succeeds();
    assert_eq!(purged.stdout, "removed 1 pending tasks of queue default\n");
    let nowhere = place.run(&["queue", "stats", "defualt"]);
    assert_eq!(nowhere.code, 4);
    assert!(nowhere.stderr.contains("did you mean `default`?"), "{}", nowhere.stderr);
}

#[test]
fn a_known_id_is_not_submitted_again() {
    let place = Place::new();
    let id = "018f0000-0000-7000-8000-000000000001";
    let submit = ["submit", "mail", "--data", "x", "--id", id, "--json"];
    assert_eq!(place.run(&submit).succeeds().json()["accepted"], true);
    let again = place.run(&submit).succeeds();
    assert!(again.stderr.contains("was there already"), "{}", again.stderr);
    assert_eq!(again.json()["accepted"], false);
}

#[test]
fn a_line_that_is_no_task_stops_a_file_before_its_first_task() {
    let place = Place::new();
    let file = place.path().join("tasks.jsonl");
    let lines = "{\"type\": \"a\", \"payload\": 1}\n\n{\"type\": \"a\", \"paylod\": 2}\n";
    std::fs::write(&file, lines).unwrap();
    let from_file = place.run(&["submit", "--jsonl", file.to_str().unwrap()]);
    assert_eq!(from_file.code, 2);
    assert!(from_file.stderr.contains("tasks.jsonl:3: "), "{}", from_file.stderr);
    assert_eq!(place.run(&["task", "list", "--json"]).json(), Value::Array(Vec::new()));

    let from_stdin = place.run_with(&["submit", "--jsonl", "-"], lines.as_bytes());
    assert_eq!(from_stdin.code, 2);
    assert!(from_stdin.stderr.contains("after submitting 1 tasks"), "{}", from_stdin.stderr);
    assert!(from_stdin.stderr.contains("standard input:3: "), "{}", from_stdin.stderr);
}

#[test]
fn waiting_in_vain_exits_with_5_and_says_why() {
    let place = Place::new();
    let ran = place.run(&["submit", "mail", "--data", "x", "--wait", "--timeout", "200ms"]);
    masked(|| insta::assert_snapshot!("wait_in_vain", ran.all()));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::new();
    let lines = "{\"type\": \"a\", \"payload\": \"x\"}\n".repeat(2_000);
    place.run_with(&["submit", "--jsonl", "-"], lines.as_bytes()).succeeds();
    let mut child = HostProcess::command()
        .args(["--broker", &place.url, "task", "list", "--limit", "2000", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((first.as_str(), stderr.as_str()), ("[\n", ""));
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn results_come_back_and_failures_say_why() {
    let place = Place::new();
    let _host = place.host().await;
    let echo = place.run_with(&["submit", "echo", "-", "--wait"], b"\x00\xffraw\x1b[31m");
    assert_eq!(echo.code, 0, "{}", echo.stderr);
    let out = place.path().join("out.bin");
    let saved = ["submit", "echo", "--data", "kept", "--wait", "--out", out.to_str().unwrap()];
    assert_eq!(place.run(&saved).succeeds().stdout, "");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "kept");

    let reject = place.run(&["submit", "reject", "--data", "why not", "--wait"]);
    masked(|| insta::assert_snapshot!("task_failed", reject.all()));
    let done = place.run(&["submit", "echo", "--data", "[1]", "--wait", "--json"]).succeeds();
    let id = {
        let document: Value = serde_json::from_str(&done.stdout).unwrap();
        document["id"].as_str().unwrap().to_owned()
    };
    masked(|| {
        insta::assert_snapshot!("task_done_json", done.stdout);
        insta::assert_snapshot!("task_done", place.run(&["task", "show", &id]).stdout);
        insta::assert_snapshot!("dead_list", place.run(&["dead", "list"]).stdout);
    });
    let hosts = place.run(&["host", "list", "--json"]).json();
    assert_eq!((&hosts[0]["name"], &hosts[0]["queues"][0]), (&"h1".into(), &"default".into()));
    assert_eq!(hosts[0]["plugins"][0]["name"], "unruly");
    let nobody = ["submit", "nosuch", "--data", "x", "--wait", "--timeout", "200ms"];
    let nobody = place.run(&nobody);
    assert_eq!(nobody.code, 5);
    assert!(nobody.stderr.contains("has a handler for `nosuch`"), "{}", nobody.stderr);
    assert_eq!(place.run(&["task", "output", &id]).succeeds().stdout, "[1]");

    let lines =
        "{\"type\":\"echo\",\"payload\":{\"k\":1}}\n{\"type\":\"reject\",\"payload\":\"y\"}\n";
    let folder = place.path().join("results");
    let many = ["submit", "--jsonl", "-", "--wait", "--out", folder.to_str().unwrap()];
    let ran = place.run_with(&many, lines.as_bytes());
    assert_eq!(ran.code, 1, "one of the tasks failed");
    let rows: Vec<&str> = ran.stdout.lines().collect();
    assert!(rows[1].contains("echo") && rows[1].contains("completed"), "{}", ran.stdout);
    assert!(rows[2].contains("reject") && rows[2].contains("failed"), "{}", ran.stdout);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("one output: {files:?}") };
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"k\":1}");

    let replayed = place.run(&["dead", "replay", "--all", "--json"]).succeeds().json();
    assert_eq!(replayed["replayed"], 2);
    eventually("the replayed tasks fail again", || async {
        let dead = place.run(&["dead", "list", "--json"]).json();
        (dead.as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    assert_eq!(place.run(&["dead", "drop", "--all", "--yes", "--json"]).json()["removed"], 2);
}

#[tokio::test]
async fn what_a_guest_says_reaches_no_terminal_unescaped() {
    let place = Place::new();
    let _host = place.host().await;
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J";
    let id = place.submit(&["echo", "--data", hostile, "--meta", &format!("k={hostile}")]);
    eventually("the task ends", || async {
        let task = place.run(&["task", "show", &id, "--json"]).json();
        (task["state"] == "completed").then_some(())
    })
    .await;
    let shown = place.run(&["task", "show", &id, "--color", "never"]).succeeds().stdout;
    assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
    assert!(shown.contains("\\u{1b}[2J"), "{shown}");
}
