//! Replacing a plugin while its tasks run.
//!
//! The new version is the same component with one more custom section, so its digest
//! differs and nothing else. Tasks keep coming while the host takes it over; results
//! name the version that made them, and none may fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::console::Batch;
use super::document::Task;
use super::errand::samples;
use super::progress::Progress;
use super::stage::Stage;
use crate::figures::{Align, short_digest, table};
use crate::layout::Layout;

const QUEUE: &str = "swap";
const PLUGIN: &str = "text-stats";
const SAMPLE: &str = "english.txt";
/// How often the sample is repeated: one task takes some milliseconds.
const REPEATED: usize = 20;
const TASKS_AT_FIRST: usize = 200;
const TASKS_PER_WAVE: usize = 50;
/// Bounds the stream should the host never take the new version.
const MAX_WAVES: usize = 100;
const WAVES_AT_ONCE: usize = 2;
const FIRST_RESULT_WITHIN: Duration = Duration::from_secs(30);
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);
const ALL_END_WITHIN: Duration = Duration::from_secs(60);

/// Replaces the plugin under load and shows which version made how many results.
pub(super) fn show(stage: &Stage, layout: &Layout) -> Result<()> {
    let sample = samples(layout, PLUGIN).join(SAMPLE);
    let text = fs::read_to_string(&sample)
        .with_context(|| format!("cannot read {}", layout.shown(&sample)))?;
    let task = json!({"type": PLUGIN, "payload": text.repeat(REPEATED)});
    let old = stage.console.serving(PLUGIN)?.context("the plugin does not serve")?;

    let mut stream = Stream { stage, task, progress: Progress::new(), waves: Vec::new() };
    stream.submit(TASKS_AT_FIRST)?;
    stage.interrupt.wait_until("the first result is there", FIRST_RESULT_WITHIN, || {
        Ok((stage.console.queue(QUEUE)?.completed() > 0).then_some(()))
    })?;
    let before = stage.console.queue(QUEUE)?;
    replace(&stage.plugin_file(PLUGIN))?;
    let new = stream.submit_until_taken_over(&old)?;
    let swapped = stream.submitted();
    stream.submit(TASKS_PER_WAVE)?;
    let tasks = stream.end()?;

    println!(
        "  replaced {PLUGIN}.wasm after {} results, with {} tasks running and {} waiting",
        before.completed(),
        before.running,
        before.pending
    );
    let made = results_by_version(&tasks);
    let count = |digest: &str| made.get(digest).copied().unwrap_or(0).to_string();
    let row = |which: &str, digest: &str| {
        [which.to_owned(), short_digest(digest).to_owned(), count(digest)]
    };
    let header = [("VERSION", Align::Left), ("DIGEST", Align::Left), ("RESULTS", Align::Right)];
    print!("{}", table(header, [row("before", &old), row("after", &new)]));
    let failed = tasks.iter().filter(|task| !task.is_completed()).count();
    println!("  {} tasks, {failed} failed", tasks.len());
    judge(&tasks, swapped, &old, &new)
}

/// Tasks that keep coming.
struct Stream<'a> {
    stage: &'a Stage,
    task: Value,
    progress: Progress,
    waves: Vec<Wave>,
}

struct Wave {
    tasks: usize,
    batch: Batch,
    results: Option<Vec<Task>>,
}

impl Wave {
    fn look(&mut self) -> Result<bool> {
        if self.results.is_none() {
            self.results = self.batch.ended()?;
        }
        Ok(self.results.is_some())
    }
}

impl Stream<'_> {
    fn submit(&mut self, tasks: usize) -> Result<()> {
        let lines = vec![self.task.clone(); tasks];
        let batch = self.stage.console.submit(QUEUE, &lines, None)?;
        self.waves.push(Wave { tasks, batch, results: None });
        Ok(())
    }

    fn submitted(&self) -> usize {
        self.waves.iter().map(|wave| wave.tasks).sum()
    }

    fn open_waves(&mut self) -> Result<usize> {
        let mut open = 0;
        for wave in &mut self.waves {
            open += usize::from(!wave.look()?);
        }
        Ok(open)
    }

    /// Submits on until another version than `old` serves; that version.
    fn submit_until_taken_over(&mut self, old: &str) -> Result<String> {
        let stage = self.stage;
        stage.interrupt.wait_until("the new version serves", TAKEN_OVER_WITHIN, || {
            if self.open_waves()? < WAVES_AT_ONCE && self.waves.len() < MAX_WAVES {
                self.submit(TASKS_PER_WAVE)?;
            }
            self.progress.show(&stage.console.queue(QUEUE)?, self.submitted());
            Ok(stage.console.serving(PLUGIN)?.filter(|serving| serving != old))
        })
    }

    /// Every task in the order of submission, once all have ended.
    fn end(mut self) -> Result<Vec<Task>> {
        let stage = self.stage;
        stage.interrupt.wait_until("every task has ended", ALL_END_WITHIN, || {
            self.progress.show(&stage.console.queue(QUEUE)?, self.submitted());
            Ok((self.open_waves()? == 0).then_some(()))
        })?;
        Ok(self.waves.into_iter().filter_map(|wave| wave.results).flatten().collect())
    }
}

/// Puts a new version in the place of `file`: written beside it, then renamed.
fn replace(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let beside = file.with_extension("new");
    fs::write(&beside, with_section(bytes, b"demo", b"new version"))
        .and_then(|()| fs::rename(&beside, file))
        .with_context(|| format!("cannot replace {}", file.display()))
}

/// A component with a custom section at its end. Name and contents are short.
fn with_section(mut component: Vec<u8>, name: &[u8], contents: &[u8]) -> Vec<u8> {
    // Both lengths are in LEB128, where one byte goes up to 127.
    let section = [&[short_length(name.len())], name, contents].concat();
    component.extend([0, short_length(section.len())]);
    component.extend(section);
    component
}

fn short_length(bytes: usize) -> u8 {
    debug_assert!(bytes < 128, "{bytes} bytes are not short");
    u8::try_from(bytes).unwrap_or(127)
}

fn results_by_version(tasks: &[Task]) -> BTreeMap<&str, usize> {
    let mut made = BTreeMap::new();
    for (digest, _) in tasks.iter().filter_map(Task::last_attempt) {
        *made.entry(digest).or_default() += 1;
    }
    made
}

/// No task failed, both versions made results and no third one did, and what was
/// submitted after the swap (all but the first `swapped`) ran the new one.
fn judge(tasks: &[Task], swapped: usize, old: &str, new: &str) -> Result<()> {
    let failed = tasks.iter().find(|task| !task.is_completed());
    if let Some(task) = failed {
        anyhow::bail!("task {} failed while the plugin was replaced: {}", task.id, task.reason());
    }
    let made = results_by_version(tasks);
    for (digest, which) in [(old, "old"), (new, "new")] {
        ensure!(made.contains_key(digest), "the {which} version made no result");
    }
    ensure!(made.len() == 2, "results name a version that was never installed: {made:?}");
    let late = results_by_version(&tasks[swapped.min(tasks.len())..]);
    ensure!(!late.contains_key(old), "a task submitted after the swap ran the old version");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(state: &str, digest: &str) -> Task {
        serde_json::from_value(json!({
            "id": "1", "type": PLUGIN, "state": state, "attempts": 1,
            "history": [{"digest": digest, "metering":
                {"fuel": 1, "peak_memory_bytes": 1, "wall_us": 1}}],
        }))
        .unwrap()
    }

    fn complaint(states: &[(&str, &str)], swapped: usize) -> String {
        let tasks: Vec<_> = states.iter().map(|(state, digest)| task(state, digest)).collect();
        judge(&tasks, swapped, "old", "new").map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn a_swap_passes_only_with_both_versions_and_without_a_failure() {
        let (old, new) = (("completed", "old"), ("completed", "new"));
        assert_eq!(complaint(&[old, new, old, new], 3), "");
        assert!(complaint(&[old, ("failed", "new")], 2).contains("failed while"));
        assert!(complaint(&[new, new], 1).contains("the old version made no result"));
        assert!(complaint(&[old, old], 2).contains("the new version made no result"));
        assert!(complaint(&[old, new, ("completed", "x")], 3).contains("never installed"));
        assert!(complaint(&[old, new, old], 2).contains("submitted after the swap"));
    }

    #[test]
    fn the_new_version_is_the_old_one_and_a_section() {
        let bytes = with_section(b"component".to_vec(), b"demo", b"v2");
        assert_eq!(bytes, b"component\x00\x07\x04demov2");
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        fs::write(&file, "component").unwrap();
        replace(&file).unwrap();
        assert!(fs::read(&file).unwrap().starts_with(b"component\0"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
