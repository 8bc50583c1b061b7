//! The real command line, called as a user would call it.
//!
//! The demo reaches its broker and host through this alone and links neither. Only
//! the demo's own settings count: the environment and the current folder of whoever
//! runs it configure nothing.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{Changed, Plugin, Queue, Sent, Task};
use crate::figures::harmless;

/// How long a batch may take in all; the host's own limits end tasks sooner.
const BATCH_TIMEOUT: &str = "60s";
/// The exit code for what does not exist.
const NOT_FOUND: i32 = 4;

/// `bulkhead` with the demo's broker.
#[derive(Debug, Clone)]
pub(super) struct Console {
    binary: PathBuf,
    broker: String,
    folder: PathBuf,
}

impl Console {
    /// Calls `binary` in `folder`, for the embedded broker in there.
    pub(super) fn new(binary: PathBuf, folder: PathBuf) -> Self {
        let broker = format!("embedded:{}", folder.join("queue").display());
        Self { binary, broker, folder }
    }

    /// Where tasks are kept.
    pub(super) fn broker(&self) -> &str {
        &self.broker
    }

    /// A call without its subcommand.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BULKHEAD_") {
                command.env_remove(name);
            }
        }
        // Everything of the demo goes with its folder.
        command.env("BULKHEAD_PLUGINS__CACHE_DIR", self.folder.join("compiled"));
        command.current_dir(&self.folder).env("RUST_LIB_BACKTRACE", "0").args([
            "--color",
            "never",
            "--broker",
            &self.broker,
        ]);
        command
    }

    /// The answer to a call; `None` if what it asks about does not exist.
    fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<Option<T>> {
        let call = arguments.join(" ");
        let output = self
            .command()
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `bulkhead {call}`"))?;
        if output.status.code() == Some(NOT_FOUND) {
            return Ok(None);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`bulkhead {call}` failed: {}", complaint.trim());
        serde_json::from_slice(&output.stdout)
            .map(Some)
            .with_context(|| format!("`bulkhead {call}` answered something else than expected"))
    }

    /// The plugins of the host.
    pub(super) fn plugins(&self) -> Result<Vec<Plugin>> {
        Ok(self.ask(&["plugin", "list"])?.unwrap_or_default())
    }

    /// The version of `plugin` that serves, as its digest; an error if its newest file
    /// was refused.
    pub(super) fn serving(&self, plugin: &str) -> Result<Option<String>> {
        let Some(found) = self.plugins()?.into_iter().find(|found| found.name == plugin) else {
            return Ok(None);
        };
        if let Some(rejected) = found.rejected {
            bail!("`{plugin}` failed the gate `{}`: {}", rejected.gate, harmless(&rejected.reason));
        }
        Ok(found.serving.map(|serving| serving.digest))
    }

    /// A queue's depths and totals; zeros while nothing has been submitted to it.
    pub(super) fn queue(&self, name: &str) -> Result<Queue> {
        Ok(self.ask(&["queue", "stats", name])?.unwrap_or_default())
    }

    /// Submits one task with these flags; its id.
    pub(super) fn submit_one(&self, queue: &str, arguments: &[&str]) -> Result<String> {
        let call = [&["submit", "--queue", queue], arguments].concat();
        let sent: Sent = self.ask(&call)?.context("a submission has found nothing")?;
        Ok(sent.id)
    }

    /// A task as it is now.
    pub(super) fn task(&self, id: &str) -> Result<Task> {
        self.ask(&["task", "show", id])?.with_context(|| format!("the task {id} is lost"))
    }

    /// Defines a schedule with these flags, or removes it.
    pub(super) fn change_schedule(
        &self,
        queue: &str,
        change: &str,
        name: &str,
        arguments: &[&str],
    ) -> Result<()> {
        let call = [&["schedule", change, name, "--queue", queue], arguments].concat();
        let answer: Changed =
            self.ask(&call)?.with_context(|| format!("there is no schedule `{name}`"))?;
        ensure!(answer.changed, "`schedule {change} {name}` changed nothing");
        Ok(())
    }

    /// The tasks that a schedule submitted and that have completed, in the order of its fires.
    pub(super) fn fires(&self, queue: &str, schedule: &str) -> Result<Vec<Task>> {
        let list = ["task", "list", "--queue", queue, "--schedule", schedule];
        let list = [&list[..], &["--state", "completed"]].concat();
        let mut tasks: Vec<Task> = self.ask(&list)?.unwrap_or_default();
        tasks.sort_by_key(Task::fired_for);
        Ok(tasks)
    }

    /// Submits tasks, given as the objects that JSON Lines take, and lets them run.
    /// Outputs go to `outputs`, one file per task, named by the task's id.
    pub(super) fn submit(
        &self,
        queue: &str,
        lines: &[Value],
        outputs: Option<&Path>,
    ) -> Result<Batch> {
        let jsonl: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let file = tempfile::NamedTempFile::new_in(&self.folder).context("no room for tasks")?;
        std::fs::write(file.path(), jsonl).context("no room for tasks")?;
        let answers = tempfile::tempfile_in(&self.folder).context("no room for answers")?;
        let complaints = tempfile::tempfile_in(&self.folder).context("no room for answers")?;
        let mut command = self.command();
        command.args(["--json", "submit", "--queue", queue, "--wait", "--timeout", BATCH_TIMEOUT]);
        command.arg("--jsonl").arg(file.path());
        if let Some(folder) = outputs {
            command.arg("--out").arg(folder);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(answers.try_clone().context("cannot share a file")?)
            .stderr(complaints.try_clone().context("cannot share a file")?)
            .spawn()
            .context("cannot start `bulkhead submit`")?;
        Ok(Batch { child, answers, complaints, tasks: lines.len(), _lines: file })
    }
}

/// Tasks that were submitted and are waited for; the waiting is killed when dropped.
pub(super) struct Batch {
    child: Child,
    answers: File,
    complaints: File,
    tasks: usize,
    _lines: tempfile::NamedTempFile,
}

impl Batch {
    /// The tasks in the order in which they were submitted, once all have ended.
    pub(super) fn ended(&mut self) -> Result<Option<Vec<Task>>> {
        let Some(status) = self.child.try_wait().context("cannot wait for `bulkhead submit`")?
        else {
            return Ok(None);
        };
        // 1: all have ended and some of them failed, which is for the caller to judge.
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("`bulkhead submit` ended with {status}: {}", text(&mut self.complaints)?.trim());
        }
        let answers = text(&mut self.answers)?;
        let tasks: Vec<Task> = serde_json::from_str(&answers).with_context(|| {
            let complaint = text(&mut self.complaints).unwrap_or_default();
            format!("`bulkhead submit` gave no list of tasks: {}", complaint.trim())
        })?;
        ensure!(
            tasks.len() == self.tasks,
            "{} tasks were submitted, {} came back",
            self.tasks,
            tasks.len()
        );
        Ok(Some(tasks))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(file: &mut File) -> Result<String> {
    file.seek(SeekFrom::Start(0)).context("cannot read an answer")?;
    std::io::read_to_string(file).context("cannot read an answer")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::interrupt::Interrupt;

    /// A command line that answers with `script`.
    fn console(script: &str, folder: &Path) -> Console {
        use std::os::unix::fs::PermissionsExt;
        let binary = folder.join("bulkhead");
        std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        Console::new(binary, folder.to_owned())
    }

    fn submit(script: &str) -> Result<Vec<Task>> {
        let folder = tempfile::tempdir().unwrap();
        let console = console(script, folder.path());
        let mut batch = console.submit("q", &[json!({"type": "t", "payload": 1})], None).unwrap();
        let bound = Duration::from_secs(10);
        Interrupt::default().wait_until("it ends", bound, || batch.ended())
    }

    #[test]
    fn failed_tasks_come_back_and_a_failed_command_does_not_pass() {
        let answer = r#"echo '[{"id": "1", "type": "t", "state": "failed", "attempts": 1}]'"#;
        let tasks = submit(&format!("{answer}; exit 1")).unwrap();
        assert_eq!(tasks[0].state, "failed");
        let error = submit("echo broken >&2; exit 5").unwrap_err().to_string();
        assert!(error.contains("exit status: 5") && error.ends_with("broken"), "{error}");
        let error = submit("echo broken >&2; exit 1").unwrap_err().to_string();
        assert!(error.ends_with("no list of tasks: broken"), "{error}");
        let error = submit("echo '[]'").unwrap_err().to_string();
        assert_eq!(error, "1 tasks were submitted, 0 came back");
    }

    #[test]
    fn fires_come_in_the_order_of_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let task = |id: u64, at: u64| {
            format!(
                r#"{{"id": "{id}", "type": "t", "state": "completed", "attempts": 1,
                "metadata": {{"schedule_at": "{at}"}}}}"#
            )
        };
        let console =
            console(&format!("echo '[{}, {}]'", task(1, 2_000), task(2, 1_000)), folder.path());
        let fires = console.fires("q", "s").unwrap();
        assert_eq!(fires.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["2", "1"]);
    }

    #[test]
    fn a_schedule_that_stays_as_it_was_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let same = console(r#"echo '{"changed": false}'"#, folder.path());
        let error = same.change_schedule("q", "put", "s", &[]).unwrap_err().to_string();
        assert_eq!(error, "`schedule put s` changed nothing");
        let gone = console("exit 4", folder.path());
        let error = gone.change_schedule("q", "remove", "s", &[]).unwrap_err().to_string();
        assert_eq!(error, "there is no schedule `s`");
        let error = gone.task("7").unwrap_err().to_string();
        assert_eq!(error, "the task 7 is lost");
    }

    #[test]
    fn a_refused_plugin_is_an_error_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let list = r#"echo '[{"name": "a", "host": "h", "serving": null, "rejected":
            {"gate": "valid", "reason": "truncated", "digest": "", "at": 1}}]'"#;
        let console = console(list, folder.path());
        let error = console.serving("a").unwrap_err().to_string();
        assert_eq!(error, "`a` failed the gate `valid`: truncated");
        assert_eq!(console.serving("b").unwrap(), None);
    }
}
