use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bulkhead_core::UnixMs;
use bulkhead_queue::{Broker, Clock, EmbeddedBroker, JournalRange};

use super::forget::{MAX_STRAYS, STRAY_KEPT_MS};
use super::*;
use crate::fleet::{KEPT_VERSIONS, Room};

/// A broker by a clock that is moved.
struct Stage {
    broker: EmbeddedBroker,
    now_ms: Arc<AtomicU64>,
}

impl Stage {
    fn new() -> Self {
        let now_ms = Arc::new(AtomicU64::new(1_000));
        let read = now_ms.clone();
        let clock = Clock::read_by(move || read.load(Ordering::Relaxed) * 1_000);
        Self { broker: EmbeddedBroker::in_memory_at(clock), now_ms }
    }

    fn shelf(&self) -> Shelf<'_> {
        Shelf::new(self.broker.archive(), "ann")
    }

    fn pass(&self, ms: u64) -> UnixMs {
        self.now_ms.fetch_add(ms, Ordering::Relaxed) + ms
    }

    async fn push(&self, number: u64) -> Pushed {
        self.pass(1);
        let upload = Upload {
            name: "resize".parse().unwrap(),
            owner: None,
            component: number.to_be_bytes().to_vec(),
            version: Some(format!("{number}.0.0")),
            manifest: Some(format!("# {number}")),
            signature: None,
        };
        let now = self.now_ms.load(Ordering::Relaxed);
        self.shelf().push(upload, None, now).await.unwrap()
    }

    /// Push a component of this text as this plugin of `acme`.
    async fn push_of_acme(
        &self,
        plugin: &str,
        text: &str,
        room: &Room,
    ) -> Result<Pushed, FleetError> {
        let now = self.pass(1);
        let manifest = Some(format!("# {now}"));
        let upload = Upload {
            name: plugin.parse().unwrap(),
            owner: Some("acme".parse().unwrap()),
            component: text.as_bytes().to_vec(),
            version: None,
            manifest,
            signature: None,
        };
        self.shelf().push(upload, Some(room), now).await
    }

    async fn blobs(&self) -> usize {
        self.broker.archive().blobs().await.unwrap().len()
    }

    async fn kept(&self) -> Vec<String> {
        let fleet: Fleet = self.shelf().read().await.unwrap();
        let versions = fleet.versions_of(&"resize".into()).iter();
        versions.filter_map(|version| version.version.clone()).collect()
    }
}

#[tokio::test]
async fn old_versions_and_blobs_that_nothing_names_go() {
    let stage = Stage::new();
    let plugin = Identity::from("resize");
    assert!(!stage.push(1).await.was_known);
    stage.shelf().activate(&plugin, "1.0.0", 5).await.unwrap();
    assert!(stage.push(1).await.was_known, "pushing one again is no error");
    for number in 2..=KEPT_VERSIONS as u64 + 1 {
        assert!(stage.push(number).await.forgotten.is_empty());
    }
    let forgotten = stage.push(20).await.forgotten;
    assert_eq!(forgotten[0].version.as_deref(), Some("2.0.0"), "1.0.0 is active");
    let kept = stage.kept().await;
    assert_eq!((kept.len(), kept[0].as_str()), (KEPT_VERSIONS + 1, "1.0.0"));
    assert_eq!(stage.blobs().await, 2 * (KEPT_VERSIONS + 1), "its blobs go with a version");
    let archive = stage.broker.archive();
    archive.put_blob(b"stray").await.unwrap();
    stage.push(20).await;
    assert_eq!(stage.blobs().await, 2 * (KEPT_VERSIONS + 1) + 1, "it may yet be named");
    stage.pass(2 * STRAY_KEPT_MS);
    stage.push(20).await;
    assert_eq!(stage.blobs().await, 2 * (KEPT_VERSIONS + 1));
    assert_eq!(stage.shelf().remove(&plugin, 9).await.unwrap(), KEPT_VERSIONS + 1);
    assert_eq!(stage.blobs().await, 0);
    assert!(stage.kept().await.is_empty());
    let gone = stage.shelf().remove(&plugin, 9).await.unwrap_err();
    assert!(matches!(gone, FleetError::NotFound(_)), "{gone}");
}

#[tokio::test]
async fn a_tenant_that_pushes_on_and_on_takes_no_more_than_its_room() {
    let stage = Stage::new();
    let room = Room { plugins: 2, versions: 4, bytes: 1_000 };
    for number in 0..50 {
        stage.push_of_acme("a", &format!("a{number}"), &room).await.unwrap();
        stage.push_of_acme("b", "b", &room).await.unwrap();
        assert!(stage.blobs().await <= 2 * 4, "{number}");
    }
    let third = stage.push_of_acme("c", "c", &room).await.unwrap_err();
    assert!(matches!(&third, FleetError::Refused(why) if why.contains("2 plugins")), "{third}");
    let large = stage.push_of_acme("b", &"b".repeat(1_001), &room).await.unwrap_err();
    assert!(matches!(large, FleetError::Refused(_)), "{large}");
    assert_eq!(stage.blobs().await, 2 * 4, "what is refused is not stored");
}

#[tokio::test]
async fn what_nobody_names_stops_tenants_and_not_the_operator() {
    let stage = Stage::new();
    for number in 0..MAX_STRAYS {
        stage.broker.archive().put_blob(&number.to_be_bytes()).await.unwrap();
    }
    let busy = stage.push_of_acme("a", "a", &Room::MOST).await.unwrap_err();
    assert!(matches!(busy, FleetError::Busy(_)), "{busy}");
    stage.push(1).await;
    stage.pass(2 * STRAY_KEPT_MS);
    stage.push_of_acme("a", "a", &Room::MOST).await.unwrap();
    assert_eq!(stage.blobs().await, 4, "it swept before it stored");
}

#[tokio::test]
async fn of_two_who_activate_at_once_both_are_in_the_history() {
    let stage = Stage::new();
    let plugin = Identity::from("resize");
    stage.push(1).await;
    stage.push(2).await;
    let shelf = stage.shelf();
    let (one, two) =
        tokio::join!(shelf.activate(&plugin, "1.0.0", 5), shelf.activate(&plugin, "2.0.0", 6));
    let (one, two) = (one.unwrap(), two.unwrap());
    let fleet = shelf.read().await.unwrap();
    let steps = &fleet.activations[&plugin].steps;
    let mut activated = vec![one.version.digest, two.version.digest];
    activated.sort_by_key(|digest| *digest != steps[0].digest);
    assert_eq!(steps.iter().map(|step| step.digest).collect::<Vec<_>>(), activated);
    let back = shelf.roll_back(&plugin, 7).await.unwrap();
    assert_eq!((back.version.digest, back.before), (activated[0], Some(activated[1])));
    let lines = stage.broker.archive().journal_entries(&JournalRange::newest(1)).await.unwrap();
    let line = &lines[0].line;
    assert_eq!((&*line.actor, &*line.action), ("ann", "plugin.rollback"));
    assert_eq!((&*line.object, &line.detail), ("resize", &activated[0].to_string()));
}
