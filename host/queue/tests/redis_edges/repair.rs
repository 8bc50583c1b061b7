//! Examination and repair: each kind of disagreement, made by hand.

use std::collections::BTreeSet;

use bulkhead_core::{
    BatchId, BatchRef, Bounds, Conflict, QueuePolicy, State, Task, TermKey, Terms, Unique,
};
use bulkhead_queue::{Batch, Broker, FindingKind, Over};

use crate::stage::*;

impl Talk {
    fn redis(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word.replace("P:", "{bulkhead:default}:"));
        }
        command.exec(&mut self.server.connection()).unwrap();
    }

    /// What an examination finds; afterwards it is repaired and nothing is found.
    async fn found(&self) -> BTreeSet<String> {
        let found = self.broker.examine(&queue(), false).await.unwrap();
        assert!(found.iter().all(|finding| !finding.repaired), "{found:?}");
        let repaired = self.broker.examine(&queue(), true).await.unwrap();
        assert!(repaired.iter().all(|finding| finding.repaired), "{repaired:?}");
        for _ in 0..3 {
            // A repair may bring to light what was hidden.
            self.broker.examine(&queue(), true).await.unwrap();
        }
        self.assert_sound(&queue()).await;
        found.iter().map(|finding| format!("{:?}", finding.kind)).collect()
    }
}

fn kinds<const N: usize>(kinds: [FindingKind; N]) -> BTreeSet<String> {
    kinds.into_iter().map(|kind| format!("{kind:?}")).collect()
}

const LINE: &str = "P:ready:a:default";

#[tokio::test]
async fn a_queue_in_use_is_sound() {
    let talk = Talk::new().await;
    talk.assert_sound(&queue()).await;
    for _ in 0..250 {
        talk.store(&plain()).await;
    }
    let claims = talk.claim(20).await;
    talk.step_in(&queue(), vec![done(&claims[0]), dead(&claims[1]), retry(&claims[2], 9)], &[], 0)
        .await;
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_stranded_task_is_put_in_line() {
    let talk = Talk::new().await;
    let id = talk.store(&plain()).await;
    talk.redis(&["ZREM", LINE, &id.to_string()]);
    // Its tenant stands in the ring without a line.
    assert_eq!(talk.found().await, kinds([FindingKind::Stranded, FindingKind::Unringed]));
    assert_eq!(talk.claim_one().await.id, id);
    talk.redis(&["DEL", "P:leases"]);
    assert_eq!(talk.found().await, kinds([FindingKind::Stranded]));
    assert_eq!(talk.claim_one().await.id, id);
}

#[tokio::test]
async fn names_of_tasks_that_are_gone_are_taken_out() {
    let talk = Talk::new().await;
    let gone = fresh_id().to_string();
    talk.store(&plain()).await;
    for index in ["P:scheduled", "P:blocked", "P:expiry", LINE] {
        talk.redis(&["ZADD", index, "99999999999999", &gone]);
    }
    talk.redis(&["ZADD", "P:dead", "99999999999999", &gone]);
    talk.redis(&["ZADD", "P:leases", "99999999999999", &format!("{gone}:1:default:a:h9")]);
    for set in ["P:cancel", "P:waiters", "P:linked"] {
        talk.redis(&["SADD", set, &gone]);
    }
    talk.redis(&["HSET", "P:progress", &gone, "x"]);
    talk.redis(&["SET", "P:unique:k", &gone]);
    talk.redis(&["SADD", &format!("P:deps:{gone}"), "default/x"]);
    talk.redis(&["ZADD", "P:fires", "99999999999999", "nothing"]);
    assert_eq!(talk.found().await, kinds([FindingKind::Dangling, FindingKind::Leaked]));
    assert_eq!(talk.claim(10).await.len(), 1);
}

#[tokio::test]
async fn a_task_in_two_places_keeps_one() {
    let talk = Talk::new().await;
    let leased = talk.store(&plain()).await;
    let claim = talk.claim_one().await;
    talk.redis(&["ZADD", "P:scheduled", "1", &leased.to_string()]);
    let ended = talk.store(&plain()).await;
    talk.settle(dead(&talk.claim_one().await)).await;
    talk.redis(&["ZADD", "P:scheduled", "1", &ended.to_string()]);
    let live = talk.store(&plain()).await;
    talk.redis(&["ZADD", "P:dead", "99999999999999", &live.to_string()]);
    assert_eq!(talk.found().await, kinds([FindingKind::Duplicated]));
    assert_eq!(talk.state(leased).await, State::Running);
    assert_eq!(talk.state(ended).await, State::Failed);
    assert_eq!(talk.state(live).await, State::Pending);
    talk.settle(done(&claim)).await;
}

#[tokio::test]
async fn counts_and_rings_are_put_right() {
    let talk = Talk::new().await;
    let bounds = Bounds { concurrency: Some(5), rate: None };
    let keys = [("k".to_owned(), Bounds { concurrency: Some(1), rate: None })].into();
    let types = [(of_type("a"), bounds)].into();
    talk.policy(QueuePolicy { keys, types, ..Default::default() }).await;
    let keyed = || task(Terms { key: Some(TermKey::new("k").unwrap()), ..Terms::default() });
    for _ in 0..3 {
        talk.store(&keyed()).await;
    }
    for _ in 0..3 {
        talk.store(&plain()).await;
    }
    assert_eq!(talk.claim(2).await.len(), 2);
    talk.redis(&["HINCRBY", "P:live", "default", "7"]);
    talk.redis(&["HINCRBY", "P:running", "t:a", "3"]);
    talk.redis(&["HINCRBY", "P:laned", "a", "-1"]);
    talk.redis(&["DEL", "P:ring:a"]);
    talk.redis(&["DEL", "P:lanes"]);
    talk.redis(&["SADD", "P:use:k", &fresh_id().to_string()]);
    talk.redis(&["SADD", "P:let:k", &fresh_id().to_string()]);
    assert_eq!(
        talk.found().await,
        kinds([FindingKind::Leaked, FindingKind::Miscounted, FindingKind::Unringed])
    );
    assert_eq!(talk.open().await, 6);
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().pending, 4);
}

#[tokio::test]
async fn a_key_of_the_wrong_type_is_set_aside_and_its_tasks_found() {
    let talk = Talk::new().await;
    let id = talk.store(&plain()).await;
    talk.redis(&["DEL", LINE, "P:scheduled"]);
    talk.redis(&["SET", "P:scheduled", "x"]);
    assert_eq!(talk.found().await, kinds([FindingKind::Damaged]));
    assert_eq!(talk.claim_one().await.id, id);
}

#[tokio::test]
async fn lost_links_are_made_again() {
    let talk = Talk::new().await;
    let parent = plain();
    let child = task(Terms { after: vec![parent.task_ref()], ..Terms::default() });
    talk.store(&parent).await;
    talk.store(&child).await;
    talk.redis(&["DEL", "P:linked", &format!("P:kids:{}", parent.id)]);
    assert_eq!(talk.found().await, kinds([FindingKind::Stranded]));
    talk.redis(&["DEL", "P:linked"]);
    assert_eq!(talk.found().await, kinds([FindingKind::Leaked]));
    talk.settle(done(&talk.claim_one().await)).await;
    // The event of its end is lost: the child still waits.
    talk.redis(&["DEL", "P:outbox"]);
    assert_eq!(talk.found().await, kinds([FindingKind::Leaked, FindingKind::Stranded]));
    assert_eq!(talk.claim_one().await.id, child.id);
}

#[tokio::test]
async fn an_event_that_nobody_carries_is_found_and_carried() {
    let talk = Talk::new().await;
    let batch = BatchRef { queue: queue(), id: BatchId(uuid::Uuid::now_v7()) };
    let member = task(Terms { batch: Some(batch.clone()), ..Terms::default() });
    let opened = Batch {
        queue: queue(),
        id: batch.id,
        name: "b".into(),
        members: vec![member.task_ref()],
        callback: None,
        over: Over::Ended,
        retention_ms: DAY_MS,
    };
    talk.broker.open_batch(&opened).await.unwrap();
    talk.store(&member).await;
    talk.settle(done(&talk.claim_one().await)).await;
    let event = format!("b {batch} {} c", member.task_ref());
    talk.redis(&["ZADD", "P:outbox", "1", &event]);
    assert_eq!(talk.found().await, kinds([FindingKind::Undelivered]));
    let completed =
        || async { talk.broker.batch(&queue(), batch.id).await.unwrap().unwrap().completed };
    assert_eq!(completed().await, 1);

    // The event is lost, and the member is open for ever.
    let other = BatchRef { queue: queue(), id: BatchId(uuid::Uuid::now_v7()) };
    let member = task(Terms { batch: Some(other.clone()), ..Terms::default() });
    let opened = Batch { id: other.id, members: vec![member.task_ref()], ..opened };
    talk.broker.open_batch(&opened).await.unwrap();
    talk.store(&member).await;
    talk.settle(done(&talk.claim_one().await)).await;
    talk.redis(&["DEL", "P:outbox"]);
    assert_eq!(talk.found().await, kinds([FindingKind::Leaked]));
    let view = talk.broker.batch(&queue(), other.id).await.unwrap().unwrap();
    assert_eq!((view.completed, view.over_at.is_some()), (1, true));
}

#[tokio::test]
async fn a_key_of_the_wrong_type_loses_no_settlement() {
    let talk = Talk::new().await;
    for key in ["dead", "ended", "stats", "live", "waiters", "cancel", "linked", "progress"] {
        let unique =
            Unique { key: TermKey::new(key).unwrap(), window_ms: None, conflict: Conflict::Reject };
        let of = |unique| Task { ..task(Terms { unique, ..Terms::default() }) };
        for settle in [done, dead] {
            let id = talk.store(&of(Some(unique.clone()))).await;
            let claim = talk.claim_one().await;
            let wrong = format!("P:{key}");
            talk.redis(&["DEL", &wrong]);
            talk.redis(&["SET", &wrong, "x"]);
            let serves = [];
            let settlements = [settle(&claim)];
            let step = bulkhead_queue::Step {
                host: "h1",
                settle: &settlements,
                renew: &[],
                progress: &[],
                want: 0,
                claim_bytes: u64::MAX,
                serves: &serves,
                lease: talk.lease,
                reclaim: false,
                dead_retention_ms: DAY_MS,
                apart: false,
            };
            // It may fail, and says so; what it was told stands.
            let _ = talk.broker.step(&queue(), step).await;
            talk.redis(&["DEL", &wrong]);
            assert!(talk.state(id).await.is_terminal(), "{key}");
        }
    }
}
