//! The binary's command line as people meet it: help, results, messages, exit codes.
//!
//! Each test has a broker of its own. Ids, times, ports and measurements differ
//! from run to run and are masked before a result is compared.

#[path = "cli/batches.rs"]
mod batches;
#[path = "cli/dead.rs"]
mod dead;
#[path = "cli/queues.rs"]
mod queues;
#[path = "cli/schedules.rs"]
mod schedules;
#[path = "cli/terms.rs"]
mod terms;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Output, Stdio};

use bulkhead_tests::{HostProcess, RedisServer, eventually, install};
use serde_json::Value;

/// What a command printed, and its exit code.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The exit code and both streams, for snapshots.
    fn all(&self) -> String {
        let mut all = format!("exit {}\n", self.code);
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                all.push_str(&format!("--- {name}\n{text}"));
            }
        }
        all
    }

    #[track_caller]
    fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.all()))
    }
}

/// Run the binary with these arguments and this standard input.
fn bulkhead(args: &[&str], input: &[u8]) -> Ran {
    let mut child = HostProcess::command()
        .args(args)
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that does not read its input closes it.
    let _ = child.stdin.take().expect("a standard input").write_all(input);
    Ran::of(&child.wait_with_output().expect("it ends"))
}

/// A broker and the binary's way to it.
struct Place {
    url: String,
    folder: tempfile::TempDir,
    /// An embedded broker is in a host.
    _host: Option<HostProcess>,
    server: Option<RedisServer>,
}

impl Place {
    fn new() -> Self {
        let server = RedisServer::start();
        Self { url: server.url(), folder: folder(), _host: None, server: Some(server) }
    }

    /// An embedded broker, in a host that serves another queue only.
    async fn embedded() -> Self {
        Self::in_host(&["--queue", "idle"]).await
    }

    async fn in_host(extra: &[&str]) -> Self {
        let folder = folder();
        let url = format!("embedded:{}", folder.path().join("data").display());
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("a folder");
        let host = HostProcess::start(&url, &plugins, "h1", extra);
        let place = Self { url, folder, _host: Some(host), server: None };
        eventually("the host answers", || async {
            (place.run(&["host", "list"]).code == 0).then_some(())
        })
        .await;
        place
    }

    /// A place on each broker where nobody serves the queue `default`.
    async fn each() -> [Self; 2] {
        [Self::new(), Self::embedded().await]
    }

    /// A place on each broker where the `unruly` guest is served.
    async fn each_with_host() -> [Self; 2] {
        let mut redis = Self::new();
        redis._host = Some(redis.host().await);
        let embedded = Self::in_host(&[]).await;
        install(&embedded.path().join("plugins"), "unruly");
        embedded.run(&["plugin", "reload"]).succeeds();
        [redis, embedded]
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file in the place's folder.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"")
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut all = vec!["--broker", &self.url];
        all.extend(args);
        bulkhead(&all, input)
    }

    /// Run and read the document.
    fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).json()
    }

    /// A host that serves the `unruly` guest.
    async fn host(&self) -> HostProcess {
        install(self.path(), "unruly");
        let host = HostProcess::start(&self.url, self.path(), "h1", &[]);
        eventually("the host serves its plugin", || async {
            let plugins = self.run(&["plugin", "list", "--json"]).json();
            (plugins[0]["serving"]["digest"].is_string()).then_some(())
        })
        .await;
        host
    }

    fn submit(&self, args: &[&str]) -> String {
        let mut all = vec!["submit"];
        all.extend(args);
        self.run(&all).succeeds().stdout.trim().to_owned()
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Mask what differs from run to run.
fn masked(what: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    for (pattern, mask) in [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[ID]"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[TIME]"),
        (r"\b\d{13}-\d+\b", "[EVENT]"),
        (r"\b\d{13}\b", "[UNIX MS]"),
        (r"(\d+[dhms] )?\d+[dhms] ago", "[AGO]"),
        (r"in (\d+[dhms] )+\d+[dhms]|in \d+[dhms]\b", "[AHEAD]"),
        (r"127\.0\.0\.1:\d+", "[SERVER]"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r"\b[0-9a-f]{12}\b", "[DIGEST]"),
        (r" +[\d.]+ (µs|ms|s)\b", " [DURATION]"),
        (r"fuel [\d.]+ ?[kMG]?", "fuel [FUEL]"),
        (r"memory [\d.]+ MiB", "memory [MEMORY]"),
        (
            r#""(fuel|peak_memory_bytes|cpu_us|wall_us|instantiate_us|compile_ms|pid)": \d+"#,
            r#""$1": "[MEASURED]""#,
        ),
    ] {
        settings.add_filter(pattern, mask);
    }
    settings.bind(what);
}

/// Mask it, and leave out how columns are aligned, which depends on what is masked.
fn masked_tables(what: impl FnOnce()) {
    masked(|| {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(" {2,}", "  ");
        settings.bind(what);
    });
}

#[test]
fn help_shows_every_command_and_the_exit_codes() {
    insta::assert_snapshot!("help", bulkhead(&["--help"], b"").all());
    for command in [
        "run",
        "submit",
        "task list",
        "task cancel",
        "task wait",
        "batch submit",
        "schedule put",
        "schedule next",
        "queue limit",
        "queue policy set",
        "queue usage",
        "queue events",
        "queue purge",
        "dead replay",
        "doctor",
        "plugin reload",
        "config check",
    ] {
        let mut args: Vec<&str> = command.split(' ').collect();
        args.push("--help");
        let name = format!("help_{}", command.replace(' ', "_"));
        insta::assert_snapshot!(name, bulkhead(&args, b"").succeeds().stdout);
    }
}

#[test]
fn completions_are_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = bulkhead(&["completions", shell], b"").succeeds().stdout;
        assert!(script.contains("submit") && script.contains("--jsonl"), "{shell}");
    }
}

#[test]
fn wrong_usage_and_configuration_exit_with_2() {
    for args in [
        &["submit", "t"][..],
        &["task", "show", "no-id"],
        &["submit", "bad type", "--data", "x"],
        &["submit", "t", "--data", "x", "--delay", "10"],
        &["submit", "t", "--data", "x", "--meta", "no-pair"],
        &["submit", "t", "--data", "x", "--priority", "urgent"],
        &["--config", "missing.toml", "queue", "list"],
        &["--broker", "http://h", "queue", "list"],
        &["run", "--log-level", "loud"],
        &["submit", "t", "--file", "missing.txt"],
        &["plugin", "inspect", "missing.wasm"],
    ] {
        let ran = bulkhead(args, b"");
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{args:?}: {}", ran.stdout);
    }
}

#[test]
fn a_broker_that_is_not_there_is_said_with_its_remedy_and_without_its_password() {
    let url = "redis://ann:secret@127.0.0.1:1";
    let ran = bulkhead(&["--broker", url, "queue", "list"], b"");
    masked(|| insta::assert_snapshot!("unreachable", ran.all()));
    assert_eq!(ran.code, 3);
    let embedded = bulkhead(&["--broker", "embedded:no-such-folder", "queue", "list"], b"");
    masked(|| insta::assert_snapshot!("unreachable_embedded", embedded.all()));
    assert_eq!(embedded.code, 3);
    let check = bulkhead(&["--broker", url, "config", "check", "--json"], b"").succeeds();
    assert!(!check.stdout.contains("secret"), "{}", check.stdout);
}

#[test]
fn config_check_says_what_is_in_effect_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bulkhead.toml");
    std::fs::write(
        &file,
        "[host]\nname = \"h\"\nguest_threads = 2\n[queues.mail]\nretention = \"1h\"\n",
    )
    .unwrap();
    let check = |args: &[&str]| {
        let output = HostProcess::command()
            .current_dir(folder.path())
            .env("BULKHEAD_LIMITS__MEMORY", "64 MiB")
            .args(["config", "check", "--concurrency", "8"])
            .args(args)
            .output()
            .unwrap();
        Ran::of(&output).succeeds()
    };
    insta::assert_snapshot!("config_check", check(&[]).stdout);
    let settings = check(&["--json"]).json();
    let memory = settings.as_array().unwrap().iter().find(|s| s["key"] == "limits.memory").unwrap();
    assert_eq!(memory["value"], "64 MiB");
    assert_eq!(memory["from"], "env BULKHEAD_LIMITS__MEMORY");

    std::fs::write(&file, "[host]\nconcurency = 3\n").unwrap();
    let ran = bulkhead(&["--config", file.to_str().unwrap(), "config", "check"], b"");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("did you mean `concurrency`?"), "{}", ran.stderr);
}

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

#[tokio::test]
async fn plugins_are_checked_inspected_and_reloaded() {
    let place = Place::new();
    let no_host = place.run(&["plugin", "reload"]);
    assert_eq!(no_host.code, 4, "{}", no_host.stderr);
    let mut host = place.host().await;

    let wrong = install(place.path(), "wrongworld");
    let good = place.path().join("unruly.wasm");
    let check =
        place.run(&["plugin", "check", good.to_str().unwrap(), wrong.to_str().unwrap(), "--json"]);
    assert_eq!(check.code, 1);
    let verdicts = check.json();
    assert_eq!((&verdicts[0]["ok"], &verdicts[1]["ok"]), (&true.into(), &false.into()));
    assert_eq!(verdicts[1]["gate"], "world");

    let inspected = place.run(&["plugin", "inspect", good.to_str().unwrap(), "--json"]).json();
    assert_eq!(inspected["kind"], "component");
    assert!(inspected["asked"].as_array().unwrap().len() > 3);
    let inspected = place.run(&["plugin", "inspect", wrong.to_str().unwrap()]);
    assert_eq!(inspected.code, 1);

    let reload = place.run(&["plugin", "reload"]);
    assert_eq!(reload.code, 1, "a version was refused");
    assert!(
        reload.stdout.contains("wrongworld on h1 failed the gate `world`"),
        "{}",
        reload.stdout
    );
    std::fs::remove_file(&wrong).unwrap();
    let reload = place.run(&["plugin", "reload", "--json"]).succeeds().json();
    assert_eq!(reload.as_array().unwrap().len(), 1, "{reload}");

    host.signal("TERM");
    let status = host.wait(std::time::Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{}", host.log());
}
