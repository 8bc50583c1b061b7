//! What only Redis can show: records that others wrote, scripts that were flushed, a server
//! that forgets.

use std::collections::BTreeMap;

use bulkhead_core::{Failure, FailureKind, Outcome, Payload, State, TaskId};
use bulkhead_queue::{Broker as _, Day, End, FindingKind, NewTask, Settlement, UsageLine};

use crate::stage::Kind;
use crate::talk::{Say, Talk};
use crate::words::*;

/// Overwrite a task's record.
fn damage(talk: &Talk, id: TaskId, bytes: &[u8]) {
    let key = format!("{{bulkhead:default}}:task:{id}");
    talk.server().run(&[b"SET", key.as_bytes(), bytes]);
}

fn set(talk: &Talk, name: &str, value: &str) {
    talk.server().run(&[b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()]);
}

/// How often the server was asked what while something was done.
async fn calls(talk: &Talk, done: impl Future) -> BTreeMap<String, u64> {
    talk.server().run(&[b"CONFIG", b"RESETSTAT"]);
    done.await;
    let mut connection = talk.server().connection();
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    let ours = |name: &str| !["config", "info", "hello", "client"].iter().any(|n| name.contains(n));
    calls.filter(|(name, _)| ours(name)).collect()
}

#[tokio::test]
async fn metering_costs_as_many_calls_for_ten_attempts_as_for_one() {
    let talk = Talk::on(Kind::Redis).await;
    let mut counted = Vec::new();
    for attempts in [1, 1, 10] {
        talk.submit_many((0..attempts).map(|_| new_task("a")).collect()).await;
        let settle: Vec<_> = talk.claim(10).await.iter().map(done).collect();
        assert_eq!(settle.len(), attempts);
        let stepping = talk.say(Say { settle, ..Say::default() });
        counted.push(calls(&talk, stepping).await["hincrby"]);
    }
    // The first one opened the day's row.
    assert_eq!(counted[0], counted[1] + 1);
    assert_eq!(counted[1], counted[2]);
}

#[tokio::test]
async fn types_for_single_tenants_cost_other_steps_nothing() {
    let talk = Talk::on(Kind::Redis).await;
    talk.submit_many((0..9).map(|_| new_task("a")).collect()).await;
    // The first call teaches the server the script; claims that leave room pass nothing on.
    talk.claim_of(&["a"], 9).await;
    talk.submit_many((0..2).map(|_| new_task("a")).collect()).await;
    let before = calls(&talk, talk.claim_of(&["a"], 3)).await;
    assert!(talk.claim_of(&["a:nobody", "b:nobody"], 1).await.is_empty());
    talk.submit_many((0..2).map(|_| new_task("a")).collect()).await;
    let after = calls(&talk, talk.claim_of(&["a"], 3)).await;
    assert_eq!((before["evalsha"], before["zrange"] > 0), (1, true));
    assert_eq!(after, before);
}

/// A day that has as many rows of usage as it may.
#[tokio::test]
async fn usage_beyond_the_rows_of_a_day_is_its_tenants_and_then_everybodys() {
    let talk = Talk::on(Kind::Redis).await;
    talk.pass((DAY_MS - talk.now() % DAY_MS) + DAY_MS / 2);
    let day = Day::of(talk.now());
    let key = format!("{{bulkhead:default}}:usage:{day}");
    let rows = async || {
        let rows = talk.broker.usage(&queue(), day, day).await.unwrap();
        let rows = rows.into_iter().map(|row| (row.line.to_string(), row.usage.attempts));
        rows.collect::<Vec<_>>()
    };
    let settle = async |tenant: &str, plugin: &str| {
        talk.submit(of_tenant("a", tenant)).await;
        let claim = talk.claim_one().await;
        let plugin = plugin.parse().ok();
        talk.settle(Settlement { plugin, ..done(&claim) }).await;
    };
    settle("acme", "known").await;
    let full = UsageLine::DAY_MAX.to_string();
    talk.server().run(&[b"HSET", key.as_bytes(), b"rows", full.as_bytes()]);
    settle("acme", "known").await;
    settle("acme", "new").await;
    settle("acme", "newer").await;
    let of_acme = [("acme:*:*".to_owned(), 2), ("acme:known:a".to_owned(), 2)];
    assert_eq!(rows().await, of_acme);
    let full = (UsageLine::DAY_MAX + UsageLine::TENANTS_MAX).to_string();
    talk.server().run(&[b"HSET", key.as_bytes(), b"rows", full.as_bytes()]);
    settle("acme", "newest").await;
    settle("late", "p").await;
    settle("later", "p").await;
    let all = ["*:*:*", "acme:*:*", "acme:known:a"].map(str::to_owned).into_iter();
    assert_eq!(rows().await, all.zip([2, 3, 2]).collect::<Vec<_>>());
}

#[tokio::test]
async fn hostile_records_are_claimed_as_unreadable_and_buried_with_their_bytes() {
    let talk = Talk::on(Kind::Redis).await;
    let hostile: [&[u8]; 5] =
        [b"", b"\xc1", &[0x91; 5_000], b"\xdd\xff\xff\xff\xff", b"plain text"];
    for bytes in hostile {
        let id = talk.submit(new_task("a")).await;
        damage(&talk, id, bytes);
        let claim = talk.claim_one().await;
        let unreadable = claim.task.as_ref().unwrap_err().clone();
        let known = task_of(
            NewTask {
                id: Some(id),
                payload: Payload::new(Payload::BINARY, unreadable.bytes.clone()),
                ..new_task("unreadable")
            },
            0,
        );
        let failure = Failure::new(FailureKind::Unreadable, unreadable.to_string());
        let report = report(1, Outcome::Failed(failure));
        let end = End::Unreadable { task: Box::new(known), report, retention_ms: DAY_MS };
        talk.settle(Settlement { token: claim.token, end, plugin: None }).await;
        let view = talk.view(id).await;
        assert_eq!(view.state, State::Failed);
        assert_eq!(view.task.unwrap().payload.data, bytes);
    }
    assert_eq!(talk.stats().await.failed, 5);
}

#[tokio::test]
async fn a_hostile_record_whose_lease_or_delay_ends_becomes_a_dead_letter() {
    let talk = Talk::on(Kind::Redis).await;
    let leased = talk.submit(new_task("a")).await;
    talk.claim_one().await;
    let delayed = talk.submit(with("a", starting(talk.now() + MINUTE_MS))).await;
    for id in [leased, delayed] {
        damage(&talk, id, b"\x93\x01");
    }
    talk.pass(HOUR_MS);
    for _ in 0..3 {
        assert!(talk.claim(1).await.is_empty());
    }
    for id in [leased, delayed] {
        let view = talk.view(id).await;
        assert!(view.state == State::Failed && view.task.is_err());
    }
    assert_eq!(talk.stats().await.failed, 2);
}

/// A task that was submitted to another queue and not carried there.
struct OnItsWay {
    id: TaskId,
    /// Where its record lies.
    key: String,
    record: redis::Value,
    event: redis::Value,
}

const OUTBOX: &[u8] = b"{bulkhead:default}:outbox";

impl OnItsWay {
    /// Complete a task that submits one to the queue `other`; its host dies.
    async fn submit(talk: &Talk) -> Self {
        talk.submit(new_task("a")).await;
        let parent = talk.claim_one().await;
        let new = NewTask { queue: queue_named("other"), ..new_task("b") };
        let child = task_of(new, talk.now());
        let id = child.id;
        let settle = vec![done_with(&parent, DAY_MS, vec![child])];
        assert!(talk.say(Say { settle, ..Say::default() }).await.outbox);
        let key = format!("{{bulkhead:default}}:sent:other/{id}");
        let record = talk.server().run(&[b"GET", key.as_bytes()]);
        let event = talk.server().run(&[b"ZRANGE", OUTBOX, b"0", b"0"]);
        let redis::Value::Array(mut events) = event else { panic!("{event:?}") };
        Self { id, key, record, event: events.remove(0) }
    }

    /// Undo what a carrier does last.
    fn put_back(&self, talk: &Talk, with_record: bool) {
        let (redis::Value::BulkString(record), redis::Value::BulkString(event)) =
            (&self.record, &self.event)
        else {
            panic!("{:?} {:?}", self.record, self.event)
        };
        if with_record {
            talk.server().run(&[b"SET", self.key.as_bytes(), record]);
        }
        talk.server().run(&[b"ZADD", OUTBOX, b"1", event]);
    }

    async fn state(&self, talk: &Talk) -> Option<State> {
        talk.find_in(&queue_named("other"), self.id).await.map(|view| view.state)
    }

    fn is_told_of(&self, talk: &Talk) -> bool {
        let keys = talk.server().keys();
        keys.contains(&self.key) || keys.iter().any(|key| key.as_bytes() == OUTBOX)
    }
}

#[tokio::test]
async fn a_child_of_another_queue_outlives_the_host_that_was_to_carry_it() {
    let talk = Talk::on(Kind::Redis).await;
    let child = OnItsWay::submit(&talk).await;
    assert_eq!(child.state(&talk).await, None);
    talk.is_sound().await;
    let another = talk.server().broker().await;
    assert_eq!(another.deliver(&queue()).await.unwrap(), 1);
    assert_eq!(child.state(&talk).await, Some(State::Pending));
    assert!(!child.is_told_of(&talk));
    talk.is_sound().await;
}

#[tokio::test]
async fn a_child_that_is_carried_twice_is_submitted_once() {
    let talk = Talk::on(Kind::Redis).await;
    let child = OnItsWay::submit(&talk).await;
    talk.deliver().await;
    assert_eq!(talk.claim_in(&queue_named("other"), 1).await.len(), 1);
    // The carrier died after the first of its writes, or after the second.
    for with_record in [true, false] {
        child.put_back(&talk, with_record);
        talk.deliver().await;
        assert_eq!(child.state(&talk).await, Some(State::Running));
        assert!(!child.is_told_of(&talk));
    }
    let stats = talk.broker.stats(&queue_named("other")).await.unwrap();
    assert_eq!(stats.totals["submitted"], 1);
    talk.is_sound().await;
}

#[tokio::test]
async fn a_child_that_no_event_tells_of_is_found_and_carried() {
    let talk = Talk::on(Kind::Redis).await;
    let child = OnItsWay::submit(&talk).await;
    talk.server().run(&[b"DEL", OUTBOX]);
    talk.deliver().await;
    assert_eq!(child.state(&talk).await, None);
    let findings = talk.broker.examine(&queue(), true).await.unwrap();
    assert_eq!((findings.len(), findings[0].kind), (1, FindingKind::Leaked), "{findings:?}");
    assert_eq!((findings[0].task, findings[0].repaired), (Some(child.id), true));
    assert_eq!(child.state(&talk).await, Some(State::Pending));
    talk.is_sound().await;
}

#[tokio::test]
async fn scripts_survive_being_flushed() {
    let talk = Talk::on(Kind::Redis).await;
    talk.submit(new_task("a")).await;
    talk.server().run(&[b"SCRIPT", b"FLUSH"]);
    let claim = talk.claim_one().await;
    talk.server().run(&[b"SCRIPT", b"FLUSH"]);
    talk.settle(done(&claim)).await;
}

#[tokio::test]
async fn the_check_warns_of_a_server_that_forgets() {
    let talk = Talk::on(Kind::Redis).await;
    set(&talk, "appendonly", "yes");
    assert_eq!(talk.broker.check().await.unwrap(), Vec::<String>::new());
    set(&talk, "maxmemory", "100mb");
    set(&talk, "maxmemory-policy", "allkeys-lru");
    set(&talk, "appendonly", "no");
    let warnings = talk.broker.check().await.unwrap().join("\n");
    assert!(warnings.contains("noeviction") && warnings.contains("appendonly"), "{warnings}");
}
