//! What the embedded broker's file keeps, and what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded_stage;

use std::path::Path;

use bulkhead_core::{
    Bounds, Digest, QueuePolicy, State, TaskRef, TenantName, TermKey, Terms, Unique,
};
use bulkhead_queue::{
    BlobDraft, BlobPiece, Broker, Document, DocumentId, DocumentKind, EmbeddedBroker, Entry,
    Expected, JournalLine, JournalRange, KvEdit, KvOwner, KvQuota, KvUsage, KvWrite, KvWritten,
    NewBatch, Over, QueueError, Sealed, SubmitAnswer,
};
use bulkhead_stage::eventually;
use embedded_stage::*;

/// Tasks in every state, bound to each other in every way.
async fn populate(talk: &Talk) {
    let bounds = Bounds { concurrency: Some(1), rate: bulkhead_core::Rate::new(1, 1_000_000, 5) };
    let policy = QueuePolicy {
        keys: [("k".to_owned(), bounds)].into(),
        rate: bulkhead_core::Rate::new(1_000, 1_000_000, 1_000),
        ..QueuePolicy::default()
    };
    talk.broker.set_policy(&queue(), &policy).await.unwrap();
    talk.broker.pause(&queue(), Some(&of_type("c"))).await.unwrap();
    let key = || Some(TermKey::new("k").unwrap());
    let unique = Unique {
        key: TermKey::new("u").unwrap(),
        window_ms: Some(DAY_MS),
        conflict: bulkhead_core::Conflict::Reject,
    };
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(with_terms(Terms { key: key(), ..Terms::default() }));
    }
    tasks.push(with_terms(Terms { unique: Some(unique), ..Terms::default() }));
    tasks.push(with_terms(Terms { not_before: Some(now_ms() + DAY_MS), ..Terms::default() }));
    tasks.push(with_terms(Terms { expires_at: Some(now_ms() + DAY_MS), ..Terms::default() }));
    (0..6).for_each(|_| tasks.push(new_task("b")));
    let batch = NewBatch {
        queue: queue(),
        name: "all".into(),
        tasks,
        callback: Some(new_task("c")),
        over: Over::Ended,
        retention_ms: DAY_MS,
    };
    let batch = talk.client.submit_batch(None, batch).await.unwrap();
    let after = vec![TaskRef { queue: queue(), id: batch.tasks[0].id }];
    talk.submit(with_terms(Terms { after, ..Terms::default() })).await;
    let claims = talk.claim(4).await;
    talk.step(vec![done(&claims[0]), dead(&claims[1]), given_back(&claims[2])], &[], 0, &[]).await;
    talk.broker.cancel(&queue(), &[batch.tasks[5].id], DAY_MS).await.unwrap();
    let output = bulkhead_core::Payload::default();
    talk.broker.remember(&queue(), "m", &output, DAY_MS).await.unwrap();
    for (id, bytes) in [("/kept", 1), ("acme/kept", 2), ("/gone", 3)] {
        let id = id.parse().unwrap();
        assert!(talk.broker.put_secret(&id, &Sealed(vec![bytes; 40]), None).await.unwrap());
    }
    assert!(talk.broker.delete_secret(&"/gone".parse().unwrap()).await.unwrap());
}

/// Give back what runs, so that no lease is lost by reopening.
async fn settle_all(talk: &Talk) {
    let held = talk.broker.held(&queue(), "h1").await.unwrap();
    talk.step(held.iter().map(given_back).collect(), &[], 0, &[]).await;
}

#[tokio::test]
async fn everything_is_the_same_after_reopening() {
    let talk = Talk::with_file();
    populate(&talk).await;
    settle_all(&talk).await;
    let (rows, stats) = (talk.broker.rows(), talk.broker.stats(&queue()).await.unwrap());
    assert!(rows.len() > 40, "{} rows", rows.len());
    let pending = talk.list(State::Pending).await;
    let talk = talk.reopened();
    assert_eq!(talk.broker.rows(), rows);
    assert_eq!(talk.broker.stats(&queue()).await.unwrap(), stats);
    assert_eq!(talk.list(State::Pending).await, pending);
    talk.examined().await;
}

#[tokio::test]
async fn values_of_plugins_are_the_same_after_reopening() {
    let owner = |tenant: &str, plugin: &str| KvOwner {
        tenant: TenantName::new(tenant).unwrap(),
        plugin: plugin.parse().unwrap(),
    };
    let write = async |talk: &Talk, owner: &KvOwner, key: &str, edit, ttl_ms| {
        let quota = KvQuota { keys: 10, total_bytes: 1_000, storage_bytes: None };
        let write = KvWrite { key: key.to_owned(), edit, ttl_ms, quota };
        talk.broker.kv_write(owner, &write).await.unwrap()
    };
    let (first, second) = (owner("acme", "p"), owner("acme", "other/p"));
    let talk = Talk::with_file();
    write(&talk, &first, "a/b", KvEdit::Set(vec![0, 255]), None).await;
    write(&talk, &first, "b", KvEdit::Set(b"soon".to_vec()), Some(DAY_MS)).await;
    write(&talk, &first, "gone", KvEdit::Set(Vec::new()), None).await;
    write(&talk, &first, "gone", KvEdit::Delete, None).await;
    write(&talk, &second, "n", KvEdit::Add(7), None).await;
    write(&talk, &second, "short", KvEdit::Set(Vec::new()), Some(1)).await;
    let rows = talk.broker.rows();
    let talk = talk.reopened();
    assert_eq!(talk.broker.rows(), rows);
    let entry = talk.broker.kv_get(&first, "a/b").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.version, entry.ttl_ms), (vec![0, 255], 1, None));
    let entry = talk.broker.kv_get(&first, "b").await.unwrap().unwrap();
    assert!(entry.ttl_ms.is_some_and(|ms| ms <= DAY_MS));
    assert_eq!(talk.broker.kv_get(&first, "gone").await.unwrap(), None);
    // A version is given once, also to what was removed; what has gone is swept.
    let again = write(&talk, &first, "gone", KvEdit::Set(Vec::new()), None).await;
    assert_eq!(again, KvWritten::Stored(4));
    eventually("it is swept", || async {
        assert_eq!(write(&talk, &second, "n", KvEdit::Add(0), None).await, KvWritten::Sum(7));
        let usage = talk.broker.kv_usage(&second).await.unwrap();
        (usage == KvUsage { keys: 1, bytes: 2, tenant_bytes: 16 }).then_some(())
    })
    .await;
    let rows = talk.broker.rows();
    assert_eq!(talk.reopened().broker.rows(), rows);
}

#[tokio::test]
async fn what_is_kept_for_operators_is_the_same_after_reopening() {
    let talk = Talk::with_file();
    let archive = talk.broker.archive();
    let put = async |key: &str, ttl_ms| {
        let id = DocumentId::new(DocumentKind::Version, key);
        let document = Document(vec![0, 255]);
        archive.put_document(&id, &document, &Expected::Anything, ttl_ms).await.unwrap()
    };
    for (key, ttl_ms) in [("a/b", None), ("soon", Some(DAY_MS)), ("gone", None)] {
        assert!(put(key, ttl_ms).await);
    }
    let gone = DocumentId::new(DocumentKind::Version, "gone");
    assert!(archive.delete_document(&gone).await.unwrap());
    let bytes: Vec<u8> = (0..300_000_u64).flat_map(u64::to_be_bytes).collect();
    let digest = archive.put_blob(&bytes).await.unwrap();
    let gone = archive.put_blob(b"gone").await.unwrap();
    assert!(archive.delete_blob(&gone).await.unwrap());
    let half = BlobDraft { digest: gone, size_bytes: 2 << 20, name: "half".into() };
    let piece = BlobPiece { number: 0, bytes: vec![7; 1 << 20] };
    archive.send_blob(&half, &piece).await.unwrap();
    for n in 0..3 {
        let line = JournalLine::new("ann", "plugin.push", "resize", &n.to_string());
        archive.journal(&line).await.unwrap();
    }
    assert!(archive.sample(&queue()).await.unwrap());
    let (rows, lines) = (talk.broker.rows(), JournalRange::newest(9));
    let journal = archive.journal_entries(&lines).await.unwrap();
    // What was sent of a blob that was not finished is gone from the file too.
    let talk = talk.reopened().reopened();
    assert_eq!(talk.broker.rows(), rows);
    let archive = talk.broker.archive();
    assert_eq!(archive.blob(&digest).await.unwrap().as_deref(), Some(&bytes[..]));
    assert_eq!(archive.blob_info(&gone).await.unwrap(), None);
    assert_eq!(archive.journal_entries(&lines).await.unwrap(), journal);
    assert_eq!(archive.documents(DocumentKind::Version).await.unwrap().len(), 2);
    assert_eq!(archive.put_blob(b"another").await.unwrap(), Digest::of(b"another"));
    assert_eq!(archive.blob(&digest).await.unwrap().as_deref(), Some(&bytes[..]));
}

#[tokio::test]
async fn reopening_takes_leases_back_and_counts_their_attempts() {
    let talk = Talk::with_file();
    let id = talk.submit(new_task("a")).await;
    let before = talk.claim_one().await;
    let talk = talk.reopened();
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Pending, 1));
    assert!(matches!(view.history[0], Entry::LeaseLost { .. }));
    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (id, 2));
    assert_ne!(claim.token, before.token, "a fencing token is given once");
    assert_eq!(talk.settle(done(&before)).await.stale, [0]);
    assert!(talk.settle(done(&claim)).await.stale.is_empty());
}

#[tokio::test]
async fn what_was_held_by_a_key_or_a_parent_goes_on_after_reopening() {
    let talk = Talk::with_file();
    let unique = |conflict| {
        let key = TermKey::new("u").unwrap();
        let unique = Unique { key, window_ms: None, conflict };
        with_terms(Terms { unique: Some(unique), ..Terms::default() })
    };
    let parent = talk.submit(unique(bulkhead_core::Conflict::Reject)).await;
    let after = vec![TaskRef { queue: queue(), id: parent }];
    let child = talk.submit(with_terms(Terms { after, ..Terms::default() })).await;
    let talk = talk.reopened();
    let taken = talk.answer(unique(bulkhead_core::Conflict::Reject)).await;
    assert_eq!(taken, SubmitAnswer::Taken(parent));
    let claim = talk.claim_one().await;
    talk.settle(done_with(&claim, "out", 1)).await;
    assert_eq!(talk.state(child).await, State::Pending);
    let talk = talk.reopened();
    assert!(matches!(&talk.view(child).await.history[0], Entry::Parent { output: Some(_), .. }));
    eventually("the parent is forgotten", || async {
        talk.step(vec![], &[], 0, &[]).await;
        talk.broker.inspect(&queue(), &[parent]).await.unwrap()[0].is_none().then_some(())
    })
    .await;
    let talk = talk.reopened();
    assert_eq!(talk.broker.inspect(&queue(), &[parent]).await.unwrap(), [None]);
    talk.examined().await;
}

#[test]
fn a_folder_is_opened_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = EmbeddedBroker::open(folder.path()).unwrap();
    let error = EmbeddedBroker::open(folder.path()).map(drop).unwrap_err();
    assert!(matches!(&error, QueueError::InUse { folder: named } if named == folder.path()));
    assert!(error.to_string().contains("socket"), "{error}");
    drop(first);
    EmbeddedBroker::open(folder.path()).unwrap();
}

fn refusal(folder: &Path) -> String {
    match EmbeddedBroker::open(folder).map(drop).unwrap_err() {
        QueueError::Refused(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_foreign_or_damaged_file_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue.redb");
    for foreign in [&b"not a database at all"[..], &[7; 100_000]] {
        std::fs::write(&file, foreign).unwrap();
        let reason = refusal(folder.path());
        assert!(reason.contains("queue.redb") && reason.contains("move it away"), "{reason}");
    }
    std::fs::remove_file(&file).unwrap();
    let database = redb::Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: redb::TableDefinition<'_, u32, u32> = redb::TableDefinition::new("others");
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let reason = refusal(folder.path());
    assert!(reason.contains("move it away"), "{reason}");
    std::fs::remove_file(&file).unwrap();

    let broker = EmbeddedBroker::open(folder.path()).unwrap();
    broker.submit(&[task("a", fresh_id())]).await.unwrap();
    drop(broker);
    let database = redb::Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    let rows: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("rows");
    {
        let mut rows = transaction.open_table(rows).unwrap();
        let record = [13u8, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(rows.insert(&record[..], &b"\x93\x01"[..]).unwrap().is_some());
    }
    transaction.commit().unwrap();
    drop(database);
    let reason = refusal(folder.path());
    assert!(reason.contains("record cannot be read"), "{reason}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(refusal(&file.join("data")).contains("file/data"));
}

#[tokio::test]
async fn memory_warns_and_a_file_does_not() {
    let warnings = Talk::in_memory().broker.check().await.unwrap();
    assert!(warnings[0].contains("lost when the process ends"), "{warnings:?}");
    assert!(Talk::with_file().broker.check().await.unwrap().is_empty());
}

/// Everybody's tasks are in there.
#[tokio::test]
async fn a_new_folder_and_its_files_are_its_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("made/queue");
    let _broker = EmbeddedBroker::open(&folder).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}
