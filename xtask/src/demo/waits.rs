//! Tasks that wait: a child for its parent, a schedule's tasks for their time.
//!
//! The schedule is defined before it is looked at, for a host does not see at once what
//! others define; so its fires cost the demo no waiting.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::document::Task;
use super::stage::Stage;
use crate::figures::{Align, harmless, micros, table};

const QUEUE: &str = "waits";
const SCHEDULE: &str = "every-second";
const INTERVAL_MS: u64 = 1_000;
/// How long the parent sleeps.
const REST_MS: u64 = 400;
const FIRES: usize = 2;
const CHILD_ENDS_WITHIN: Duration = Duration::from_secs(30);
/// A host looks for new schedules every 5 s.
const FIRES_WITHIN: Duration = Duration::from_secs(20);
const ALL_END_WITHIN: Duration = Duration::from_secs(30);

/// A schedule that fires while other things are shown.
pub(super) struct Waits<'a> {
    stage: &'a Stage,
}

impl<'a> Waits<'a> {
    /// Defines the schedule.
    pub(super) fn begin(stage: &'a Stage) -> Result<Self> {
        let every = format!("{INTERVAL_MS}ms");
        let arguments = ["echo", "--every", &every, "--data", "it is time"];
        stage.console.change_schedule(QUEUE, "put", SCHEDULE, &arguments)?;
        Ok(Self { stage })
    }

    /// Lets a child wait for its parent, shows both and the schedule's fires, and removes
    /// the schedule.
    pub(super) fn show(self) -> Result<()> {
        let Stage { console, interrupt, .. } = self.stage;
        let rest = REST_MS.to_string();
        let parent = console.submit_one(QUEUE, &["sleep", "--data", &rest])?;
        let child = console.submit_one(QUEUE, &["echo", "--data", "after", "--after", &parent])?;
        let child = interrupt.wait_until("the child has ended", CHILD_ENDS_WITHIN, || {
            Ok(Some(console.task(&child)?).filter(Task::has_ended))
        })?;
        let parent = console.task(&parent)?;
        let fires = interrupt.wait_until("the schedule has fired twice", FIRES_WITHIN, || {
            Ok(Some(console.fires(QUEUE, SCHEDULE)?).filter(|fires| fires.len() >= FIRES))
        })?;
        console.change_schedule(QUEUE, "remove", SCHEDULE, &[])?;
        interrupt.wait_until("the last fire's task has ended", ALL_END_WITHIN, || {
            Ok((console.queue(QUEUE)?.open() == 0).then_some(()))
        })?;
        print!("{}", shown(&parent, &child, &fires));
        judge(&parent, &child, &fires)?;
        println!("  `{SCHEDULE}` has fired {} times and is removed", fires.len());
        Ok(())
    }
}

fn shown(parent: &Task, child: &Task, fires: &[Task]) -> String {
    let row = |task: &Task, role: &str, waited: String| {
        [role.to_owned(), harmless(&task.task_type), harmless(&task.state), waited]
    };
    let waited = child.started_at().map_or_else(String::new, |at| {
        let waited_us = at.saturating_sub(child.submitted_at) * 1_000;
        format!("its parent, {}", micros(waited_us))
    });
    let mut rows = vec![row(parent, "parent", String::new()), row(child, "child", waited)];
    for fire in fires.iter().take(FIRES) {
        let at = fire.fired_for().map_or_else(String::new, time_of_day);
        rows.push(row(fire, SCHEDULE, at));
    }
    let header = ["TASK", "TYPE", "STATE", "WAITED FOR"].map(|title| (title, Align::Left));
    table(header, rows)
}

/// Hours, minutes and seconds of a Unix time in milliseconds.
fn time_of_day(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{ms:03} UTC", seconds % 60)
}

/// The child ran once, after its parent, and every fire is one task at its own time.
fn judge(parent: &Task, child: &Task, fires: &[Task]) -> Result<()> {
    for task in [parent, child].into_iter().chain(fires) {
        ensure!(
            task.is_completed() && task.attempts == 1,
            "a `{}` task should be completed by its first attempt: {}",
            task.task_type,
            harmless(&task.reason())
        );
    }
    let reference = format!("{QUEUE}/{}", parent.id);
    let told = child.history.iter().any(|entry| {
        entry.parent.as_deref() == Some(reference.as_str())
            && entry.state.as_deref() == Some("completed")
    });
    ensure!(told, "the child was not told what became of its parent");
    ensure!(child.started_at() > parent.started_at(), "the child began before its parent");
    ensure!(fires.len() >= FIRES, "the schedule fired {} times", fires.len());
    let times: Vec<_> = fires.iter().map(Task::fired_for).collect();
    let on_time = times.iter().all(|at| at.is_some_and(|at| at % INTERVAL_MS == 0));
    let once_each = times.windows(2).all(|pair| pair[0] < pair[1]);
    ensure!(on_time && once_each, "the schedule fired at other times than its own: {times:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(started_at: u64, before: serde_json::Value) -> Task {
        let ended = json!({"event": "ended", "digest": "d", "started_at": started_at,
            "metering": {"fuel": 1, "peak_memory_bytes": 1, "wall_us": 1}});
        let history = if before.is_null() { vec![ended] } else { vec![before, ended] };
        serde_json::from_value(json!({
            "id": "p", "type": "echo", "state": "completed", "attempts": 1,
            "submitted_at": 1_000, "history": history,
        }))
        .unwrap()
    }

    fn child(started_at: u64, parent: &str, state: &str) -> Task {
        task(started_at, json!({"event": "parent", "parent": parent, "state": state}))
    }

    fn fire(at: u64) -> Task {
        let mut task = task(at, json!(null));
        task.metadata.insert("schedule_at".into(), at.to_string());
        task
    }

    fn complaint(child: &Task, fires: &[Task]) -> String {
        let parent = task(1_005, json!(null));
        judge(&parent, child, fires).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_child_passes_only_after_its_own_parent() {
        let fires = [fire(2_000), fire(3_000)];
        let complaint = |child: &Task| complaint(child, &fires);
        assert_eq!(complaint(&child(1_405, "waits/p", "completed")), "");
        let untold = "was not told";
        assert!(complaint(&child(1_405, "waits/q", "completed")).contains(untold));
        assert!(complaint(&child(1_405, "waits/p", "failed")).contains(untold));
        assert!(complaint(&task(1_405, json!(null))).contains(untold));
        assert!(complaint(&child(1_000, "waits/p", "completed")).contains("before its parent"));
        let twice = Task { attempts: 2, ..child(1_405, "waits/p", "completed") };
        assert!(complaint(&twice).contains("first attempt"));
    }

    #[test]
    fn fires_pass_only_at_their_own_times_and_once_each() {
        let child = child(1_405, "waits/p", "completed");
        let complaint = |fires: &[Task]| complaint(&child, fires);
        assert_eq!(complaint(&[fire(2_000), fire(3_000), fire(5_000)]), "");
        assert!(complaint(&[fire(2_000)]).contains("fired 1 times"));
        assert!(complaint(&[fire(2_000), fire(2_000)]).contains("other times"));
        assert!(complaint(&[fire(2_000), fire(2_500)]).contains("other times"));
        assert!(complaint(&[fire(2_000), task(3_000, json!(null))]).contains("other times"));
        let failed = Task { state: "failed".into(), ..fire(3_000) };
        assert!(complaint(&[fire(2_000), failed]).contains("should be completed"));
    }

    #[test]
    fn the_table_shows_what_each_task_waited_for() {
        let fires = [fire(45_296_000), fire(45_297_000), fire(45_298_000)];
        let shown = shown(&task(1_005, json!(null)), &child(1_412, "waits/p", "completed"), &fires);
        assert_eq!(
            shown,
            "  TASK          TYPE  STATE      WAITED FOR\n  \
             parent        echo  completed\n  \
             child         echo  completed  its parent, 412 ms\n  \
             every-second  echo  completed  12:34:56.000 UTC\n  \
             every-second  echo  completed  12:34:57.000 UTC\n"
        );
    }
}
