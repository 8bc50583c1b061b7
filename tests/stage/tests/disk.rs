//! The disk that a test slows down keeps what was synced, and only that.

use std::time::{Duration, Instant};

use bulkhead_stage::{Persistence, RedisServer, StageDisk, eventually};

fn set(server: &RedisServer, key: &str) {
    server.run(&[b"SET", key.as_bytes(), b"v"]);
}

async fn synced(server: &RedisServer, disk: &StageDisk) {
    eventually("all is synced", || async {
        (disk.unsynced_bytes(server.folder()) == 0).then_some(())
    })
    .await;
}

async fn written(server: &RedisServer, disk: &StageDisk) {
    eventually("something is written and not synced", || async {
        (disk.unsynced_bytes(server.folder()) > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_loss_of_power_takes_what_was_not_synced_and_a_crash_does_not() {
    let disk = StageDisk::new();
    let mut server = RedisServer::start_on(&disk, Persistence::EverySecond);
    for key in ["first", "second"] {
        set(&server, key);
        synced(&server, &disk).await;
    }
    let began = Instant::now();
    disk.slow_by(Duration::from_secs(600));
    set(&server, "crashed");
    written(&server, &disk).await;
    let loss = server.crash(&disk);
    assert!(loss.kept_from.is_some_and(|at| at > began), "it was written: {loss:?}");
    assert_eq!(loss.bytes, 0);

    server.restart();
    assert_eq!(server.keys(), ["crashed", "first", "second"]);
    let loss = server.lose_power(&disk);
    assert!(loss.bytes > 0 && loss.kept_from.is_some_and(|at| at < began), "{loss:?}");
    server.restart();
    assert_eq!(server.keys(), ["first", "second"]);
}

#[tokio::test]
async fn what_is_synced_before_it_is_answered_survives_a_loss_of_power() {
    let disk = StageDisk::new();
    disk.slow_by(Duration::from_millis(50));
    let mut server = RedisServer::start_on(&disk, Persistence::Always);
    for key in ["first", "second", "third"] {
        set(&server, key);
        server.lose_power(&disk);
        server.restart();
        assert!(server.keys().contains(&key.to_owned()));
    }
}
