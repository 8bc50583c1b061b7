//! A server and hosts of their own for one measurement.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bulkhead_core::QueueName;
use bulkhead_queue::{Client, HostInfo, SubmitLimits};
use bulkhead_tests::{RedisServer, install};
use tempfile::TempDir;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) server: RedisServer,
    pub(crate) plugins: TempDir,
    hosts: Vec<Child>,
}

impl Stage {
    /// A server, no host.
    pub(crate) fn bare() -> Result<Self> {
        Ok(Self { server: RedisServer::start(), plugins: tempfile::tempdir()?, hosts: Vec::new() })
    }

    /// A server and the plugin `unruly`; no host yet.
    pub(crate) fn with_plugins() -> Result<Self> {
        let stage = Self::bare()?;
        install(stage.plugins.path(), "unruly");
        Ok(stage)
    }

    pub(crate) async fn client(&self) -> Client {
        Client::new(Arc::new(self.server.broker().await), SubmitLimits::default())
    }

    /// Start one more host and wait until it serves.
    pub(crate) async fn start_host(
        &mut self,
        binary: &Path,
        client: &Client,
        concurrency: u32,
        isolation: &str,
    ) -> Result<()> {
        let number = self.hosts.len() + 1;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.plugins.path().join("host.log"))?;
        let child = Command::new(binary)
            .args([
                "--broker",
                &self.server.url(),
                "run",
                "--name",
                &format!("bench-host-with-a-name-of-usual-length-{number}"),
                "--plugins",
            ])
            .arg(self.plugins.path())
            .args(["--concurrency", &concurrency.to_string(), "--log-level", "warn"])
            .env("RUST_LIB_BACKTRACE", "0")
            // What a reload costs includes compiling.
            .env("BULKHEAD_PLUGINS__CACHE_DIR", "")
            .env("BULKHEAD_HOST__ISOLATION", isolation)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        self.hosts.push(child);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let hosts = client.broker().hosts().await?;
            let serves = |host: &HostInfo| host.plugins.iter().any(|p| p.serving.is_some());
            if hosts.iter().filter(|host| serves(host)).count() == number {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the host does not serve: {}", self.host_log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn host_log(&self) -> String {
        std::fs::read_to_string(self.plugins.path().join("host.log")).unwrap_or_default()
    }

    /// CPU seconds of all hosts so far, and peak resident megabytes of the largest.
    pub(crate) fn host_usage(&self) -> Result<(f64, f64)> {
        self.hosts.iter().map(Child::id).try_fold((0.0, 0.0), |(cpu, rss): (f64, f64), pid| {
            Ok((cpu + cpu_seconds(pid)?, rss.max(peak_rss_mb(pid)?)))
        })
    }

    /// Peak resident megabytes of the largest worker process that the host has; 0 if it has none.
    pub(crate) fn worker_rss_mb(&self) -> Result<f64> {
        let host = self.hosts.first().context("no host runs")?.id().to_string();
        let mut most = 0.0_f64;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            // A process may end while it is looked at.
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
            if parent == Some(&host) {
                most = most.max(peak_rss_mb(pid).unwrap_or(0.0));
            }
        }
        Ok(most)
    }

    /// CPU seconds of the server so far.
    pub(crate) fn server_cpu(&self) -> Result<f64> {
        let info: String = redis::cmd("INFO").arg("cpu").query(&mut self.server.connection())?;
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|value| value.trim().parse::<f64>().ok())
                .with_context(|| format!("no {name} in INFO"))
        };
        Ok(field("used_cpu_user:")? + field("used_cpu_sys:")?)
    }

    /// Wait until `total` tasks of the queue are completed.
    pub(crate) async fn completed(&self, client: &Client, total: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let queue = QueueName::default();
        let mut redis = self.server.connection();
        let stats = format!("{{bulkhead:{queue}}}:stats");
        loop {
            let done: Option<u64> = redis::cmd("HGET").arg(&stats).arg("c").query(&mut redis)?;
            if done.unwrap_or(0) >= total {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let stats = client.broker().stats(&queue).await?;
                anyhow::bail!("not drained: {stats:?}; host log: {}", self.host_log());
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            let _ = host.kill();
            let _ = host.wait();
        }
    }
}

/// User and system time of a process, from the kernel's clock ticks of 10 ms.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("a process name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}

fn peak_rss_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}
