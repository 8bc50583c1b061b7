//! The host's memory stays under its ceiling whatever guests and producers do, and everybody's
//! tasks are done nevertheless.
//!
//! What is bounded is the highest resident memory that the kernel saw. Of what a host has with
//! nothing to do, only that is counted which is more than the part that the ceiling holds for
//! it: a build with debug assertions is larger.

use bulkhead_core::{State, TaskId};
use bulkhead_queue::HostInfo;
use bulkhead_tests::{HostProcess, Ran, Site, eventually, output};

const MIB: u64 = 1 << 20;

/// What the ceiling holds for a host with nothing to do.
const HOST_BYTES: u64 = 64 * MIB;

const CEILING: u64 = 512 * MIB;

/// Room for about two attempts at a time, where 32 are allowed.
const CONFIG: &str = "[host]\nmemory = \"512 MiB\"\nconcurrency = 32\nguest_threads = 2\n\
    [limits]\nmemory = \"64 MiB\"\nresult = \"4 MiB\"\nhostcall = \"6 MiB\"\ninstances = 4\n";

/// A host under attack.
struct Attacked {
    site: Site,
    host: HostProcess,
    at_rest: u64,
}

/// A line of a process's status, in bytes.
fn status(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|text| text.strip_prefix(line)).expect("a line");
    let kib: u64 = line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number");
    kib * 1024
}

impl Attacked {
    async fn new() -> Self {
        let site = Site::new().await;
        let config = site.folder().join("small.config.toml");
        std::fs::write(&config, CONFIG).expect("a file");
        let mut command = HostProcess::command();
        command.args(["--broker", &site.server.url(), "--config"]).arg(&config);
        command.args(["run", "--name", "small", "--plugins"]).arg(site.folder());
        let host = HostProcess::spawn(command, site.folder().join("small.log"));
        serves(&site).await;
        let at_rest = status(host.pid(), "VmRSS:");
        Self { site, host, at_rest }
    }

    /// Submit tasks with these payloads.
    async fn submit(&self, task_type: &str, payloads: Vec<Vec<u8>>) -> Vec<TaskId> {
        let mut ids = Vec::new();
        for payload in payloads {
            ids.push(self.site.submit(task_type, payload).await);
        }
        ids
    }

    /// All of these end well, an innocent task meanwhile, and the ceiling holds.
    async fn survives(&self, attack: &[TaskId]) {
        let innocent = self.site.ended("echo", "alive").await;
        assert_eq!(innocent.state, State::Completed, "{innocent:?}");
        for id in attack {
            let view = self.site.wait(*id).await;
            let last = view.last_report().map(|report| &report.metering);
            assert_eq!(view.state, State::Completed, "{id}: {last:?}; {}", self.host.log());
            assert_eq!(view.attempts(), 1, "no attempt fails for the ceiling");
        }
        let highest = status(self.host.pid(), "VmHWM:");
        let allowed = CEILING + self.at_rest.saturating_sub(HOST_BYTES);
        assert!(
            highest <= allowed,
            "{} MiB at the highest, {} at rest, {} allowed",
            highest / MIB,
            self.at_rest / MIB,
            allowed / MIB
        );
        // All that was held has come back.
        eventually("nothing is held but by the plugin", || async {
            let memory = info(&self.site).await?.memory.expect("a ceiling");
            (memory.held_bytes < 16 * MIB && memory.waiting == 0).then_some(())
        })
        .await;
    }
}

async fn info(site: &Site) -> Option<HostInfo> {
    let hosts = site.client.broker().hosts().await.ok()?;
    hosts.into_iter().find(|host| host.name == "small")
}

async fn serves(site: &Site) {
    eventually("the host serves", || async {
        info(site).await?.plugins.iter().any(|plugin| plugin.serving.is_some()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn guests_that_take_all_their_memory_take_turns() {
    let attacked = Attacked::new().await;
    let memory = info(&attacked.site).await.and_then(|host| host.memory).expect("a ceiling");
    assert_eq!(memory.ceiling_bytes, CEILING);
    assert!(memory.budget_bytes < CEILING - HOST_BYTES, "{memory:?}");
    assert!(attacked.host.log().contains("admits fewer attempts"), "{}", attacked.host.log());
    // Together 48 times 56 MiB.
    let bytes = 56 * MIB;
    let flood = attacked.submit("alloc", vec![bytes.to_string().into(); 48]).await;
    attacked.survives(&flood).await;
    assert_eq!(output(&attacked.site.view(flood[0]).await), bytes.to_string());
}

#[tokio::test]
async fn guests_that_keep_their_memory_for_long_keep_nobody_out_for_ever() {
    let attacked = Attacked::new().await;
    let sleepers = attacked.submit("sleep", vec![b"300".to_vec(); 24]).await;
    attacked.survives(&sleepers).await;
}

#[tokio::test]
async fn large_payloads_come_in_portions() {
    let attacked = Attacked::new().await;
    let payload = vec![b'x'; 8 * 1024 * 1024 - 1024];
    let flood = attacked.submit("noop", vec![payload; 48]).await;
    attacked.survives(&flood).await;
}

#[tokio::test]
async fn large_results_wait_for_a_broker_that_does_not_answer() {
    let attacked = Attacked::new().await;
    let flood = attacked.submit("big-result", vec![b"4000000".to_vec(); 60]).await;
    eventually("some have ended", || async {
        (attacked.site.stats().await.totals.get("completed") > Some(&3)).then_some(())
    })
    .await;
    attacked.site.server.freeze();
    eventually("the host has noticed", || async {
        attacked.host.log().contains("the broker is away").then_some(())
    })
    .await;
    attacked.site.server.thaw();
    attacked.survives(&flood).await;
}

#[tokio::test]
async fn floods_of_log_lines_are_kept_within_bounds() {
    let attacked = Attacked::new().await;
    let mut flood = attacked.submit("log-flood", vec![b"4000".to_vec(); 16]).await;
    flood.extend(attacked.submit("stdout-flood", vec![b"4000".to_vec(); 16]).await);
    attacked.survives(&flood).await;
}

#[tokio::test]
async fn a_plugin_whose_attempts_would_never_fit_is_refused_and_told_why() {
    let site = Site::new().await;
    let config = site.folder().join("small.config.toml");
    std::fs::write(&config, CONFIG.replace("64 MiB", "400 MiB")).expect("a file");
    let mut command = HostProcess::command();
    command.args(["--broker", &site.server.url(), "--config"]).arg(&config);
    command.args(["run", "--name", "small", "--plugins"]).arg(site.folder());
    let _host = HostProcess::spawn(command, site.folder().join("small.log"));
    let refused = eventually("the plugin is refused", || async {
        info(&site).await?.plugins.first()?.rejected.clone()
    })
    .await;
    assert_eq!(refused.gate, "memory");
    assert!(refused.reason.contains("`host.memory`"), "{}", refused.reason);
    assert!(refused.reason.contains("limits"), "{}", refused.reason);
}

#[tokio::test]
async fn a_ceiling_that_leaves_nothing_is_refused_at_the_start() {
    let site = Site::new().await;
    let config = site.folder().join("small.config.toml");
    std::fs::write(&config, CONFIG.replace("512 MiB", "100 MiB")).expect("a file");
    let config = config.to_string_lossy();
    let ran = Ran::of(&["--config", &config, "config", "check"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("`host.memory`"), "{ran:?}");
    assert!(ran.stderr.contains("100 MiB leave nothing for attempts"), "{ran:?}");
}
