//! Hostile bytes in Redis, and extreme values from producers and guests. The host stays
//! alive, serves everybody else, and says of each task what is wrong with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulkhead_core::{
    Backoff, Digest, FailureKind, LimitsRequest, Payload, RetryPolicy, RetryRequest, State, TaskId,
    Terms,
};
use bulkhead_queue::{ListFilter, NewTask};
use bulkhead_tests::{Site, eventually, failure, task};

const PREFIX: &str = "{bulkhead:default}";

/// A year, in milliseconds.
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

fn key(id: TaskId) -> String {
    format!("{PREFIX}:task:{id}")
}

fn ready(task_type: &str) -> String {
    format!("{PREFIX}:ready:{task_type}:default")
}

fn set(redis: &mut redis::Connection, id: TaskId, bytes: &[u8]) {
    redis::cmd("SET").arg(key(id)).arg(bytes).exec(redis).expect("set");
}

fn record(redis: &mut redis::Connection, id: TaskId) -> Vec<u8> {
    redis::cmd("GET").arg(key(id)).query(redis).expect("a record")
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500 million")
}

/// The host answers within the time that an idle one needs, and no lease is left behind.
async fn all_is_well(site: &Site) {
    let view = site.ended("echo", "alive").await;
    assert_eq!(view.state, State::Completed, "{view:?}");
    eventually("nothing runs", || async { (site.stats().await.running == 0).then_some(()) }).await;
}

#[tokio::test]
async fn unreadable_records_become_dead_letters_with_a_reason() {
    let site = Site::new().await;
    let mut redis = site.server.connection();
    let good = record(&mut redis, site.submit("noop", "x").await);
    let followed_by = |tail: &[u8]| [&good[..], tail].concat();
    let head_and = |tail: &[u8]| [b"\x94\x01\xa4noop\xa7default\x05", tail].concat();
    let hostile: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "bad head"),
        (b"\xc1".to_vec(), "bad head"),
        (b"not MessagePack at all".to_vec(), "bad head"),
        (vec![0x91; 1_000_000], "bad head"),
        (vec![0x81; 1_000_000], "bad head"),
        (b"\xdd\xff\xff\xff\xff".to_vec(), "bad head"),
        (b"\xdb\xff\xff\xff\xff".to_vec(), "bad head"),
        (b"\xc6\xff\xff\xff\xff".to_vec(), "bad head"),
        (b"\xdf\xff\xff\xff\xff".to_vec(), "bad head"),
        (b"\x94\x63\xa4noop\xa7default\x05\x90".to_vec(), "version 99"),
        (b"\x94\x01\xa4n\x1b[m\xa7default\x05".to_vec(), "bad envelope"),
        (head_and(b""), "bad envelope"),
        (head_and(b"\x91\xdd\xff\xff\xff\xff"), "bad envelope"),
        (head_and(&[0x91; 500_000]), "bad envelope"),
        (head_and(b"\x99\x00\xa0\xc6\xff\xff\xff\xff"), "bad envelope"),
        (good[..good.len() - 3].to_vec(), "bad envelope"),
        (followed_by(&[0x91; 500_000]), "bad history entry"),
        (followed_by(b"\xdf\xff\xff\xff\xff"), "bad history entry"),
        (followed_by(&[0xc0; 100]), "bad history entry"),
    ];
    let mut expected = Vec::new();
    for (bytes, says) in hostile {
        let id = site.submit("noop", "x").await;
        set(&mut redis, id, &bytes);
        expected.push((id, bytes, says));
    }
    let ordinary = site.submit_many(200, "echo", "x").await;
    let mut host = site.host("host", &[]).await;
    for (id, bytes, says) in &expected {
        let view = site.wait(*id).await;
        assert_eq!(view.state, State::Failed, "{view:?}");
        let failure = failure(&view);
        assert_eq!(failure.kind, FailureKind::Unreadable);
        assert!(failure.message.contains("cannot be read"), "{}", failure.message);
        assert!(failure.message.contains(says), "`{says}` is not in: {}", failure.message);
        assert_eq!(view.last_report().expect("a report").digest, Digest::default());
        let kept = view.task.expect("a new record").payload.data;
        assert_eq!(kept, bytes[..bytes.len().min(64 << 10)], "the evidence is kept");
    }
    for id in ordinary {
        assert_eq!(site.wait(id).await.state, State::Completed);
    }
    all_is_well(&site).await;
    let stats = site.stats().await;
    assert_eq!(stats.failed, expected.len() as u64, "{stats:?}");
    let filter = ListFilter { limit: 1_000, ..ListFilter::of(State::Failed) };
    let dead =
        site.client.broker().list(&Default::default(), &filter, None).await.expect("a list").tasks;
    assert_eq!(dead.len(), expected.len());
    host.signal("TERM");
    assert!(host.wait(Duration::from_secs(20)).success());
}

/// Every byte of a record damaged in several ways: the task ends, or waits under the
/// name of a type that the damage made up.
#[tokio::test]
async fn a_record_with_one_wrong_byte_hurts_nobody_else() {
    let site = Site::new().await;
    let mut redis = site.server.connection();
    let mut new = task("noop", "payload");
    new.metadata = vec![("key".into(), "value".into())];
    new.limits = LimitsRequest { fuel: Some(1 << 40), wall_ms: Some(2_000), ..Default::default() };
    let policy = RetryPolicy {
        max_attempts: 2,
        backoff: Backoff::Exponential { initial_ms: 10, multiplier: 2.0, max_ms: 20 },
        ..Default::default()
    };
    new.terms.retry = Some(policy.into());
    new.terms.retention_ms = Some(600_000);
    let first = site.client.submit(new.clone()).await.expect("submitted").id;
    let good = record(&mut redis, first);
    let mut damaged = vec![first];
    for at in 0..good.len() {
        for byte in [0x00, 0x7f, 0x80, 0xff, good[at] ^ 1] {
            let id = site.client.submit(new.clone()).await.expect("submitted").id;
            let mut bytes = good.clone();
            bytes[at] = byte;
            set(&mut redis, id, &bytes);
            damaged.push(id);
        }
    }
    let _host = site.host("host", &[]).await;
    let ordinary = site.submit_many(200, "echo", "x").await;
    for id in ordinary {
        assert_eq!(site.wait(id).await.state, State::Completed);
    }
    eventually("every damaged task has ended or changed its type", || async {
        let stats = site.stats().await;
        let noop = stats.by_type.iter().find(|depth| depth.task_type == "noop");
        let waiting = noop.map_or(0, |depth| depth.pending) + stats.scheduled + stats.running;
        (waiting == 0).then_some(())
    })
    .await;
    let (mut ended, mut renamed) = (0, 0);
    for id in damaged {
        // Damage to its retention may have let the record go already.
        let seen = site.client.broker().inspect(&Default::default(), &[id]).await.expect("seen");
        match seen.into_iter().next().flatten() {
            Some(view) if view.state == State::Pending => {
                let task = view.task.expect("readable, or it were a dead letter");
                assert_ne!(task.task_type.as_str(), "noop");
                renamed += 1;
            }
            Some(view) => {
                assert!(view.state.is_terminal(), "{view:?}");
                ended += 1;
            }
            None => ended += 1,
        }
    }
    assert!(renamed < 20 && ended > 400, "{ended} ended, {renamed} renamed");
    all_is_well(&site).await;
}

#[tokio::test]
async fn wrong_types_and_ghosts_do_no_harm() {
    let site = Site::new().await;
    let mut redis = site.server.connection();
    // Records replaced by lists, sets and hashes, before and after a claim.
    let listed = site.submit("noop", "").await;
    let hashed = site.submit("noop", "").await;
    let redis_do = |redis: &mut redis::Connection, parts: &[&str]| {
        let mut command = redis::cmd(parts[0]);
        parts[1..].iter().for_each(|part| {
            command.arg(*part);
        });
        command.exec(redis).expect("a command");
    };
    redis_do(&mut redis, &["DEL", &key(listed), &key(hashed)]);
    redis_do(&mut redis, &["RPUSH", &key(listed), "a"]);
    redis_do(&mut redis, &["HSET", &key(hashed), "a", "b"]);
    // Ids that never were tasks: a UUID, no UUID, no text, of the length of a UUID.
    let ghost = uuid::Uuid::now_v7().to_string();
    let odd = "z".repeat(36);
    let near = format!("1-2-3-4-{}", "5".repeat(28));
    for id in [ghost.as_str(), "no-id", "", "\u{7f}:::\n", &odd] {
        redis_do(&mut redis, &["ZADD", &ready("noop"), "1", id]);
    }
    // The same with a record that can be read.
    let good = record(&mut redis, site.submit("noop", "").await);
    for id in ["no-id-but-a-record", &"y".repeat(36), &near, &"x".repeat(300)] {
        redis_do(&mut redis, &["ZADD", &ready("noop"), "2", id]);
        let forged = format!("{PREFIX}:task:{id}");
        redis::cmd("SET").arg(forged).arg(&good).exec(&mut redis).expect("set");
    }
    let ordinary = site.submit_many(50, "noop", "").await;
    let mut host = site.host("host", &["--lease", "1s"]).await;
    for id in ordinary {
        let view = site.wait(id).await;
        assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
    }
    // Taken away while an attempt runs: its end has nowhere to be recorded.
    let slow = site.submit("sleep", "700").await;
    let gone = site.submit("sleep", "700").await;
    site.running(slow).await;
    site.running(gone).await;
    redis_do(&mut redis, &["DEL", &key(slow), &key(gone)]);
    redis_do(&mut redis, &["SADD", &key(slow), "a"]);
    all_is_well(&site).await;

    let stats = site.stats().await;
    assert_eq!((stats.pending, stats.running), (0, 0), "{stats:?}");
    assert!(stats.totals["ghosts"] >= 7, "{stats:?}");
    for state in State::ALL {
        let filter = ListFilter { limit: 1_000, ..ListFilter::of(state) };
        let listed = site.client.broker().list(&Default::default(), &filter, None).await;
        assert!(listed.is_ok(), "{state}: {listed:?}");
    }
    host.signal("TERM");
    assert!(host.wait(Duration::from_secs(20)).success(), "{}", host.log());
}

/// Numbers at the end of their range, from producers who may mean them.
#[tokio::test]
async fn extreme_numbers_mean_very_long_and_not_nonsense() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    let submit = async |new: NewTask| site.client.submit(new).await.expect("submitted").id;

    let kept = NewTask {
        terms: Terms { retention_ms: Some(u64::MAX), ..Terms::default() },
        ..task("noop", "")
    };
    let view = site.wait(submit(kept.clone()).await).await;
    assert_eq!(view.state, State::Completed);
    assert!(view.kept_until.is_some_and(|until| until > now() + 100 * YEAR_MS), "{view:?}");

    let later =
        NewTask { terms: Terms { not_before: Some(u64::MAX), ..kept.terms.clone() }, ..kept };
    let later = site.view(submit(later).await).await;
    assert_eq!(later.state, State::Scheduled, "{later:?}");
    assert!(later.due_at.is_some_and(|due| due > now() + 100 * YEAR_MS), "{later:?}");
    let answer = site.client.broker().cancel(&Default::default(), &[later.id], u64::MAX).await;
    answer.expect("cancelled");
    assert_eq!(site.view(later.id).await.state, State::Cancelled);

    // A guest that asks for the longest wait there is.
    let patient = site.submit("retry", u64::MAX.to_string()).await;
    let patient = eventually("it is scheduled", || async {
        let view = site.view(patient).await;
        (view.state == State::Scheduled).then_some(view)
    })
    .await;
    assert_eq!(patient.attempts(), 1, "{patient:?}");
    assert!(patient.due_at.is_some_and(|due| due > now() + 100 * YEAR_MS), "{patient:?}");

    let backoff =
        Backoff::Exponential { initial_ms: u64::MAX, multiplier: f64::INFINITY, max_ms: 5 };
    let retry = RetryPolicy { max_attempts: 2, backoff, jitter: f64::NAN, ..Default::default() };
    let view = submit(NewTask {
        terms: Terms { retry: Some(retry.into()), ..Terms::default() },
        ..task("retry", "")
    })
    .await;
    assert_eq!(site.wait(view).await.attempts(), 2);
    let none = RetryPolicy { max_attempts: 0, ..Default::default() };
    let view = submit(NewTask {
        terms: Terms { retry: Some(none.into()), ..Terms::default() },
        ..task("retry", "")
    })
    .await;
    assert_eq!(site.wait(view).await.attempts(), 1);

    for limits in [
        LimitsRequest { fuel: Some(0), ..Default::default() },
        LimitsRequest { memory_bytes: Some(0), ..Default::default() },
        LimitsRequest { wall_ms: Some(0), ..Default::default() },
        LimitsRequest { result_bytes: Some(0), ..Default::default() },
    ] {
        let view =
            site.wait(submit(NewTask { limits, terms: once(), ..task("echo", "x") }).await).await;
        assert_eq!(view.state, State::Failed, "{limits:?}: {view:?}");
    }
    all_is_well(&site).await;
}

fn once() -> Terms {
    let retry = RetryRequest { max_attempts: Some(1), ..Default::default() };
    Terms { retry: Some(retry), ..Terms::default() }
}

/// Guest text comes back as it was given, and goes nowhere unescaped.
#[tokio::test]
async fn a_guests_text_does_not_reach_the_hosts_log_as_it_is() {
    let site = Site::new().await;
    let host = site.host("host", &["--log-level", "debug"]).await;
    let sneaky = "\u{1b}[2Jred \u{202e}herring\r\nINFO bulkhead: all is well";
    let new = NewTask { terms: once(), ..task("panic", sneaky) };
    let id = site.client.submit(new).await.expect("submitted").id;
    let view = site.wait(id).await;
    assert!(failure(&view).message.contains(sneaky), "stored as it was");
    let log = eventually("the failure is logged", || async {
        let log = host.log();
        log.contains("herring").then_some(log)
    })
    .await;
    // The host's own colours are escape sequences too; these are not among them.
    assert!(!log.contains("\u{1b}[2J") && !log.contains('\u{202e}'), "{log}");
    assert!(!log.contains("\nINFO bulkhead: all is well"), "{log}");
    let payload = Payload::new("text/\u{1b}[31mplain", "x");
    let odd = NewTask { payload, ..task("echo", "") };
    let id = site.client.submit(odd).await.expect("submitted").id;
    assert_eq!(site.wait(id).await.state, State::Completed);
    assert!(!host.log().contains("\u{1b}[31mplain"));
}
