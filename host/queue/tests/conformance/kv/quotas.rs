//! What bounds a plugin and its tenant, and what is swept to make room.

use bulkhead_queue::{KvBound, KvQuota, KvWritten};

use super::{ROOMY, space, stored, usage};
use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    the_number_of_keys_is_bounded,
    the_bytes_of_a_plugin_are_bounded,
    the_bytes_of_a_tenant_are_bounded_over_its_plugins,
    what_takes_no_more_room_is_never_refused,
    a_refused_write_leaves_everything_as_it_was,
    what_has_gone_counts_until_it_is_swept,
    every_write_sweeps_in_bounds,
    what_has_gone_and_is_not_swept_is_not_there_for_a_write,
    sweeping_makes_room_over_plugins,
];

async fn the_number_of_keys_is_bounded(talk: Talk) {
    let mine = space(&talk, "p", "acme").within(KvQuota { keys: 3, ..ROOMY });
    for key in ["a", "b", "c"] {
        stored(mine.set(key, "").await);
    }
    let over = KvWritten::Over(KvBound::Keys);
    assert_eq!(mine.set("d", "").await, over);
    assert_eq!(mine.add("d", 1).await, over);
    assert_eq!(mine.swap("d", None, "").await, over);
    stored(mine.set("a", "what is there may be written").await);
    // Another plugin and another tenant have their own.
    stored(space(&talk, "q", "acme").within(mine.quota).set("d", "").await);
    stored(space(&talk, "p", "other").within(mine.quota).set("d", "").await);
    mine.delete("b").await;
    stored(mine.set("d", "").await);
    assert_eq!(mine.set("e", "").await, over);
}

async fn the_bytes_of_a_plugin_are_bounded(talk: Talk) {
    let mine = space(&talk, "p", "acme").within(KvQuota { total_bytes: 100, ..ROOMY });
    let over = KvWritten::Over(KvBound::Total);
    assert_eq!(mine.set("key", "x".repeat(98)).await, over);
    stored(mine.set("key", "x".repeat(97)).await);
    assert_eq!(mine.usage().await, usage(1, 100, 100));
    assert_eq!(mine.set("k", "").await, over, "a key has bytes too");
    assert_eq!(mine.set("key", "x".repeat(98)).await, over);
    stored(mine.set("key", "x".repeat(92)).await);
    stored(mine.set("abc", "9").await);
    assert_eq!(mine.add("abc", 1).await, KvWritten::Sum(10));
    assert_eq!(mine.add("abc", 90).await, over, "a longer number");
    assert_eq!(mine.value("abc").await.as_deref(), Some("10"));
    assert_eq!(mine.add("abc", -1).await, KvWritten::Sum(9));
    let version = mine.find("key").await.unwrap().version;
    assert_eq!(mine.swap("key", Some(version), &"x".repeat(94)).await, over);
    stored(mine.swap("key", Some(version), &"x".repeat(93)).await);
}

async fn the_bytes_of_a_tenant_are_bounded_over_its_plugins(talk: Talk) {
    let quota = KvQuota { storage_bytes: Some(100), ..ROOMY };
    let (p, q) = (space(&talk, "p", "acme").within(quota), space(&talk, "q", "acme").within(quota));
    stored(p.set("k", "x".repeat(59)).await);
    stored(q.set("k", "x".repeat(39)).await);
    assert_eq!(q.usage().await, usage(1, 40, 100));
    let over = KvWritten::Over(KvBound::Storage);
    assert_eq!(q.set("l", "").await, over);
    assert_eq!(q.set("k", "x".repeat(40)).await, over);
    assert_eq!(q.add("n", 1).await, over);
    stored(space(&talk, "p", "other").within(quota).set("k", "x".repeat(59)).await);
    assert!(p.delete("k").await);
    stored(q.set("k", "x".repeat(99)).await);
    assert_eq!(p.set("l", "").await, over);
    // Without the bound, or with a wider one, it is as wide.
    stored(p.within(ROOMY).set("l", "").await);
}

async fn what_takes_no_more_room_is_never_refused(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for key in ["a", "b", "c"] {
        mine.set(key, "x".repeat(100)).await;
    }
    let none = KvQuota { keys: 1, total_bytes: 10, storage_bytes: Some(10) };
    let mine = mine.within(none);
    let version = stored(mine.set("a", "y".repeat(100)).await);
    stored(mine.swap("a", Some(version), "short").await);
    assert!(matches!(mine.set("a", "longer").await, KvWritten::Over(KvBound::Total)));
    stored(mine.set("b", "5").await);
    assert_eq!(mine.add("b", 4).await, KvWritten::Sum(9));
    assert!(mine.delete("c").await);
    assert_eq!(mine.set("c", "").await, KvWritten::Over(KvBound::Keys));
}

async fn a_refused_write_leaves_everything_as_it_was(talk: Talk) {
    let tight = KvQuota { keys: 1, total_bytes: 4, ..ROOMY };
    let mine = space(&talk, "p", "acme").within(tight);
    mine.set_for("n", "999", HOUR_MS).await;
    let before = mine.find("n").await.unwrap();
    assert_eq!(mine.add("n", 1).await, KvWritten::Over(KvBound::Total));
    assert_eq!(mine.set("n", "1000").await, KvWritten::Over(KvBound::Total));
    assert_eq!(mine.set("m", "").await, KvWritten::Over(KvBound::Keys));
    assert_eq!(mine.add("m", 1).await, KvWritten::Over(KvBound::Keys));
    let after = mine.find("n").await.unwrap();
    assert_eq!((after.value, after.version), (before.value, before.version));
    assert!(after.ttl_ms.is_some());
    assert_eq!(mine.find("m").await, None);
    assert_eq!(mine.keys("").await, ["n"]);
    assert_eq!(mine.usage().await, usage(1, 4, 4));
    assert_eq!(mine.add("n", -1).await, KvWritten::Sum(998));
}

async fn what_has_gone_counts_until_it_is_swept(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for at in 0..5 {
        mine.set_for(&format!("k{at}"), "12345678", HOUR_MS).await;
    }
    talk.pass(2 * HOUR_MS);
    assert_eq!(mine.usage().await, usage(5, 50, 50));
    // A refused or useless write sweeps as well.
    assert!(!mine.delete("none").await);
    assert_eq!(mine.usage().await, usage(0, 0, 0));
    assert_eq!(mine.keys("").await, Vec::<String>::new());
}

async fn every_write_sweeps_in_bounds(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for at in 0..250 {
        mine.set_for(&format!("k{at:03}"), "", HOUR_MS).await;
    }
    talk.pass(2 * HOUR_MS);
    for left in [150, 50, 0] {
        assert!(!mine.delete("none").await);
        assert_eq!(mine.usage().await.keys, left);
    }
}

async fn what_has_gone_and_is_not_swept_is_not_there_for_a_write(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for at in 0..450 {
        mine.set_for(&format!("k{at:03}"), "", HOUR_MS).await;
    }
    let mut version = 0;
    for key in ["x", "y", "z"] {
        version = stored(mine.set_for(key, "7", HOUR_MS + MINUTE_MS).await);
    }
    talk.pass(2 * HOUR_MS);
    assert!(!mine.delete("x").await);
    assert_eq!(mine.usage().await.keys, 352, "a hundred are swept, and the key itself");
    assert_eq!(mine.swap("z", Some(version), "").await, KvWritten::Unmatched);
    stored(mine.swap("z", None, "").await);
    assert_eq!(mine.add("y", 1).await, KvWritten::Sum(1));
    assert_eq!(mine.find("y").await.unwrap().ttl_ms, None);
    assert_eq!(mine.usage().await.keys, 52);
    assert_eq!(mine.keys("").await, ["y", "z"]);
}

async fn sweeping_makes_room_over_plugins(talk: Talk) {
    let old = space(&talk, "old", "acme");
    for at in 0..150 {
        old.set_for(&format!("k{at:03}"), "123456", HOUR_MS).await;
    }
    let quota = KvQuota { storage_bytes: Some(1_500), ..ROOMY };
    let new = space(&talk, "new", "acme").within(quota);
    let over = KvWritten::Over(KvBound::Storage);
    assert_eq!(new.set("k", "x".repeat(1_499)).await, over, "they are alive");
    talk.pass(2 * HOUR_MS);
    stored(new.set("k", "x".repeat(1_499)).await);
    assert_eq!(old.usage().await, usage(0, 0, 1_500));
    // Where there is room, it is no more than ever.
    for at in 0..150 {
        old.set_for(&format!("k{at:03}"), "", HOUR_MS).await;
    }
    talk.pass(2 * HOUR_MS);
    let roomy = space(&talk, "new", "acme");
    stored(roomy.set("l", "").await);
    assert_eq!(old.usage().await.keys, 50);
}
