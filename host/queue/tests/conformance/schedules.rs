//! Schedules: each fire happens once, whoever computes it.

use bulkhead_core::{
    Missed, Payload, Schedule, State, Task, TaskId, Template, Terms, Timing, UnixMs,
};
use bulkhead_queue::{Fire, FireAnswer, LastFire, NewTask, ScheduleView};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    a_schedule_is_kept_and_forgotten,
    another_definition_keeps_pause_and_history,
    what_is_due_is_told_with_the_brokers_time,
    a_fire_submits_its_task_and_sets_the_next,
    a_fire_happens_once_whoever_computes_it,
    several_missed_fires_go_in_one_call,
    fires_that_are_dropped_move_the_schedule_on,
    an_exclusive_fire_is_skipped_and_counted_while_the_last_ones_task_has_not_ended,
    a_fire_by_hand_leaves_the_next_fire_as_it_is,
    a_fire_by_hand_keeps_to_exclusiveness,
    a_paused_schedule_is_not_due,
    a_schedule_that_ended_is_not_due,
    tasks_are_listed_by_schedule,
    a_schedules_queue_is_known,
];

fn schedule(name: &str, interval_ms: u64) -> Schedule {
    Schedule {
        name: name.into(),
        timing: Timing::Every { interval_ms, jitter_ms: 0, start: 0 },
        exclusive: false,
        missed: Missed::Once,
        task: Template {
            task_type: of_type("a"),
            tenant: Default::default(),
            priority: Default::default(),
            payload: Payload::new(Payload::TEXT, "tick"),
            metadata: vec![("k".into(), "v".into())],
            limits: Default::default(),
            terms: Terms::default(),
        },
        origin: "api".into(),
    }
}

async fn put(talk: &Talk, name: &str, next: Option<UnixMs>) {
    assert!(talk.broker.put_schedule(&queue(), &schedule(name, HOUR_MS), next).await.unwrap());
}

async fn standing(talk: &Talk, name: &str) -> ScheduleView {
    let schedules = talk.broker.schedules(&queue()).await.unwrap();
    schedules.into_iter().find(|view| view.schedule.name == name).expect("a known schedule")
}

fn fired_by(name: &str, now: UnixMs) -> Task {
    let terms = Terms { schedule: Some(name.into()), ..Terms::default() };
    task_of(with("a", terms), now)
}

fn fire(name: &str, at: UnixMs, next: Option<UnixMs>) -> Fire {
    Fire {
        schedule: name.into(),
        expected: Some(at),
        next,
        fires: vec![(at, fired_by(name, at))],
        exclusive: false,
        by_hand: false,
    }
}

async fn a_schedule_is_kept_and_forgotten(talk: Talk) {
    assert!(talk.broker.schedules(&queue()).await.unwrap().is_empty());
    put(&talk, "nightly", Some(9_000)).await;
    put(&talk, "hourly", None).await;
    let schedules = talk.broker.schedules(&queue()).await.unwrap();
    let names: Vec<&str> = schedules.iter().map(|view| view.schedule.name.as_str()).collect();
    assert_eq!(names, ["hourly", "nightly"], "by name");
    let expected = ScheduleView {
        schedule: schedule("nightly", HOUR_MS),
        paused: false,
        next: Some(9_000),
        last: None,
        fired: 0,
        skipped: 0,
    };
    assert_eq!(schedules[1], expected);
    assert!(talk.broker.remove_schedule(&queue(), "nightly").await.unwrap());
    assert!(!talk.broker.remove_schedule(&queue(), "nightly").await.unwrap());
    assert_eq!(talk.broker.schedules(&queue()).await.unwrap().len(), 1);
    assert!(talk.broker.due_schedules(&queue(), 10).await.unwrap().due.is_empty());
    assert!(talk.broker.schedules(&queue_named("other")).await.unwrap().is_empty());
}

async fn another_definition_keeps_pause_and_history(talk: Talk) {
    put(&talk, "s", Some(9_000)).await;
    talk.broker.fire(&queue(), &fire("s", 9_000, Some(10_000))).await.unwrap();
    talk.broker.pause_schedule(&queue(), "s", true, Some(10_000)).await.unwrap();
    let before = standing(&talk, "s").await;
    let same = schedule("s", HOUR_MS);
    assert!(!talk.broker.put_schedule(&queue(), &same, Some(77_000)).await.unwrap());
    assert_eq!(standing(&talk, "s").await, before, "the same definition keeps its next fire");
    let other = schedule("s", DAY_MS);
    assert!(talk.broker.put_schedule(&queue(), &other, Some(77_000)).await.unwrap());
    let expected = ScheduleView { schedule: other, next: Some(77_000), ..before };
    assert_eq!(standing(&talk, "s").await, expected);
    assert!(expected.paused && expected.fired == 1 && expected.last.is_some());
}

async fn what_is_due_is_told_with_the_brokers_time(talk: Talk) {
    let now = talk.now();
    put(&talk, "late", Some(now - MINUTE_MS)).await;
    put(&talk, "soon", Some(now + MINUTE_MS)).await;
    put(&talk, "later", Some(now + HOUR_MS)).await;
    put(&talk, "never", None).await;
    let names = |due: &[ScheduleView]| -> Vec<String> {
        due.iter().map(|view| view.schedule.name.clone()).collect()
    };
    let due = talk.broker.due_schedules(&queue(), 10).await.unwrap();
    assert_eq!((names(&due.due), due.next), (vec!["late".into()], Some(now + MINUTE_MS)));
    assert!(due.now >= now && due.now <= talk.now());
    talk.pass(2 * MINUTE_MS);
    let due = talk.broker.due_schedules(&queue(), 10).await.unwrap();
    assert_eq!((due.due.len(), due.next), (2, Some(now + HOUR_MS)));
    assert_eq!(talk.broker.due_schedules(&queue(), 1).await.unwrap().due.len(), 1);
}

async fn a_fire_submits_its_task_and_sets_the_next(talk: Talk) {
    let at = talk.now() - 5;
    put(&talk, "s", Some(at)).await;
    let fire = fire("s", at, Some(at + HOUR_MS));
    let task = fire.fires[0].1.clone();
    assert_eq!(talk.broker.fire(&queue(), &fire).await.unwrap(), FireAnswer::Fired(1));
    assert_eq!(talk.view(task.id).await.task.unwrap(), task);
    let view = standing(&talk, "s").await;
    assert_eq!((view.next, view.fired, view.skipped), (Some(at + HOUR_MS), 1, 0));
    assert_eq!(view.last, Some(LastFire { at, task: task.id }));
    assert!(talk.broker.due_schedules(&queue(), 10).await.unwrap().due.is_empty());
    assert_eq!(talk.claim_one().await.id, task.id);
    talk.is_sound().await;
}

async fn a_fire_happens_once_whoever_computes_it(talk: Talk) {
    let at = talk.now();
    put(&talk, "s", Some(at)).await;
    let fire = fire("s", at, Some(at + HOUR_MS));
    let queue = queue();
    let (one, two) = tokio::join!(talk.broker.fire(&queue, &fire), talk.broker.fire(&queue, &fire));
    let mut answers = [one.unwrap(), two.unwrap()];
    answers.sort_by_key(|answer| *answer == FireAnswer::Superseded);
    assert_eq!(answers, [FireAnswer::Fired(1), FireAnswer::Superseded]);
    assert_eq!(talk.drain(10).await.len(), 1);
    let unknown = Fire { schedule: "unknown".into(), ..fire };
    assert_eq!(talk.broker.fire(&queue, &unknown).await.unwrap(), FireAnswer::Unknown);
    assert_eq!(standing(&talk, "s").await.fired, 1);
}

async fn several_missed_fires_go_in_one_call(talk: Talk) {
    let at = talk.now() - 3 * HOUR_MS;
    put(&talk, "s", Some(at)).await;
    let times = [at, at + HOUR_MS, at + 2 * HOUR_MS];
    let fires: Vec<(UnixMs, Task)> = times.map(|at| (at, fired_by("s", at))).into();
    let last = LastFire { at: times[2], task: fires[2].1.id };
    // One of them was submitted already, with the id that its time gives it.
    let known: NewTask = NewTask { id: Some(fires[0].1.id), ..new_task("a") };
    talk.submit(known).await;
    let fire = Fire { fires, ..fire("s", at, Some(at + 4 * HOUR_MS)) };
    assert_eq!(talk.broker.fire(&queue(), &fire).await.unwrap(), FireAnswer::Fired(2));
    let view = standing(&talk, "s").await;
    assert_eq!((view.last, view.next), (Some(last), Some(at + 4 * HOUR_MS)));
    assert_eq!(talk.drain(10).await.len(), 3);
}

async fn fires_that_are_dropped_move_the_schedule_on(talk: Talk) {
    let at = talk.now() - DAY_MS;
    put(&talk, "s", Some(at)).await;
    let fire = Fire { fires: Vec::new(), ..fire("s", at, Some(talk.now() + HOUR_MS)) };
    assert_eq!(talk.broker.fire(&queue(), &fire).await.unwrap(), FireAnswer::Fired(0));
    let view = standing(&talk, "s").await;
    assert_eq!((view.next, view.last), (fire.next, None));
    assert!(talk.claim(10).await.is_empty());
}

async fn an_exclusive_fire_is_skipped_and_counted_while_the_last_ones_task_has_not_ended(
    talk: Talk,
) {
    let at = talk.now();
    put(&talk, "s", Some(at)).await;
    let fire_at = |n: u64| Fire {
        exclusive: true,
        ..fire("s", at + n * HOUR_MS, Some(at + (n + 1) * HOUR_MS))
    };
    let answer = async |n| talk.broker.fire(&queue(), &fire_at(n)).await.unwrap();
    assert_eq!(answer(0).await, FireAnswer::Fired(1));
    assert_eq!(answer(1).await, FireAnswer::Overlapping, "it is pending");
    let view = standing(&talk, "s").await;
    assert_eq!((view.next, view.fired, view.skipped), (Some(at + 2 * HOUR_MS), 1, 1));
    let claim = talk.claim_one().await;
    assert_eq!(answer(2).await, FireAnswer::Overlapping, "it runs");
    talk.settle(retry(&claim, MINUTE_MS)).await;
    assert_eq!(answer(3).await, FireAnswer::Overlapping, "it waits for its retry");
    talk.pass(2 * MINUTE_MS);
    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    assert_eq!(answer(4).await, FireAnswer::Fired(1));
    let claim = talk.claim_one().await;
    talk.settle(done_for(&claim, 0)).await;
    assert_eq!(answer(5).await, FireAnswer::Fired(1), "a forgotten task has ended");
    let view = standing(&talk, "s").await;
    assert_eq!((view.next, view.fired, view.skipped), (Some(at + 6 * HOUR_MS), 3, 3));
}

async fn a_fire_by_hand_leaves_the_next_fire_as_it_is(talk: Talk) {
    let at = talk.now() + HOUR_MS;
    put(&talk, "s", Some(at)).await;
    let by_hand = Fire { expected: None, by_hand: true, ..fire("s", talk.now(), None) };
    assert_eq!(talk.broker.fire(&queue(), &by_hand).await.unwrap(), FireAnswer::Fired(1));
    assert_eq!(standing(&talk, "s").await.next, Some(at));
    let again = Fire { fires: vec![(talk.now(), fired_by("s", talk.now()))], ..by_hand.clone() };
    assert_eq!(talk.broker.fire(&queue(), &again).await.unwrap(), FireAnswer::Fired(1));
    assert_eq!(talk.drain(10).await.len(), 2);
    talk.broker.pause_schedule(&queue(), "s", true, Some(at)).await.unwrap();
    let paused = Fire { fires: vec![(talk.now(), fired_by("s", talk.now()))], ..by_hand };
    assert_eq!(talk.broker.fire(&queue(), &paused).await.unwrap(), FireAnswer::Fired(1));
}

async fn a_fire_by_hand_keeps_to_exclusiveness(talk: Talk) {
    let at = talk.now();
    put(&talk, "s", Some(at)).await;
    talk.broker.fire(&queue(), &fire("s", at, Some(at + HOUR_MS))).await.unwrap();
    let by_hand = Fire { exclusive: true, by_hand: true, ..fire("s", at + 1, None) };
    assert_eq!(talk.broker.fire(&queue(), &by_hand).await.unwrap(), FireAnswer::Overlapping);
    assert_eq!(standing(&talk, "s").await.next, Some(at + HOUR_MS));
}

async fn a_paused_schedule_is_not_due(talk: Talk) {
    let at = talk.now();
    put(&talk, "s", Some(at)).await;
    assert!(talk.broker.pause_schedule(&queue(), "s", true, Some(at)).await.unwrap());
    assert!(standing(&talk, "s").await.paused);
    let due = talk.broker.due_schedules(&queue(), 10).await.unwrap();
    assert!(due.due.is_empty() && due.next.is_none());
    talk.pass(3 * HOUR_MS);
    let next = talk.now() + HOUR_MS;
    assert!(talk.broker.pause_schedule(&queue(), "s", false, Some(next)).await.unwrap());
    let view = standing(&talk, "s").await;
    assert_eq!((view.paused, view.next), (false, Some(next)), "nothing is made up for");
    let due = talk.broker.due_schedules(&queue(), 10).await.unwrap();
    assert_eq!((due.due.len(), due.next), (0, Some(next)));
    assert!(!talk.broker.pause_schedule(&queue(), "unknown", true, None).await.unwrap());
}

async fn a_schedule_that_ended_is_not_due(talk: Talk) {
    let at = talk.now();
    put(&talk, "s", Some(at)).await;
    assert_eq!(
        talk.broker.fire(&queue(), &fire("s", at, None)).await.unwrap(),
        FireAnswer::Fired(1)
    );
    talk.pass(DAY_MS);
    let due = talk.broker.due_schedules(&queue(), 10).await.unwrap();
    assert!(due.due.is_empty() && due.next.is_none());
    assert_eq!(standing(&talk, "s").await.next, None);
}

async fn tasks_are_listed_by_schedule(talk: Talk) {
    let at = talk.now();
    put(&talk, "s", Some(at)).await;
    let fire = fire("s", at, None);
    talk.broker.fire(&queue(), &fire).await.unwrap();
    talk.submit(new_task("a")).await;
    let filter = bulkhead_queue::ListFilter {
        schedule: Some("s".into()),
        ..bulkhead_queue::ListFilter::of(State::Pending)
    };
    let fired: TaskId = fire.fires[0].1.id;
    assert_eq!(talk.list_by(&filter).await, [fired]);
}

async fn a_schedules_queue_is_known(talk: Talk) {
    put(&talk, "s", None).await;
    assert_eq!(talk.broker.queues().await.unwrap(), [queue()]);
}
