//! Schedules: a fire is taken if the next fire is still the one it was computed from.

use bulkhead_core::{QueueName, Schedule, TaskId, UnixMs};

use super::journal::Touch;
use super::queue::Queue;
use super::submit::encode;
use super::{Machine, Now};
use crate::error::QueueError;
use crate::schedule::{DueSchedules, Fire, FireAnswer, LastFire, ScheduleView};

impl Machine {
    /// Store a schedule or another definition of it; whether anything changed.
    pub fn put_schedule(
        &mut self,
        queue: &QueueName,
        schedule: &Schedule,
        next: Option<UnixMs>,
    ) -> bool {
        let at = self.open(queue);
        let queue = &mut self.queues[at];
        queue.list_it();
        match queue.facts.schedules.get_mut(&schedule.name) {
            Some(known) if known.schedule == *schedule => return false,
            Some(known) => {
                known.schedule = schedule.clone();
                known.next = next;
            }
            None => {
                let view = ScheduleView {
                    schedule: schedule.clone(),
                    paused: false,
                    next,
                    last: None,
                    fired: 0,
                    skipped: 0,
                };
                queue.facts.schedules.insert(schedule.name.clone(), view);
            }
        }
        queue.journal.note(|| Touch::Schedule(schedule.name.clone()));
        true
    }

    /// Forget a schedule; `false` if it was unknown.
    pub fn remove_schedule(&mut self, queue: &QueueName, name: &str) -> bool {
        let Some(at) = self.enter(queue) else { return false };
        let queue = &mut self.queues[at];
        queue.journal.note(|| Touch::Schedule(name.to_owned()));
        queue.facts.schedules.remove(name).is_some()
    }

    /// Stop or start a schedule; `false` if it is unknown.
    pub fn pause_schedule(
        &mut self,
        queue: &QueueName,
        name: &str,
        paused: bool,
        next: Option<UnixMs>,
    ) -> bool {
        let Some(at) = self.enter(queue) else { return false };
        let queue = &mut self.queues[at];
        let Some(view) = queue.facts.schedules.get_mut(name) else { return false };
        view.paused = paused;
        view.next = next;
        queue.journal.note(|| Touch::Schedule(name.to_owned()));
        true
    }

    /// A queue's schedules, by name.
    #[must_use]
    pub fn schedules(&self, queue: &QueueName) -> Vec<ScheduleView> {
        let Some(at) = self.at(queue) else { return Vec::new() };
        self.queues[at].facts.schedules.values().cloned().collect()
    }

    /// The schedules that are due now, and when the next of the others is.
    #[must_use]
    pub fn due_schedules(&self, queue: &QueueName, limit: usize, now_us: u64) -> DueSchedules {
        let now = Now(now_us).ms();
        let mut active: Vec<(UnixMs, &ScheduleView)> = match self.at(queue) {
            Some(at) => self.queues[at]
                .facts
                .schedules
                .values()
                .filter(|view| !view.paused)
                .filter_map(|view| Some((view.next?, view)))
                .collect(),
            None => Vec::new(),
        };
        active.sort_by(|a, b| (a.0, &a.1.schedule.name).cmp(&(b.0, &b.1.schedule.name)));
        let due = active.iter().take(limit).take_while(|(next, _)| *next <= now).count();
        DueSchedules {
            now,
            due: active[..due].iter().map(|(_, view)| (*view).clone()).collect(),
            next: active.get(due).map(|(next, _)| *next),
        }
    }

    /// Submit what a schedule fires and set its next fire, if nobody else did.
    pub fn fire(
        &mut self,
        queue: &QueueName,
        fire: &Fire,
        now_us: u64,
    ) -> Result<FireAnswer, QueueError> {
        let now = Now(now_us);
        let records =
            fire.fires.iter().map(|(_, task)| encode(task)).collect::<Result<Vec<_>, _>>()?;
        let Some(at) = self.enter(queue) else { return Ok(FireAnswer::Unknown) };
        let Some(view) = self.queues[at].facts.schedules.get(&fire.schedule) else {
            return Ok(FireAnswer::Unknown);
        };
        if !fire.by_hand && (view.paused || view.next != fire.expected) {
            return Ok(FireAnswer::Superseded);
        }
        let last = view.last.map(|last| last.task);
        let overlaps = fire.exclusive && last.is_some_and(|id| self.queues[at].is_open(id, now));
        // Of several fires of an exclusive schedule the first runs, and the others overlap it.
        let takes = match (overlaps, fire.exclusive) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => fire.fires.len(),
        };
        let mut new = 0;
        for ((_, task), record) in fire.fires.iter().zip(&records).take(takes) {
            let home = self.open(&task.queue);
            let answer = self.submit_one(home, task, record, &mut 0, true, now);
            new += u32::from(answer.is_new());
            self.calm(home, now);
        }
        let taken = &fire.fires[..takes.min(fire.fires.len())];
        let queue = &mut self.queues[at];
        if let Some(view) = queue.facts.schedules.get_mut(&fire.schedule) {
            if !fire.by_hand {
                view.next = fire.next;
            }
            view.fired += taken.len() as u64;
            view.skipped += (fire.fires.len() - taken.len()) as u64;
            if let Some((time, task)) = taken.last() {
                view.last = Some(LastFire { at: *time, task: task.id });
            }
        }
        queue.journal.note(|| Touch::Schedule(fire.schedule.clone()));
        Ok(if overlaps { FireAnswer::Overlapping } else { FireAnswer::Fired(new) })
    }
}

impl Queue {
    /// Whether a task is there and has not ended.
    fn is_open(&self, id: TaskId, now: Now) -> bool {
        self.kept(id, now).is_some_and(|kept| !kept.place.has_ended())
    }
}
