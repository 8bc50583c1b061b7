//! `start_cached`: from the start of a host with 100 plugins whose compiled form is in its
//! cache until all of them serve; `start_compiling` is the start before, with an empty cache.
//!
//! The plugins are the four that ship with Bulkhead, 25 times each under task types of
//! their own, so their sizes are those of real handlers.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bulkhead_tests::{install_as, shipped};
use tempfile::TempDir;

use crate::stage::Stage;

/// Plugins of each kind.
const OF_EACH: usize = 25;
const KINDS: [&str; 4] = ["csv-report", "markdown", "text-stats", "thumbnail"];
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// The pause between looks at what serves.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Milliseconds of the first start and of the second.
pub(crate) struct Started {
    pub(crate) compiling_ms: f64,
    pub(crate) cached_ms: f64,
}

pub(crate) async fn run(host: &Path) -> Result<Started> {
    let stage = Stage::bare()?;
    let plugins = tempfile::tempdir()?;
    for kind in KINDS {
        let bytes = shipped(kind);
        for at in 0..OF_EACH {
            let name = format!("{}{at:02}", &kind[..kind.len() - 2]);
            install_as(plugins.path(), &name, &renamed(&bytes, kind, &name));
        }
    }
    let cache = tempfile::tempdir()?;
    let compiling_ms = start(host, &stage, &plugins, &cache).await?;
    let cached_ms = start(host, &stage, &plugins, &cache).await?;
    Ok(Started { compiling_ms, cached_ms })
}

/// Another plugin of the same size: its task type has another name of the same length.
fn renamed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut renamed = bytes.to_vec();
    let mut at = 0;
    while let Some(rest) = renamed.get_mut(at..at + from.len()) {
        if rest == from.as_bytes() {
            rest.copy_from_slice(to.as_bytes());
        }
        at += 1;
    }
    renamed
}

/// Milliseconds from the start of a host until all plugins serve.
async fn start(host: &Path, stage: &Stage, plugins: &TempDir, cache: &TempDir) -> Result<f64> {
    let client = stage.client().await;
    let log = std::fs::File::create(plugins.path().join("host.log"))?;
    let began = Instant::now();
    let child = Command::new(host)
        .args(["--broker", &stage.server.url(), "run", "--plugins"])
        .arg(plugins.path())
        .args(["--name", "start", "--log-level", "warn"])
        .env("BULKHEAD_PLUGINS__CACHE_DIR", cache.path().join("compiled"))
        .env("RUST_LIB_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", host.display()))?;
    let mut running = Running(child);
    loop {
        let hosts = client.broker().hosts().await?;
        let plugins_seen = hosts.iter().flat_map(|host| &host.plugins);
        let serving = plugins_seen.filter(|plugin| plugin.serving.is_some()).count();
        if serving == OF_EACH * KINDS.len() {
            break;
        }
        let log = || std::fs::read_to_string(plugins.path().join("host.log")).unwrap_or_default();
        ensure!(began.elapsed() < PATIENCE, "{serving} plugins serve: {}", log());
        ensure!(running.0.try_wait()?.is_none(), "the host ended: {}", log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took_ms = began.elapsed().as_secs_f64() * 1_000.0;
    running.stop(&client).await?;
    Ok(took_ms)
}

/// A host that does not outlive its measurement.
struct Running(Child);

impl Running {
    /// End it as an operator would, so that what it said of itself goes with it.
    async fn stop(&mut self, client: &bulkhead_queue::Client) -> Result<()> {
        let pid = i32::try_from(self.0.id()).context("a process id")?;
        Command::new("kill").arg(pid.to_string()).status()?;
        let began = Instant::now();
        while self.0.try_wait()?.is_none() || !client.broker().hosts().await?.is_empty() {
            ensure!(began.elapsed() < PATIENCE, "the host does not end");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
