//! Schedules: a fire is taken if the next fire is still the one it was computed from.

use bulkhead_core::{QueueName, Schedule, TaskId, UnixMs};

use super::journal::Touch;
use super::queue::Queue;
use super::submit::encode;
use super::{Machine, Now};
use crate::error::QueueError;
use crate::schedule::{DueSchedules, Fire, FireAnswer, LastFire, ScheduleView};
use crate::view::SubmitAnswer;

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
        let mut last = view.last;
        let (mut new, mut skipped, mut taken) = (0, 0, false);
        for (behind, ((time, task), record)) in (0i64..).zip(fire.fires.iter().zip(&records)) {
            let previous = last.map(|last| last.task).filter(|previous| *previous != task.id);
            if fire.exclusive && previous.is_some_and(|id| self.queues[at].is_open(id, now)) {
                skipped += 1;
                continue;
            }
            let answer = self.submit_one(at, task, record, behind, true, now);
            new += u32::from(answer.is_new());
            self.calm(at, now);
            if answer.is_new() || answer == SubmitAnswer::Known {
                last = Some(LastFire { at: *time, task: task.id });
                taken = true;
            }
        }
        let queue = &mut self.queues[at];
        if let Some(view) = queue.facts.schedules.get_mut(&fire.schedule) {
            if !fire.by_hand {
                view.next = fire.next;
            }
            view.fired += u64::from(new);
            view.skipped += skipped;
            view.last = last;
        }
        queue.journal.note(|| Touch::Schedule(fire.schedule.clone()));
        if skipped > 0 && !taken {
            return Ok(FireAnswer::Overlapping);
        }
        Ok(FireAnswer::Fired(new))
    }
}

impl Queue {
    /// Whether a task is there and has not ended.
    fn is_open(&self, id: TaskId, now: Now) -> bool {
        self.kept(id, now).is_some_and(|kept| !kept.place.has_ended())
    }
}
