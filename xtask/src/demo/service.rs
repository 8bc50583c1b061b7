//! The process that the demo starts: a host, which is its own broker.
//!
//! It is killed when its guard is dropped, so nothing outlives the demo whatever goes
//! wrong, and it can be asked to end by itself, which is what the demo shows.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::console::Console;
use crate::interrupt::Interrupt;
use crate::program;

/// A host's grace period is 30 s.
const STOPS_WITHIN: Duration = Duration::from_secs(40);
const LOG_LINES_SHOWN: usize = 15;

/// A started process, killed when dropped.
pub(super) struct Service {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Service {
    fn start(name: &'static str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let output = file.try_clone().context("cannot share the log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status if it has ended.
    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot look after {}", self.name))
    }

    /// An error with its last words if it has ended.
    pub(super) fn must_run(&mut self) -> Result<()> {
        match self.ended()? {
            Some(status) => bail!("{} ended: {status}{}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    /// Asks it to end and waits until it has, with success.
    pub(super) fn stop(mut self, interrupt: &Interrupt) -> Result<()> {
        program::run(Command::new("kill").args(["-TERM", &self.pid().to_string()]))
            .with_context(|| format!("cannot send SIGTERM to {}", self.name))?;
        let what = format!("{} stops", self.name);
        let status = interrupt.wait_until(&what, STOPS_WITHIN, || self.ended())?;
        ensure!(status.success(), "{} ended with {status}{}", self.name, self.last_words());
        Ok(())
    }

    /// The end of its log, to be put behind an error.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        if last.is_empty() {
            String::new()
        } else {
            format!("; its log ends:\n{}", last.join("\n"))
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A host on the folder `plugins`, serving `queues`.
pub(super) fn start_host(
    console: &Console,
    plugins: &Path,
    queues: &[&str],
    log: PathBuf,
) -> Result<Service> {
    let mut command = console.command();
    command.args(["run", "--name", "demo", "--log-format", "compact", "--plugins"]).arg(plugins);
    command.args(queues.iter().flat_map(|queue| ["--queue", queue]));
    Service::start("the host", &mut command, log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> Service {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Service::start("the script", &mut command, folder.join("log")).unwrap()
    }

    fn is_alive(pid: u32) -> bool {
        program::ask(Command::new("kill").args(["-0", &pid.to_string()])).is_some()
    }

    /// A process that has said so ignores no signal by mistake.
    fn until_said(service: &Service, word: &str) {
        let said = || Ok(std::fs::read_to_string(&service.log)?.contains(word).then_some(()));
        Interrupt::default().wait_until("it speaks", Duration::from_secs(10), said).unwrap();
    }

    #[test]
    fn a_service_is_killed_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let service = start("exec sleep 600", folder.path());
        let pid = service.pid();
        assert!(is_alive(pid));
        drop(service);
        assert!(!is_alive(pid));
    }

    #[test]
    fn only_an_end_with_success_is_a_clean_stop() {
        let folder = tempfile::tempdir().unwrap();
        let waits = |code| {
            let script = format!("trap 'exit {code}' TERM; echo up; while :; do sleep 0.05; done");
            let service = start(&script, folder.path());
            until_said(&service, "up");
            service.stop(&Interrupt::default())
        };
        waits(0).unwrap();
        let error = waits(3).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.ends_with("its log ends:\nup"),
            "{error}"
        );
    }

    #[test]
    fn a_service_that_ended_says_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = start("seq 1 20; exit 1", folder.path());
        service.child.wait().unwrap();
        let error = service.must_run().unwrap_err().to_string();
        assert!(error.contains("exit status: 1"), "{error}");
        assert!(error.ends_with("\n19\n20") && !error.contains("\n5\n"), "{error}");
    }
}
