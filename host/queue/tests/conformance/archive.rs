//! What brokers keep for operators: documents, blobs, a journal, the history of queues.

use std::time::Duration;

use bulkhead_core::{Digest, QueueName};
use bulkhead_queue::{
    BlobDraft, BlobPiece, Document, DocumentId, DocumentKind, Expected, JournalLine, JournalRange,
    QueueError, Resolution, Sample, Signal, Topic,
};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    a_document_takes_the_place_of_what_is_expected_there,
    documents_are_listed_by_kind_and_go_after_their_time,
    documents_are_bounded,
    hosts_are_told_of_changed_documents,
    a_blob_is_seen_when_all_of_it_is_there,
    a_blob_that_is_not_what_it_is_named_by_is_refused,
    blobs_are_listed_and_forgotten,
    the_journal_keeps_who_did_what_in_order,
    the_journal_is_bounded,
    a_queue_has_one_sample_a_minute_and_one_an_hour,
    samples_are_kept_in_rings,
];

const MIB: usize = 1 << 20;

fn token(key: &str) -> DocumentId {
    DocumentId::new(DocumentKind::Token, key)
}

fn document(text: &str) -> Document {
    Document(text.as_bytes().to_vec())
}

fn refused<T: std::fmt::Debug>(answer: Result<T, QueueError>, because: &str) {
    let error = answer.unwrap_err();
    assert!(matches!(&error, QueueError::Refused(reason) if reason.contains(because)), "{error}");
}

async fn a_document_takes_the_place_of_what_is_expected_there(talk: Talk) {
    let (archive, id) = (talk.broker.archive(), token("a b/c:ä"));
    let put = async |text: &str, expected: Expected| {
        archive.put_document(&id, &document(text), &expected, None).await.unwrap()
    };
    assert!(!put("x", Expected::Exactly(document("old"))).await, "there is none");
    assert!(put("old", Expected::Nothing).await);
    assert!(!put("x", Expected::Nothing).await, "there is one");
    assert!(!put("x", Expected::Exactly(document("older"))).await, "it is another");
    assert_eq!(archive.document(&id).await.unwrap(), Some(document("old")));
    assert!(put("new", Expected::Exactly(document("old"))).await);
    assert!(put("newest", Expected::Anything).await);
    assert_eq!(archive.document(&id).await.unwrap(), Some(document("newest")));
    assert!(archive.delete_document(&id).await.unwrap());
    assert!(!archive.delete_document(&id).await.unwrap());
    assert_eq!(archive.document(&id).await.unwrap(), None);
    // Any bytes are kept, none included.
    for bytes in [(0..=255).collect(), Vec::new()] {
        let any = Document(bytes);
        assert!(archive.put_document(&id, &any, &Expected::Anything, None).await.unwrap());
        assert_eq!(archive.document(&id).await.unwrap(), Some(any.clone()));
        assert!(
            archive.put_document(&id, &any, &Expected::Exactly(any.clone()), None).await.unwrap()
        );
    }
    // What belongs to no queue makes none.
    assert!(talk.broker.queues().await.unwrap().is_empty());
}

async fn documents_are_listed_by_kind_and_go_after_their_time(talk: Talk) {
    let archive = talk.broker.archive();
    let put = async |id: DocumentId, ttl_ms: Option<u64>| {
        let says = document(&id.key);
        assert!(archive.put_document(&id, &says, &Expected::Nothing, ttl_ms).await.unwrap());
    };
    let listed = async |kind| {
        let documents = archive.documents(kind).await.unwrap().into_iter();
        documents.map(|(key, held)| {
            assert_eq!(held, document(&key));
            key
        })
    };
    put(DocumentId::new(DocumentKind::Version, "v"), None).await;
    for n in (0..250).rev() {
        put(token(&format!("{n:03}")), (n % 2 == 0).then_some(60_000)).await;
    }
    let keys: Vec<String> = listed(DocumentKind::Token).await.collect();
    assert_eq!(keys, (0..250).map(|n| format!("{n:03}")).collect::<Vec<_>>());
    assert_eq!(listed(DocumentKind::Version).await.collect::<Vec<_>>(), ["v"]);
    assert_eq!(listed(DocumentKind::Activation).await.count(), 0);
    talk.pass(59_000);
    assert_eq!(archive.document(&token("000")).await.unwrap(), Some(document("000")));
    talk.pass(2_000);
    assert_eq!(archive.document(&token("000")).await.unwrap(), None);
    assert_eq!(listed(DocumentKind::Token).await.count(), 125);
    assert!(!archive.delete_document(&token("002")).await.unwrap(), "it is gone already");
    put(token("004"), None).await;
    // One that is stored again stays if no time is said.
    put(token("t"), Some(1_000)).await;
    let again = Expected::Exactly(document("t"));
    assert!(archive.put_document(&token("t"), &document("t"), &again, None).await.unwrap());
    talk.pass(DAY_MS);
    assert_eq!(listed(DocumentKind::Token).await.count(), 127);
}

async fn documents_are_bounded(talk: Talk) {
    let archive = talk.broker.archive();
    let put = async |key: &str, bytes: usize| {
        let (id, document) = (token(key), Document(vec![7; bytes]));
        archive.put_document(&id, &document, &Expected::Anything, None).await
    };
    refused(put("a", (64 << 10) + 1).await, "65537");
    refused(put("", 1).await, "no key");
    refused(put("a\nb", 1).await, "no key");
    refused(put(&"k".repeat(513), 1).await, "no key");
    assert!(put(&"k".repeat(512), 64 << 10).await.unwrap());
    refused(archive.document(&token("")).await, "no key");
    // Together, so that a disk is waited for a few times only.
    for hundred in 0..10_u32 {
        let keys: Vec<String> = (0..103).map(|n| format!("{hundred}-{n}")).collect();
        let some = keys.iter().map(|key| put(key, 64 << 10));
        for answer in futures::future::join_all(some).await {
            match answer {
                Ok(stored) => assert!(stored),
                Err(error) => assert!(hundred == 9, "{hundred}: {error}"),
            }
        }
    }
    refused(put("one more", 64 << 10).await, "67108864 bytes");
    assert_eq!(archive.documents(DocumentKind::Token).await.unwrap().len(), 1_024);
    assert!(put("0-0", 10).await.unwrap(), "a known one may shrink");
    assert!(put("one more", 1_000).await.unwrap(), "there is room for this");
}

async fn hosts_are_told_of_changed_documents(talk: Talk) {
    let archive = talk.broker.archive();
    let mut signals = talk.broker.subscribe(Topic::Rescan, Vec::new());
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    let mut heard = async || {
        tokio::time::timeout(Duration::from_secs(20), signals.recv()).await.unwrap().unwrap()
    };
    for kind in DocumentKind::ALL {
        let id = DocumentId::new(kind, "x");
        assert!(archive.put_document(&id, &document("x"), &Expected::Nothing, None).await.unwrap());
        assert_eq!(heard().await, Signal::Documents(kind));
        // What changes nothing is not told.
        assert!(
            !archive.put_document(&id, &document("y"), &Expected::Nothing, None).await.unwrap()
        );
        assert!(archive.delete_document(&id).await.unwrap());
        assert_eq!(heard().await, Signal::Documents(kind));
        assert!(!archive.delete_document(&id).await.unwrap());
    }
}

/// Bytes of which no piece is like another.
fn long(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64).flat_map(u64::to_be_bytes).take(bytes).collect()
}

async fn a_blob_is_seen_when_all_of_it_is_there(talk: Talk) {
    let archive = talk.broker.archive();
    for bytes in [0, 1, MIB, 3 * MIB + 5] {
        let bytes = long(bytes);
        let digest = Digest::of(&bytes);
        assert_eq!(archive.blob(&digest).await.unwrap(), None);
        assert_eq!(archive.put_blob(&bytes).await.unwrap(), digest);
        assert_eq!(archive.blob(&digest).await.unwrap().as_deref(), Some(&bytes[..]));
        assert_eq!(archive.put_blob(&bytes).await.unwrap(), digest, "once more");
        assert_eq!(archive.blob(&digest).await.unwrap().as_deref(), Some(&bytes[..]));
        let info = archive.blob_info(&digest).await.unwrap().unwrap();
        assert_eq!((info.digest, info.size_bytes), (digest, bytes.len() as u64));
    }
    // Half of one is never seen, and is forgotten.
    let bytes = long(2 * MIB + 9);
    let digest = Digest::of(&bytes);
    let draft = BlobDraft { digest, size_bytes: bytes.len() as u64, name: "d".into() };
    let piece = |number: u32| {
        let bytes = bytes.chunks(MIB).nth(number as usize).unwrap().to_vec();
        BlobPiece { number, bytes }
    };
    archive.send_blob(&draft, &piece(0)).await.unwrap();
    archive.send_blob(&draft, &piece(1)).await.unwrap();
    assert_eq!(archive.blob_info(&digest).await.unwrap(), None);
    assert_eq!(archive.blob_piece(&digest, 0).await.unwrap(), None);
    talk.pass(16 * 60_000);
    archive.send_blob(&BlobDraft { name: "e".into(), ..draft.clone() }, &piece(0)).await.unwrap();
    refused(archive.keep_blob(&draft).await, "send it again");
    assert_eq!(archive.blob(&digest).await.unwrap(), None);
    assert_eq!(archive.put_blob(&bytes).await.unwrap(), digest);
    assert_eq!(archive.blob(&digest).await.unwrap().as_deref(), Some(&bytes[..]));
}

async fn a_blob_that_is_not_what_it_is_named_by_is_refused(talk: Talk) {
    let archive = talk.broker.archive();
    let draft = |size_bytes: u64, name: &str| BlobDraft {
        digest: Digest::of(b"what it is named by"),
        size_bytes,
        name: name.into(),
    };
    let send = async |draft: &BlobDraft, number, bytes: &[u8]| {
        archive.send_blob(draft, &BlobPiece { number, bytes: bytes.to_vec() }).await
    };
    refused(send(&draft(3, "d"), 0, b"four").await, "3 belong there");
    refused(send(&draft(3, "d"), 1, b"").await, "0 belong there");
    refused(send(&draft(3, ""), 0, b"one").await, "name");
    refused(send(&draft(3, "a:b"), 0, b"one").await, "name");
    refused(archive.keep_blob(&draft(257 << 20, "d")).await, "268435456");
    refused(archive.keep_blob(&draft(3, "d")).await, "send it again");
    send(&draft(3, "d"), 0, b"one").await.unwrap();
    let kept = archive.keep_blob(&draft(3, "d")).await;
    // A server that is not asked to hash so many bytes keeps them, and no reader takes them.
    match kept {
        Ok(()) => {
            let read = archive.blob(&draft(3, "d").digest).await.unwrap_err();
            assert!(matches!(&read, QueueError::Protocol(r) if r.contains("named by")), "{read}");
        }
        kept => {
            refused(kept, "send it again");
            assert_eq!(archive.blob(&draft(3, "d").digest).await.unwrap(), None);
        }
    }
}

async fn blobs_are_listed_and_forgotten(talk: Talk) {
    let archive = talk.broker.archive();
    assert!(archive.blobs().await.unwrap().is_empty());
    let one = archive.put_blob(&long(2 * MIB)).await.unwrap();
    talk.pass(5_000);
    let two = archive.put_blob(b"two").await.unwrap();
    let mut blobs = archive.blobs().await.unwrap();
    assert!(blobs.is_sorted_by_key(|blob| blob.digest.0));
    blobs.sort_by_key(|blob| blob.stored_at);
    let sizes: Vec<_> = blobs.iter().map(|blob| (blob.digest, blob.size_bytes)).collect();
    assert_eq!(sizes, [(one, 2 * MIB as u64), (two, 3)]);
    assert!(blobs[1].stored_at >= blobs[0].stored_at + 5_000);
    assert!(archive.delete_blob(&one).await.unwrap());
    assert!(!archive.delete_blob(&one).await.unwrap());
    assert_eq!(archive.blob(&one).await.unwrap(), None);
    assert_eq!(archive.blob_piece(&one, 1).await.unwrap(), None);
    assert_eq!(archive.blob(&two).await.unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(archive.blobs().await.unwrap().len(), 1);
}

fn line(detail: &str) -> JournalLine {
    JournalLine::new("ann", "plugin.activate", "resize", detail)
}

async fn the_journal_keeps_who_did_what_in_order(talk: Talk) {
    let archive = talk.broker.archive();
    assert!(archive.journal_entries(&JournalRange::newest(5)).await.unwrap().is_empty());
    let began = talk.now();
    for n in 0..7 {
        archive.journal(&line(&n.to_string())).await.unwrap();
    }
    talk.pass(60_000);
    archive.journal(&line("7 \u{202e}\n\0")).await.unwrap();
    let read = async |range: JournalRange| archive.journal_entries(&range).await.unwrap();
    let all = read(JournalRange::newest(100)).await;
    assert!(
        all.iter().map(|entry| entry.line.detail.chars().next()).eq("01234567".chars().map(Some))
    );
    assert_eq!(all[3].line, line("3"));
    assert_eq!(all[7].line, line("7 \u{202e}\n\0"));
    assert!(all[0].at >= began && all[7].at >= all[6].at + 60_000);
    assert!(all.is_sorted_by_key(|entry| entry.at));
    assert_eq!(read(JournalRange::newest(2)).await, all[6..]);
    let after = |at: usize| Some(all[at].id.clone());
    let range = JournalRange { after: after(1), before: None, limit: 3 };
    assert_eq!(read(range.clone()).await, all[2..5]);
    assert_eq!(read(JournalRange { before: after(3), ..range }).await, all[2..3]);
    let before = JournalRange { after: None, before: after(4), limit: 3 };
    assert_eq!(read(before).await, all[1..4]);
    assert!(read(JournalRange { after: after(7), before: None, limit: 9 }).await.is_empty());
    let odd = JournalRange {
        after: Some(bulkhead_queue::EventId("x".into())),
        ..JournalRange::newest(1)
    };
    refused(archive.journal_entries(&odd).await, "`x`");
}

async fn the_journal_is_bounded(talk: Talk) {
    let archive = talk.broker.archive();
    let long = JournalLine::new(&"ä".repeat(200), "b", "c", &"d".repeat(5_000));
    assert_eq!((long.actor.len(), long.detail.len()), (256, 4 << 10));
    archive.journal(&long).await.unwrap();
    let longer = JournalLine { detail: "d".repeat(4_097), ..long.clone() };
    refused(archive.journal(&longer).await, "4097");
    let longer = JournalLine { object: "o".repeat(257), ..long };
    refused(archive.journal(&longer).await, "257");
    for thousand in 0..10 {
        let lines = (0..1_000).map(|n| line(&(thousand * 1_000 + n).to_string()));
        let lines: Vec<JournalLine> = lines.collect();
        let written = futures::future::join_all(lines.iter().map(|line| archive.journal(line)));
        written.await.into_iter().for_each(Result::unwrap);
    }
    let mut read = 0;
    let mut range = JournalRange { before: None, after: Some(zero()), limit: usize::MAX };
    loop {
        let page = archive.journal_entries(&range).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 1_000);
        assert!(page.iter().all(|entry| entry.line.actor == "ann"), "the oldest went");
        (read, range.after) = (read + page.len(), Some(last.id.clone()));
    }
    assert_eq!(read, 10_000);
}

fn zero() -> bulkhead_queue::EventId {
    bulkhead_queue::EventId("0-0".into())
}

async fn history(talk: &Talk, resolution: Resolution) -> Vec<Sample> {
    talk.broker.archive().history(&queue(), 0, u64::MAX, resolution).await.unwrap()
}

async fn a_queue_has_one_sample_a_minute_and_one_an_hour(talk: Talk) {
    let archive = talk.broker.archive();
    assert!(history(&talk, Resolution::Minute).await.is_empty());
    // The begin of an hour, so that no minute ends by itself.
    talk.pass(3_600_000 - talk.now() % 3_600_000 + 1_000);
    let began = talk.now();
    let parent = talk.submit(new_task("a")).await;
    talk.submit(with("a", after(&[here(parent)]))).await;
    talk.submit_many(vec![with("a", starting(talk.now() + DAY_MS)); 2]).await;
    let first = talk.claim_one().await;
    talk.submit_many(vec![of_tenant("b", "acme"); 3]).await;
    talk.pass(7_000);
    assert!(archive.sample(&queue()).await.unwrap());
    assert!(!archive.sample(&queue()).await.unwrap(), "this minute has one");
    talk.settle(done(&first)).await;
    talk.pass(60_000);
    assert!(archive.sample(&queue()).await.unwrap());
    let minutes = history(&talk, Resolution::Minute).await;
    assert_eq!(minutes.len(), 2);
    let Sample { at, oldest_pending_ms, .. } = minutes[0];
    assert!((began + 7_000..began + 60_000).contains(&at), "{at}");
    assert!((7_000..60_000).contains(&oldest_pending_ms.unwrap()), "{oldest_pending_ms:?}");
    let depths = |sample: &Sample| {
        let Sample { pending, scheduled, blocked, running, failed, .. } = sample;
        [*pending, *scheduled, *blocked, *running, *failed]
    };
    assert_eq!(depths(&minutes[0]), [3, 2, 1, 1, 0]);
    assert_eq!(depths(&minutes[1]), [4, 2, 0, 0, 0]);
    assert_eq!(minutes[0].totals, [("submitted".to_owned(), 7)].into());
    let totals = [("completed".to_owned(), 1), ("submitted".to_owned(), 7)];
    assert_eq!(minutes[1].totals, totals.into());
    assert_eq!(history(&talk, Resolution::Hour).await, minutes[..1]);
    let part = archive.history(&queue(), at + 1, u64::MAX, Resolution::Minute).await.unwrap();
    assert_eq!(part, minutes[1..]);
    let part = archive.history(&queue(), at, at, Resolution::Minute).await.unwrap();
    assert_eq!(part, minutes[..1]);
    talk.pass(3_600_000);
    assert!(archive.sample(&queue()).await.unwrap());
    assert_eq!(history(&talk, Resolution::Hour).await.len(), 2);
    talk.is_sound().await;
    // Looking at a queue makes none.
    let other = QueueName::new("other").unwrap();
    assert!(archive.sample(&other).await.unwrap());
    assert_eq!(archive.history(&other, 0, u64::MAX, Resolution::Minute).await.unwrap().len(), 1);
    assert_eq!(talk.broker.queues().await.unwrap(), [queue()]);
}

async fn samples_are_kept_in_rings(talk: Talk) {
    let archive = talk.broker.archive();
    talk.pass(3_600_000 - talk.now() % 3_600_000 + 1_000);
    let began = talk.now();
    // The first and the last of a day, and one that takes the first one's slot.
    for minute in [0, 1, 24 * 60 - 1, 24 * 60] {
        talk.pass((began + minute * 60_000).saturating_sub(talk.now()));
        assert!(archive.sample(&queue()).await.unwrap());
    }
    let at: Vec<u64> = history(&talk, Resolution::Minute).await.iter().map(|s| s.at).collect();
    let minutes: Vec<u64> = at.iter().map(|at| (at - began) / 60_000).collect();
    assert_eq!(minutes, [1, 24 * 60 - 1, 24 * 60]);
    let hours = history(&talk, Resolution::Hour).await;
    let hours: Vec<u64> = hours.iter().map(|sample| (sample.at - began) / 3_600_000).collect();
    assert_eq!(hours, [0, 23, 24]);
    // A ring's length later the newest takes the place of the one that had its slot.
    talk.pass(30 * DAY_MS);
    assert!(archive.sample(&queue()).await.unwrap());
    let hours = history(&talk, Resolution::Hour).await;
    let hours: Vec<u64> = hours.iter().map(|sample| (sample.at - began) / 3_600_000).collect();
    assert_eq!(hours.last(), Some(&(31 * 24)));
    assert!(!hours.contains(&24), "{hours:?}");
}
