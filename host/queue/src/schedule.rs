//! Schedules as a broker keeps them.

use bulkhead_core::{QueueName, Schedule, Task, TaskId, UnixMs};
use serde::{Deserialize, Serialize};

/// A schedule and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Its definition.
    pub schedule: Schedule,
    /// Whether it is stopped.
    pub paused: bool,
    /// Its next fire; nothing if it will not fire again.
    pub next: Option<UnixMs>,
    /// Its last fire.
    pub last: Option<LastFire>,
    /// How often it has fired.
    pub fired: u64,
    /// How many fires were skipped because the previous one's task had not ended.
    pub skipped: u64,
}

impl ScheduleView {
    /// The fires to come, at most `count`: a stored one that is due or planned first, then what
    /// follows it. Those of a paused schedule are the ones that would be.
    #[must_use]
    pub fn upcoming(&self, now: UnixMs, count: usize) -> Vec<UnixMs> {
        let Some(next) = self.next else { return Vec::new() };
        let Schedule { timing, name, .. } = &self.schedule;
        if self.paused {
            return timing.upcoming(name, now, count);
        }
        let mut fires = vec![next];
        fires.extend(timing.upcoming(name, next.max(now), count.saturating_sub(1)));
        fires
    }

    /// A fire by hand and the id of its task.
    #[must_use]
    pub fn by_hand(&self, queue: &QueueName, now: UnixMs) -> (TaskId, Fire) {
        let id = TaskId(uuid::Uuid::now_v7());
        let fire = Fire {
            schedule: self.schedule.name.clone(),
            expected: self.next,
            next: self.next,
            fires: vec![(now, self.schedule.task_with_id(id, queue, now, now))],
            exclusive: self.schedule.exclusive,
            by_hand: true,
        };
        (id, fire)
    }
}

/// A fire that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LastFire {
    /// The time it was for.
    pub at: UnixMs,
    /// The task.
    pub task: TaskId,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DueSchedules {
    /// The broker's time.
    pub now: UnixMs,
    /// Schedules whose next fire is not after `now`.
    pub due: Vec<ScheduleView>,
    /// The next fire of all others.
    pub next: Option<UnixMs>,
}

/// One or more fires of a schedule, computed by whoever found it due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fire {
    /// The schedule.
    pub schedule: String,
    /// The next fire that the tasks were computed from.
    pub expected: Option<UnixMs>,
    /// The next fire after these; `None` if there is none.
    pub next: Option<UnixMs>,
    /// The fires, oldest first: the time each is for and its task. Empty if all were missed
    /// and are dropped.
    pub fires: Vec<(UnixMs, Task)>,
    /// Whether nothing is submitted while the last fire's task has not ended.
    pub exclusive: bool,
    /// Whether this is by hand: `expected` is not looked at and the next fire stays.
    pub by_hand: bool,
}

/// What became of a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FireAnswer {
    /// Its tasks are submitted; how many of them were new.
    Fired(u32),
    /// The previous task has not ended, and the schedule is exclusive.
    Overlapping,
    /// Somebody else fired it, or it changed meanwhile.
    Superseded,
    /// There is no such schedule.
    Unknown,
}
