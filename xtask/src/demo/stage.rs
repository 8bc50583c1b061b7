//! Everything that runs for the demo: a plugin folder, and a host with a broker of its own.
//!
//! It lives in a temporary folder and leaves nothing behind. The plugin folder is a
//! copy, so that replacing a plugin here changes nothing elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::console::{Batch, Console};
use super::document::{Plugin, Task};
use super::progress::Progress;
use super::service::{self, Service};
use crate::figures::harmless;
use crate::guests;
use crate::interrupt::Interrupt;
use crate::layout::Layout;

/// The test guest that misbehaves on request.
pub(super) const MISBEHAVING: &str = "unruly";
/// The queues of the demo's parts: each part can look at its own figures.
pub(super) const QUEUES: [&str; 4] = ["work", "swap", "waits", "limits"];

const PLUGINS_LOAD_WITHIN: Duration = Duration::from_secs(60);
const BATCH_ENDS_WITHIN: Duration = Duration::from_secs(70);
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What runs.
pub(super) struct Stage {
    // Dropped in this order: the host, then its folder.
    host: Service,
    pub(super) console: Console,
    pub(super) interrupt: Interrupt,
    folder: TempDir,
}

impl Stage {
    /// Starts a host with a copy of every plugin and the misbehaving guest.
    pub(super) fn start(layout: &Layout, interrupt: &Interrupt) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("bulkhead-demo-")
            .tempdir()
            .context("cannot create a temporary folder")?;
        let plugins = folder.path().join("plugins");
        copy_folder(&layout.plugins(), &plugins)?;
        let guest = guests::test_guest(layout, MISBEHAVING)?;
        copy(&guest, &plugins.join(format!("{MISBEHAVING}.wasm")))?;

        let binary = layout.release_binary("bulkhead");
        let console = Console::new(binary, folder.path().to_owned());
        let log = folder.path().join("host.log");
        let host = service::start_host(&console, &plugins, &QUEUES, log)?;
        println!("  host `demo` (process {}) on {}", host.pid(), console.broker());
        Ok(Self { host, console, interrupt: interrupt.clone(), folder })
    }

    /// Waits until the host serves the plugins of these names.
    pub(super) fn serves(&mut self, names: &[String]) -> Result<Vec<Plugin>> {
        let Self { host, console, interrupt, .. } = self;
        interrupt.wait_until("the host serves every plugin", PLUGINS_LOAD_WITHIN, || {
            host.must_run()?;
            let plugins = console.plugins()?;
            for plugin in &plugins {
                if let Some(rejected) = &plugin.rejected {
                    let (gate, reason) = (&rejected.gate, harmless(&rejected.reason));
                    anyhow::bail!("`{}` failed the gate `{gate}`: {reason}", plugin.name);
                }
            }
            let serves = |name: &String| {
                plugins.iter().any(|plugin| plugin.name == *name && plugin.serving.is_some())
            };
            Ok(names.iter().all(serves).then_some(plugins))
        })
    }

    /// A plugin's file in the folder that the host watches.
    pub(super) fn plugin_file(&self, name: &str) -> PathBuf {
        self.folder.path().join("plugins").join(format!("{name}.wasm"))
    }

    /// A folder for outputs.
    pub(super) fn outputs(&self) -> PathBuf {
        self.folder.path().join("outputs")
    }

    /// Waits for `batch`, which is all that is in `queue`, and shows its progress.
    pub(super) fn follow(&self, queue: &str, batch: &mut Batch, total: usize) -> Result<Vec<Task>> {
        let progress = Progress::new();
        let mut shown = Instant::now();
        self.interrupt.wait_until("the tasks have ended", BATCH_ENDS_WITHIN, || {
            if shown.elapsed() >= PROGRESS_EVERY {
                progress.show(&self.console.queue(queue)?, total);
                shown = Instant::now();
            }
            batch.ended()
        })
    }

    /// Stops the host and checks that it left no task behind, which the command line can
    /// tell from the folder alone.
    pub(super) fn stop(self) -> Result<()> {
        let Self { host, console, interrupt, folder: _folder } = self;
        host.stop(&interrupt)?;
        for queue in QUEUES {
            let open = console.queue(queue)?.open();
            ensure!(open == 0, "{open} tasks of the queue `{queue}` were left behind");
        }
        Ok(())
    }

    /// The end of the host's log, to be put behind an error.
    pub(super) fn host_log(&self) -> String {
        self.host.last_words()
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Copies one file.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
