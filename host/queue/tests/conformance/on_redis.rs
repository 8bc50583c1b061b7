//! What only Redis can show: records that others wrote, scripts that were flushed, a server
//! that forgets.

use bulkhead_core::{Failure, FailureKind, Outcome, Payload, State, TaskId};
use bulkhead_queue::{End, NewTask, Settlement};

use crate::stage::Kind;
use crate::talk::Talk;
use crate::words::*;

/// Overwrite a task's record.
fn damage(talk: &Talk, id: TaskId, bytes: &[u8]) {
    let key = format!("{{bulkhead:default}}:task:{id}");
    talk.server().run(&[b"SET", key.as_bytes(), bytes]);
}

fn set(talk: &Talk, name: &str, value: &str) {
    talk.server().run(&[b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()]);
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
        talk.settle(Settlement { token: claim.token, end }).await;
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
