//! Canaries: a version that some tasks go to is judged and taken back, or promoted, by hosts
//! alone. Real hosts, on Redis and on an embedded broker.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bulkhead::fleet::{CanaryEnd, CanaryPlan, Shelf, Upload};
use bulkhead::{FleetPolicy, HostOptions, Identity};
use bulkhead_core::canary::takes;
use bulkhead_core::{Digest, QueueName, RetryRequest, State, TaskId, TenantName, Terms};
use bulkhead_queue::{
    Client, HostInfo, JournalRange, NewTask, PushedState, SubmitLimits, TaskView,
};
use bulkhead_tests::{
    Exposition, HostProcess, Inside, Ran, RedisServer, digest_of, eventually_within, guest,
    install_as, lost_leases, output, task, version, version_of,
};
use serde_json::Value;
use tempfile::TempDir;

/// Hosts compile, and commands are processes of their own, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Takes whatever is pushed.
const ANY: &str = "[plugins]\nfleet = \"any\"\n";

/// A version of the guest that behaves in this manner.
fn version_that(manner: &str) -> (Vec<u8>, Digest) {
    let mut bytes = guest("turncoat");
    let marker = b"turncoat-manner:";
    let at = bytes.windows(marker.len()).position(|window| window == marker).expect("a marker");
    let manner = format!("{manner:.<16}");
    bytes[at + marker.len()..][..manner.len()].copy_from_slice(manner.as_bytes());
    let digest = digest_of(&bytes);
    (bytes, digest)
}

/// A server, a configuration, and folders for hosts.
struct Fleet {
    server: RedisServer,
    client: Client,
    root: TempDir,
}

impl Fleet {
    async fn new() -> Self {
        let (server, root) = (RedisServer::start(), tempfile::tempdir().expect("a folder"));
        let client = Client::new(Arc::new(server.broker().await), SubmitLimits::default());
        Self { server, client, root }
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.root.path().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    async fn host(&self, name: &str) -> HostProcess {
        self.host_with(name, ANY, &[]).await
    }

    /// Start a host with a folder and a configuration of its own.
    async fn host_with(&self, name: &str, config: &str, more: &[&str]) -> HostProcess {
        let path = self.root.path().join(format!("{name}.toml"));
        std::fs::write(&path, config).expect("a file");
        let path = path.display().to_string();
        let extra = [&["--config", &path][..], more].concat();
        let mut host = HostProcess::start(&self.server.url(), &self.folder(name), name, &extra);
        eventually_within(PATIENCE, &format!("{name} runs"), || async { self.info(name).await })
            .await;
        assert_eq!(host.ended(), None, "{}", host.log());
        host
    }

    async fn info(&self, host: &str) -> Option<HostInfo> {
        let hosts = self.client.broker().hosts().await.ok()?;
        hosts.into_iter().find(|info| info.name == host)
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&[&["--broker", &self.server.url()], args].concat())
    }

    /// Push a version of this manner.
    fn push(&self, manner: &str) -> Digest {
        let (bytes, digest) = version_that(manner);
        let path = self.folder("push").join("turncoat.wasm");
        std::fs::write(&path, bytes).expect("a file");
        let path = path.display().to_string();
        self.run(&["plugin", "push", &path, "--unchecked"]).succeeds();
        digest
    }

    fn activate(&self, digest: Digest) {
        let digest = digest.to_string();
        self.run(&["plugin", "activate", "turncoat", &digest, "--timeout", "3m"]).succeeds();
    }

    /// Wait until a host is in this state with a version.
    async fn reaches(&self, host: &str, digest: Digest, state: PushedState) {
        eventually_within(
            PATIENCE,
            &format!("{host}: {} is {state:?}", digest.short()),
            || async {
                let plugins = self.info(host).await?.plugins;
                let plugin = plugins.into_iter().find(|plugin| plugin.name == "turncoat")?;
                plugin
                    .pushed
                    .iter()
                    .any(|it| it.digest == digest && it.state == state)
                    .then_some(())
            },
        )
        .await;
    }

    /// Push a version and let a canary begin, once both hosts are ready for it.
    async fn canary(&self, manner: &str, more: &[&str]) -> Digest {
        let digest = self.push(manner);
        for host in ["h1", "h2"] {
            self.reaches(host, digest, PushedState::Ready).await;
        }
        let text = digest.to_string();
        self.run(&[&["plugin", "canary", "turncoat", &text], more].concat()).succeeds();
        for host in ["h1", "h2"] {
            self.reaches(host, digest, PushedState::Canary).await;
        }
        digest
    }

    fn history(&self) -> Value {
        self.run(&["plugin", "history", "turncoat", "--json"]).succeeds().json()
    }

    /// How the canary ended, if it has.
    fn verdict(&self) -> Option<Value> {
        let verdict = self.history()["canary"]["verdict"].clone();
        (!verdict.is_null()).then_some(verdict)
    }

    /// Submit tasks until the canary has ended; the tasks and the verdict.
    async fn load_until_verdict(&self, make: impl Fn(usize) -> NewTask) -> (Vec<TaskId>, Value) {
        let (mut ids, deadline) = (Vec::new(), tokio::time::Instant::now() + PATIENCE);
        loop {
            assert!(tokio::time::Instant::now() < deadline, "no verdict: {}", self.history());
            ids.extend(self.submit(ids.len()..ids.len() + 200, &make).await);
            self.settled(&ids[ids.len() - 200..]).await;
            if let Some(verdict) = self.verdict() {
                return (ids, verdict);
            }
        }
    }

    async fn submit(
        &self,
        numbers: std::ops::Range<usize>,
        make: impl Fn(usize) -> NewTask,
    ) -> Vec<TaskId> {
        let submitted = self.client.submit_many(numbers.map(make).collect()).await;
        submitted.expect("submitted").into_iter().map(|one| one.id).collect()
    }

    /// Wait until all of these have ended.
    async fn settled(&self, ids: &[TaskId]) -> Vec<TaskView> {
        settled(&self.client, ids).await
    }

    /// The version that all of a few new tasks run on.
    async fn run_on(&self, digest: Digest) {
        for view in self.settled(&self.submit(0..20, |_| task("work", "x")).await).await {
            assert_eq!((view.state, version(&view)), (State::Completed, digest));
        }
    }
}

async fn settled(client: &Client, ids: &[TaskId]) -> Vec<TaskView> {
    let mut all = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(500) {
        all.extend(
            eventually_within(PATIENCE, "all have ended", || async {
                let views = client.broker().inspect(&QueueName::default(), chunk).await.ok()?;
                let views: Vec<TaskView> = views.into_iter().flatten().collect();
                let ended = |view: &TaskView| view.state.is_terminal();
                (views.len() == chunk.len() && views.iter().all(ended)).then_some(views)
            })
            .await,
        );
    }
    all
}

/// Whether the canary's version failed at this task.
fn was_hit(view: &TaskView) -> bool {
    let logs = &view.last_report().expect("a report").logs;
    logs.iter().any(|line| line.message.starts_with("ran again on the old version"))
}

/// A task that may be tried once.
fn once(payload: &str) -> NewTask {
    let retry = RetryRequest { max_attempts: Some(1), ..RetryRequest::default() };
    NewTask { terms: Terms { retry: Some(retry), ..Terms::default() }, ..task("work", payload) }
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_millis()).expect("a time")
}

fn tenant(name: &str) -> TenantName {
    TenantName::new(name).expect("a name")
}

/// At most 1 % of tasks were hit, at least as many as a verdict needs, and all are done.
fn harmless(views: &[TaskView], old: Digest) {
    let hits = views.iter().filter(|view| was_hit(view)).count();
    assert!(hits >= 3 && hits * 100 <= views.len(), "{hits} of {}", views.len());
    let fuel = |view: &TaskView| view.last_report().map_or(0, |report| report.metering.fuel);
    let least = views.iter().filter(|view| !was_hit(view)).map(fuel).min().expect("most of them");
    for view in views {
        assert_eq!((view.state, view.attempts(), version(view)), (State::Completed, 1, old));
        assert!(!was_hit(view) || fuel(view) > least, "what both versions used is told");
    }
}

#[tokio::test]
async fn a_broken_version_is_taken_back_and_hits_at_most_one_task_of_a_hundred() {
    let fleet = Fleet::new().await;
    let (h1, h2) = (fleet.host("h1").await, fleet.host("h2").await);
    let good = fleet.push("good");
    fleet.activate(good);
    // Half of all tasks would go to it, if it were not for the bound.
    let broken = fleet.canary("trap", &["--share", "50%"]).await;
    let listed = fleet.run(&["plugin", "list"]).said();
    assert!(listed.contains("canary, pushed") && listed.contains("has 50% of tasks"), "{listed}");
    let (ids, verdict) = fleet.load_until_verdict(|_| once("x")).await;
    harmless(&fleet.settled(&ids).await, good);
    assert_eq!(verdict["end"], "rolled_back");
    assert!(verdict["reason"].as_str().expect("a reason").contains("it failed"), "{verdict}");
    assert!(verdict["by"].as_str().expect("who").starts_with("host h"), "{verdict}");
    let history = fleet.history();
    assert_eq!(
        (&history["active"], &history["canary"]["digest"]),
        (&Value::from(good.to_string()), &Value::from(broken.to_string()),)
    );
    assert!(history["canary"]["new"]["failures"].as_u64().expect("a count") >= 3);
    for host in ["h1", "h2"] {
        eventually_within(PATIENCE, &format!("{host} tries it no more"), || async {
            let plugins = fleet.info(host).await?.plugins;
            let pushed = plugins.into_iter().flat_map(|plugin| plugin.pushed);
            pushed.into_iter().all(|it| it.state != PushedState::Canary).then_some(())
        })
        .await;
    }
    fleet.run_on(good).await;
    let logs = h1.log() + &h2.log();
    assert_eq!(logs.matches("canary has ended").count(), 1, "one verdict: {logs}");
    let archive = fleet.client.broker().archive();
    let journal = archive.journal_entries(&JournalRange::newest(1)).await.expect("a journal");
    assert_eq!(journal[0].line.action, "plugin.canary_rolled_back");
    assert!(journal[0].line.detail.contains("it failed"), "{journal:?}");
    // A version that was taken back may be tried again, and activated by hand.
    let shown = fleet.run(&["plugin", "history", "turncoat"]).said();
    assert!(shown.contains("was a canary: rolled back"), "{shown}");
}

#[tokio::test]
async fn a_version_that_refuses_tasks_for_good_loses_none_and_poison_still_ends() {
    let fleet = Fleet::new().await;
    // Inside of layers it is the same.
    let layered = format!("{ANY}[queues.default]\nlayers = [\"logging\"]\n");
    let (_h1, _h2) = (fleet.host("h1").await, fleet.host_with("h2", &layered, &[]).await);
    let good = fleet.push("good");
    fleet.activate(good);
    fleet.canary("reject", &["--share", "50%"]).await;
    let is_poison = |number: usize| number % 25 == 7;
    let make = |number: usize| once(if is_poison(number) { "poison" } else { "x" });
    let (ids, verdict) = fleet.load_until_verdict(make).await;
    assert_eq!(verdict["end"], "rolled_back", "{verdict}");
    let views = fleet.settled(&ids).await;
    let (poison, sound): (Vec<_>, Vec<_>) =
        views.into_iter().enumerate().partition(|(number, _)| is_poison(*number));
    let sound: Vec<TaskView> = sound.into_iter().map(|(_, view)| view).collect();
    harmless(&sound, good);
    let on_h2 = |view: &&TaskView| view.last_report().is_some_and(|report| report.host == "h2");
    assert!(sound.iter().filter(on_h2).any(was_hit), "in a layer");
    for (_, view) in poison {
        assert_eq!((view.state, view.attempts()), (State::Failed, 1), "on both versions");
    }
}

#[tokio::test]
async fn a_slow_version_is_taken_back_for_its_latency() {
    let fleet = Fleet::new().await;
    let (_h1, _h2) = (fleet.host("h1").await, fleet.host("h2").await);
    let good = fleet.push("good");
    fleet.activate(good);
    let slow = fleet.canary("slow", &["--share", "30%"]).await;
    let (ids, verdict) = fleet.load_until_verdict(|_| once("x")).await;
    let reason = verdict["reason"].as_str().expect("a reason");
    assert!(verdict["end"] == "rolled_back" && reason.contains("took longer"), "{verdict}");
    let views = fleet.settled(&ids).await;
    assert!(views.iter().all(|view| view.state == State::Completed && !was_hit(view)));
    assert!(views.iter().filter(|view| version(view) == slow).count() >= 50);
    fleet.run_on(good).await;
}

#[tokio::test]
async fn a_good_version_is_promoted_and_one_host_may_take_no_part() {
    let fleet = Fleet::new().await;
    let (good, good_bytes) = {
        let (bytes, digest) = version_that("good");
        (digest, bytes)
    };
    let _h1 = fleet.host("h1").await;
    // It takes no pushed plugins, and has the old version in its folder.
    install_as(&fleet.folder("h2"), "turncoat", &good_bytes);
    let _h2 = fleet.host_with("h2", "[plugins]\nfleet = \"off\"\n", &[]).await;
    assert_eq!(fleet.push("good"), good);
    fleet.activate(good);
    let better = fleet.push("better");
    fleet.reaches("h1", better, PushedState::Ready).await;
    let args = ["--share", "20%", "--then", "50%", "--attempts", "60"];
    let text = better.to_string();
    fleet.run(&[&["plugin", "canary", "turncoat", &text], &args[..]].concat()).succeeds();
    fleet.reaches("h1", better, PushedState::Canary).await;
    let (ids, verdict) = fleet.load_until_verdict(|_| task("work", "x")).await;
    assert_eq!(verdict["end"], "promoted", "{verdict}");
    let views = fleet.settled(&ids).await;
    for view in &views {
        assert_eq!((view.state, view.attempts()), (State::Completed, 1));
        let report = view.last_report().expect("a report");
        assert!(report.digest == good || report.host == "h1" && report.digest == better);
    }
    let history = fleet.history();
    assert_eq!(history["active"], text);
    let steps = history["steps"].as_array().expect("steps");
    assert_eq!((steps.len(), &steps[1]["by"]), (2, &Value::from("host h1")));
    let canary = &history["canary"];
    assert_eq!(
        (&canary["round"], canary["past"].as_array().expect("rounds").len()),
        (&2.into(), 1)
    );
    assert!(canary["past"][0]["new"]["attempts"].as_u64() >= Some(60), "{canary}");
    fleet.reaches("h1", better, PushedState::Serving).await;
}

#[tokio::test]
async fn all_tasks_of_a_tenant_go_the_same_way_on_all_hosts() {
    let fleet = Fleet::new().await;
    let (_h1, _h2) = (fleet.host("h1").await, fleet.host("h2").await);
    let good = fleet.push("good");
    fleet.activate(good);
    let args = ["--share", "50%", "--by", "tenant", "--harm", "100%", "--attempts", "1000000"];
    let better = fleet.canary("better", &args).await;
    let of = |number: usize| format!("tenant-{}", number % 12);
    let make = |number| NewTask { tenant: tenant(&of(number)), ..task("work", "x") };
    let views = fleet.settled(&fleet.submit(0..600, make).await).await;
    let mut hosts: HashMap<String, HashSet<String>> = HashMap::new();
    let mut sides: HashMap<Digest, usize> = HashMap::new();
    for (number, view) in views.iter().enumerate() {
        let is_chosen = takes(&better, of(number).as_bytes(), 500);
        let expected = if is_chosen { better } else { good };
        assert_eq!((view.state, version(view)), (State::Completed, expected), "{}", of(number));
        let report = view.last_report().expect("a report");
        hosts.entry(of(number)).or_default().insert(report.host.clone());
        *sides.entry(expected).or_default() += 1;
    }
    assert!(sides.len() == 2 && hosts.values().any(|hosts| hosts.len() == 2), "{sides:?}");
    // What has no time for both versions runs on the old one.
    let chosen = (0..12).find(|number| takes(&better, of(*number).as_bytes(), 500));
    let chosen = chosen.expect("a tenant");
    for (within_ms, expected) in [(600_000, better), (20_000, good)] {
        let terms = || Terms { deadline_at: Some(now_ms() + within_ms), ..Terms::default() };
        let make = |_| NewTask { terms: terms(), ..make(chosen) };
        for view in fleet.settled(&fleet.submit(0..5, make).await).await {
            assert_eq!((view.state, version(&view)), (State::Completed, expected));
        }
    }
    // By hand, then, it serves everybody.
    let second = fleet.run(&["plugin", "canary", "turncoat", &better.to_string()]).exits(2).stderr;
    assert!(second.contains("a canary of `turncoat` runs already"), "{second}");
    fleet.run(&["plugin", "canary", "turncoat", "--promote", "--timeout", "3m"]).succeeds();
    assert_eq!(fleet.verdict().expect("a verdict")["end"], "promoted");
    assert_eq!(fleet.history()["active"], better.to_string());
    fleet.run_on(better).await;
}

#[tokio::test]
async fn a_host_that_refuses_the_version_goes_on_with_the_old_one() {
    let fleet = Fleet::new().await;
    let good = version_that("good").1;
    let pinned =
        format!("[plugins.trust]\npolicy = \"pinned\"\npins.turncoat = \"sha256:{good}\"\n");
    let (_h1, _h2) = (fleet.host("h1").await, fleet.host_with("h2", &pinned, &[]).await);
    assert_eq!(fleet.push("good"), good);
    fleet.activate(good);
    let broken = fleet.push("trap");
    fleet.reaches("h1", broken, PushedState::Ready).await;
    fleet.reaches("h2", broken, PushedState::Rejected).await;
    let text = broken.to_string();
    let begin = ["plugin", "canary", "turncoat", &text, "--share", "50%"];
    let refused = fleet.run(&begin).exits(1).stderr;
    assert!(refused.contains("h2 refused it at the gate `trust`"), "{refused}");
    assert!(fleet.history()["canary"].is_null());
    fleet.run(&[&begin[..], &["--force"]].concat()).succeeds();
    fleet.reaches("h1", broken, PushedState::Canary).await;
    let (ids, verdict) = fleet.load_until_verdict(|_| once("x")).await;
    assert_eq!(verdict["end"], "rolled_back", "{verdict}");
    let views = fleet.settled(&ids).await;
    harmless(&views, good);
    let by_host = |name: &str| {
        let of = views.iter().filter(|view| view.last_report().is_some_and(|it| it.host == name));
        of.filter(|view| was_hit(view)).count()
    };
    assert!(by_host("h1") > 0 && by_host("h2") == 0);
}

#[tokio::test]
async fn a_host_that_is_killed_loses_no_task_and_its_counts_stay() {
    let fleet = Fleet::new().await;
    let lease = ["--lease", "2s"];
    let mut h1 = fleet.host_with("h1", ANY, &lease).await;
    let _h2 = fleet.host_with("h2", ANY, &lease).await;
    let good = fleet.push("good");
    fleet.activate(good);
    // It sleeps, so that attempts of it are cut off.
    let args = ["--share", "50%", "--harm", "100%", "--attempts", "1000000"];
    let slow = fleet.canary("slow", &args).await;
    let counted = || fleet.history()["canary"]["new"]["attempts"].as_u64().expect("a count");
    let first = fleet.submit(0..20, |_| task("work", "x")).await;
    fleet.settled(&first).await;
    let chosen = first.iter().filter(|id| takes(&slow, id.0.as_bytes(), 500)).count() as u64;
    eventually_within(PATIENCE, "all hosts have said what they counted", || async {
        (counted() == chosen).then_some(())
    })
    .await;
    // Too few for a verdict on its latency.
    let ids = fleet.submit(0..300, |_| task("work", "x")).await;
    eventually_within(PATIENCE, "h1 works on them", || async {
        let views = fleet.client.broker().inspect(&QueueName::default(), &ids).await.ok()?;
        let mut holders = views.into_iter().flatten().filter_map(|view| view.holder);
        holders.any(|holder| holder.host.starts_with("h1#")).then_some(())
    })
    .await;
    h1.kill();
    let views = fleet.settled(&ids).await;
    let lost = views.iter().filter(|view| lost_leases(view) > 0).count();
    assert!(lost > 0, "something was cut off");
    for (view, id) in views.iter().zip(&ids) {
        assert_eq!(view.state, State::Completed);
        // What was cut off runs again, on the old version.
        let expected = match lost_leases(view) {
            0 if takes(&slow, id.0.as_bytes(), 500) => slow,
            _ => good,
        };
        assert_eq!(version(view), expected);
    }
    let by_h2 = views.iter().filter(|view| {
        let report = view.last_report().expect("a report");
        report.digest == slow && report.host == "h2"
    });
    let by_h2 = by_h2.count() as u64;
    eventually_within(PATIENCE, "what h1 had counted is counted, and all of h2's", || async {
        (counted() >= chosen + by_h2).then_some(())
    })
    .await;
    let stopped = fleet.run(&["plugin", "canary", "turncoat", "--stop"]).said();
    assert!(stopped.contains("stopped") && stopped.contains("by hand"), "{stopped}");
    fleet.run(&["plugin", "canary", "turncoat", "--stop"]).exits(4);
    eventually_within(PATIENCE, "h2 tries it no more", || async {
        let plugins = fleet.info("h2").await?.plugins;
        let pushed = plugins.into_iter().flat_map(|plugin| plugin.pushed);
        pushed.into_iter().all(|it| it.state != PushedState::Canary).then_some(())
    })
    .await;
    fleet.run_on(good).await;
}

#[tokio::test]
async fn a_canary_needs_something_to_be_judged_against_and_ends_with_it() {
    let fleet = Fleet::new().await;
    let (_h1, _h2) = (fleet.host("h1").await, fleet.host("h2").await);
    let (good, better) = (fleet.push("good").to_string(), fleet.push("better").to_string());
    let canary = |more: &[&str]| fleet.run(&[&["plugin", "canary", "turncoat"], more].concat());
    let alone = canary(&[&good]).exits(2).stderr;
    assert!(alone.contains("nothing serves `turncoat` yet"), "{alone}");
    canary(&["--stop"]).exits(4);
    canary(&["--promote"]).exits(4);
    canary(&[]).exits(2);
    canary(&[&good, "--share", "5"]).exits(2);
    canary(&[&good, "--share", "0%"]).exits(2);
    canary(&[&good, "--stop"]).exits(2);
    let activate = |digest: &str| {
        fleet.run(&["plugin", "activate", "turncoat", digest, "--timeout", "3m"]).succeeds();
    };
    activate(&good);
    canary(&["nothing"]).exits(4);
    let same = canary(&[&good]).exits(2).stderr;
    assert!(same.contains("is active already"), "{same}");
    // Whatever else is activated ends it.
    let other = fleet.push("other").to_string();
    canary(&[&better]).succeeds();
    activate(&other);
    let verdict = fleet.verdict().expect("a verdict");
    assert_eq!(verdict["end"], "superseded", "{verdict}");
    canary(&[&better]).succeeds();
    fleet.run(&["plugin", "rollback", "turncoat", "--timeout", "3m"]).succeeds();
    assert_eq!(fleet.verdict().expect("a verdict")["end"], "superseded");
    canary(&[&better]).succeeds();
    activate(&better);
    assert_eq!(fleet.verdict().expect("a verdict")["end"], "promoted");
    // Its time is over: the old version serves on.
    canary(&[&other, "--within", "1ms"]).succeeds();
    eventually_within(PATIENCE, "hosts say so", || async { fleet.verdict() }).await;
    assert_eq!(fleet.verdict().expect("a verdict")["end"], "undecided");
    canary(&[&other]).succeeds();
    let journal = fleet.client.broker().archive();
    let journal = journal.journal_entries(&JournalRange::newest(100)).await.expect("a journal");
    let mut actions: BTreeMap<String, usize> = BTreeMap::new();
    journal.into_iter().for_each(|entry| *actions.entry(entry.line.action).or_default() += 1);
    assert_eq!(actions["plugin.canary"], 5);
    assert_eq!(actions["plugin.canary_superseded"], 2);
    fleet.run(&["plugin", "remove", "turncoat"]).succeeds();
    canary(&["--stop"]).exits(4);
}

#[tokio::test]
async fn an_embedded_broker_judges_too_and_the_verdict_is_counted() {
    let inside = Inside::embedded();
    let options = || HostOptions { fleet: FleetPolicy::Any, ..HostOptions::default() };
    let hosts = [inside.host("h1", options()).await, inside.host("h2", options()).await];
    let (shelf, plugin) = (Shelf::new(inside.broker.archive(), "ann"), Identity::from("turncoat"));
    let push = async |manner: &str| {
        let (component, digest) = version_that(manner);
        let (name, version) = ("turncoat".parse().expect("a name"), Some(manner.to_owned()));
        let upload =
            Upload { name, owner: None, component, version, manifest: None, signature: None };
        shelf.push(upload, None, inside.now().await).await.expect("pushed");
        digest
    };
    let good = push("good").await;
    push("trap").await;
    shelf.activate(&plugin, "good", 1).await.expect("activated");
    let has = async |state: PushedState| {
        eventually_within(PATIENCE, &format!("all hosts have one {state:?}"), || async {
            let hosts = inside.broker.hosts().await.ok()?;
            let has = |host: &HostInfo| {
                host.plugins.iter().flat_map(|plugin| &plugin.pushed).any(|it| it.state == state)
            };
            (hosts.len() == 2 && hosts.iter().all(has)).then_some(())
        })
        .await;
    };
    has(PushedState::Serving).await;
    has(PushedState::Ready).await;
    let now = inside.now().await;
    let plan = CanaryPlan { shares_permille: vec![500], ..CanaryPlan::default() };
    shelf.begin_canary(&plugin, "trap", &plan, &[], now).await.expect("begun");
    has(PushedState::Canary).await;
    let (mut ids, deadline) = (Vec::new(), tokio::time::Instant::now() + PATIENCE);
    let canary = loop {
        assert!(tokio::time::Instant::now() < deadline, "no verdict");
        let tasks = (0..200).map(|_| once("x")).collect();
        let submitted = inside.client.submit_many(tasks).await.expect("submitted");
        ids.extend(submitted.into_iter().map(|one| one.id));
        settled(&inside.client, &ids[ids.len() - 200..]).await;
        let fleet = shelf.read().await.expect("a broker");
        if let Some(verdict) = &fleet.canaries[&plugin].verdict {
            break verdict.clone();
        }
    };
    assert_eq!(canary.end, CanaryEnd::RolledBack, "{canary:?}");
    harmless(&settled(&inside.client, &ids).await, good);
    eventually_within(PATIENCE, "the verdict is counted once", || async {
        let counted = hosts.iter().map(|host| {
            let exposed = Exposition::read(&host.metrics.render());
            exposed.sum("bulkhead_canary_verdicts_total", &[("verdict", "rolled_back")])
        });
        let counted: f64 = counted.sum();
        assert!(counted <= 1.0);
        (counted > 0.5).then_some(())
    })
    .await;
}

/// Nothing pushed is active: the file in the folder is what it is judged against.
#[tokio::test]
async fn a_version_is_tried_beside_a_file_and_batches_are_taken_apart() {
    let inside = Inside::embedded().apart();
    let options = HostOptions { fleet: FleetPolicy::Any, ..HostOptions::default() };
    let _host = inside.host("h1", options).await;
    let (shelf, plugin) = (Shelf::new(inside.broker.archive(), "ann"), Identity::from("unruly"));
    let push = async |version: &str, component: Vec<u8>| {
        let name = "unruly".parse().expect("a name");
        let version = Some(version.to_owned());
        let upload =
            Upload { name, owner: None, component, version, manifest: None, signature: None };
        shelf.push(upload, None, inside.now().await).await.expect("pushed");
    };
    let reaches = async |state: PushedState| {
        eventually_within(PATIENCE, &format!("it is {state:?}"), || async {
            let pushed = inside.plugin().await?.pushed;
            pushed.into_iter().find(|it| it.state == state)
        })
        .await
    };
    let plan =
        CanaryPlan { harm_permille: 1_000, shares_permille: vec![500], ..CanaryPlan::default() };
    let begin = async |version: &str| {
        let (hosts, now) = (inside.broker.hosts().await.expect("hosts"), inside.now().await);
        let begun = shelf.begin_canary(&plugin, version, &plan, &hosts, now).await;
        begun.expect("begun");
    };
    // Tasks of types that it does not handle would wait once it is promoted.
    push("6", version_that("good").0).await;
    begin("6").await;
    assert_eq!(reaches(PushedState::Rejected).await.gate.as_deref(), Some("task_type_lost"));
    shelf.stop_canary(&plugin, inside.now().await).await.expect("stopped");
    reaches(PushedState::Ready).await;
    let (component, digest) = version_of("unruly", 7);
    push("7", component).await;
    begin("7").await;
    reaches(PushedState::Canary).await;
    let tasks = (0..100).map(|_| task("together", "x")).collect();
    let submitted = inside.client.submit_many(tasks).await.expect("submitted");
    let ids: Vec<TaskId> = submitted.into_iter().map(|one| one.id).collect();
    for (view, id) in settled(&inside.client, &ids).await.iter().zip(&ids) {
        assert_eq!((view.state, output(view).as_str()), (State::Completed, "x: 1 of 1"));
        assert_eq!(version(view) == digest, takes(&digest, id.0.as_bytes(), 500));
    }
    shelf.promote_canary(&plugin, inside.now().await).await.expect("promoted");
    inside.serves(digest).await;
    assert!(inside.plugin().await.expect("it is known").by_fleet);
}
