//! The peers, run as a program of their own on the same kind of server.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::stage::Stage;

/// Drain `tasks` no-op tasks with a peer; tasks per second.
pub(crate) fn drain(peers: &Path, peer: &str, stage: &Stage, tasks: usize) -> Result<f64> {
    let output = Command::new(peers)
        .args([peer, "--redis", &stage.server.url(), "--tasks", &tasks.to_string()])
        .output()
        .with_context(|| format!("cannot start {}", peers.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{peer} failed: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line = said.lines().last().context("a figure")?;
    let figure: serde_json::Value = serde_json::from_str(line)?;
    figure["value"].as_f64().context("a number")
}
