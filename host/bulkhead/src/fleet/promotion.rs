//! Promoting a canary, in steps that anybody can finish.
//!
//! First the canary is marked as one that is promoted, in place of exactly the document that was
//! read: from then on nobody stops it or takes it back. Then its version is activated, and then
//! the verdict is given. Who dies in between leaves the mark, and the next look finishes it.

use bulkhead_core::UnixMs;
use bulkhead_queue::{Document, Expected};

use super::canary::{Canary, CanaryEnd, CanaryPromotion, CanaryRound, CanaryVerdict};
use super::shelf::{FleetError, Shelf, TRIES, written};
use super::steer::{contested, id};
use crate::plugins::Identity;

impl Shelf<'_> {
    /// End the canary that runs, by hand: its version is active from now on. Somebody else may
    /// have promoted it at the same time.
    pub async fn promote_canary(
        &self,
        plugin: &Identity,
        now: UnixMs,
    ) -> Result<Canary, FleetError> {
        let (mut held, mut canary) = self.running(plugin).await?;
        let meant = canary.clone();
        for _ in 0..TRIES {
            if let Some(promotion) = canary.promoting.clone() {
                self.finish(held, canary, promotion, now).await?;
            } else if canary.is_in_force(self.active(plugin).await?) {
                let round = CanaryRound::of(&canary, &self.counted(&canary).await?);
                let reason = "it was promoted by hand".to_owned();
                self.promote(held, canary, round, reason, now).await?;
            } else {
                self.end_outdated(held, canary, now).await?;
            }
            (held, canary) = self.latest(plugin).await?;
            if !canary.is_same(&meant) {
                return Err(contested(plugin));
            }
            match &canary.verdict {
                None => {}
                Some(verdict) if verdict.end == CanaryEnd::Promoted => return Ok(canary),
                Some(CanaryVerdict { end, reason, .. }) => {
                    return Err(FleetError::Refused(format!(
                        "the canary of `{plugin}` has ended meanwhile and was not promoted: {end}, \
                         {reason}"
                    )));
                }
            }
        }
        Err(contested(plugin))
    }

    /// Mark a canary as one that is promoted, and finish it; nothing if somebody else has changed
    /// it meanwhile.
    pub(super) async fn promote(
        &self,
        held: Document,
        mut canary: Canary,
        round: CanaryRound,
        reason: String,
        now: UnixMs,
    ) -> Result<Option<Canary>, FleetError> {
        let promotion = CanaryPromotion { reason, by: self.actor.clone(), round };
        canary.promoting = Some(promotion.clone());
        let (marked, expected) = (written(&canary)?, Expected::Exactly(held));
        if !self.archive.put_document(&id(&canary.identity())?, &marked, &expected, None).await? {
            return Ok(None);
        }
        self.finish(marked, canary, promotion, now).await
    }

    /// Activate the version of a canary that is marked, and give the verdict; nothing if somebody
    /// else has finished it meanwhile.
    pub(super) async fn finish(
        &self,
        held: Document,
        canary: Canary,
        promotion: CanaryPromotion,
        now: UnixMs,
    ) -> Result<Option<Canary>, FleetError> {
        let plugin = canary.identity();
        match self.activate_over(&plugin, canary.digest, canary.base, now).await {
            Ok(true) => {
                let CanaryPromotion { reason, by, round } = promotion;
                let verdict = CanaryVerdict { end: CanaryEnd::Promoted, reason, at: now, by };
                self.end(held, canary, round, verdict).await
            }
            Ok(false) => self.end_outdated(held, canary, now).await,
            // It would be tried for ever.
            Err(FleetError::NotFound(reason)) => {
                let verdict = self.verdict(CanaryEnd::Stopped, reason, now);
                self.end(held, canary, promotion.round, verdict).await
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use bulkhead_core::{Digest, QueueName};
    use bulkhead_queue::{
        Archive, BlobDraft, BlobInfo, BlobPiece, Broker, DocumentId, DocumentKind, EmbeddedBroker,
        JournalEntry, JournalLine, JournalRange, QueueError, Resolution, Sample,
    };
    use parking_lot::Mutex;

    use super::super::canary::CanaryPlan;
    use super::super::steer::CanaryTurn;
    use super::super::steer::tests::{counts, judge, plan, stage};
    use super::*;

    /// What happens just before a version is activated.
    #[derive(Clone, Copy)]
    enum Before {
        /// Somebody stops the canary.
        Stopped,
        /// A host sees a reason to take it back.
        Judged,
        /// Whoever activates it dies.
        Died,
        /// Nothing.
        Nothing,
    }

    /// The archive of a broker, where something happens just before a version is activated.
    struct Meddled<'a> {
        inner: &'a dyn Archive,
        plugin: Identity,
        before: Before,
        came: Mutex<Vec<String>>,
        /// How often hosts' counts were asked for.
        asked: AtomicU32,
    }

    impl<'a> Meddled<'a> {
        fn new(broker: &'a EmbeddedBroker, plugin: &Identity, before: Before) -> Self {
            let (inner, plugin) = (broker.archive(), plugin.clone());
            Self { inner, plugin, before, came: Mutex::default(), asked: AtomicU32::new(0) }
        }

        async fn meddle(&self) -> Result<(), QueueError> {
            let other = Shelf::new(self.inner, "bob");
            let came = match self.before {
                Before::Stopped => format!("{:?}", other.stop_canary(&self.plugin, 50).await),
                Before::Judged => {
                    let canary = other.read().await.unwrap().canaries[&self.plugin].clone();
                    let bad = counts(&canary, (50, 50), (0, 1_000));
                    other.count_canary("h9", &bad, canary.ends_at, 50).await.unwrap();
                    format!("{:?}", judge(&other, &self.plugin, 50).await)
                }
                Before::Died => return Err(QueueError::Unavailable("cut off".into())),
                Before::Nothing => return Ok(()),
            };
            self.came.lock().push(came);
            Ok(())
        }
    }

    #[async_trait]
    impl Archive for Meddled<'_> {
        async fn put_document(
            &self,
            id: &DocumentId,
            document: &Document,
            expected: &Expected,
            ttl_ms: Option<u64>,
        ) -> Result<bool, QueueError> {
            if id.kind == DocumentKind::Activation {
                self.meddle().await?;
            }
            self.inner.put_document(id, document, expected, ttl_ms).await
        }

        async fn document(&self, id: &DocumentId) -> Result<Option<Document>, QueueError> {
            self.inner.document(id).await
        }

        async fn documents(
            &self,
            kind: DocumentKind,
        ) -> Result<Vec<(String, Document)>, QueueError> {
            if kind == DocumentKind::CanaryCounts {
                self.asked.fetch_add(1, Ordering::Relaxed);
            }
            self.inner.documents(kind).await
        }

        async fn delete_document(&self, id: &DocumentId) -> Result<bool, QueueError> {
            self.inner.delete_document(id).await
        }

        async fn send_blob(&self, draft: &BlobDraft, piece: &BlobPiece) -> Result<(), QueueError> {
            self.inner.send_blob(draft, piece).await
        }

        async fn keep_blob(&self, draft: &BlobDraft) -> Result<(), QueueError> {
            self.inner.keep_blob(draft).await
        }

        async fn blob_info(&self, digest: &Digest) -> Result<Option<BlobInfo>, QueueError> {
            self.inner.blob_info(digest).await
        }

        async fn blob_piece(
            &self,
            digest: &Digest,
            number: u32,
        ) -> Result<Option<BlobPiece>, QueueError> {
            self.inner.blob_piece(digest, number).await
        }

        async fn blobs(&self) -> Result<Vec<BlobInfo>, QueueError> {
            self.inner.blobs().await
        }

        async fn delete_blob(&self, digest: &Digest) -> Result<bool, QueueError> {
            self.inner.delete_blob(digest).await
        }

        async fn journal(&self, line: &JournalLine) -> Result<(), QueueError> {
            self.inner.journal(line).await
        }

        async fn journal_entries(
            &self,
            range: &JournalRange,
        ) -> Result<Vec<JournalEntry>, QueueError> {
            self.inner.journal_entries(range).await
        }

        async fn sample(&self, queue: &QueueName) -> Result<bool, QueueError> {
            self.inner.sample(queue).await
        }

        async fn history(
            &self,
            queue: &QueueName,
            from: UnixMs,
            to: UnixMs,
            resolution: Resolution,
        ) -> Result<Vec<Sample>, QueueError> {
            self.inner.history(queue, from, to, resolution).await
        }
    }

    /// A canary of one round of which enough was seen, and nothing bad.
    async fn good_canary() -> (EmbeddedBroker, Identity, Canary) {
        let (broker, plugin) = stage().await;
        let shelf = Shelf::new(broker.archive(), "ann");
        let plan = CanaryPlan { shares_permille: vec![500], ..plan() };
        let canary = shelf.begin_canary(&plugin, "2", &plan, &[], 10).await.unwrap();
        let enough = counts(&canary, (0, 100), (0, 100));
        shelf.count_canary("h1", &enough, canary.ends_at, 11).await.unwrap();
        (broker, plugin, canary)
    }

    /// The canary as it is kept, and how often something was activated.
    async fn ended(broker: &EmbeddedBroker, canary: &Canary) -> (CanaryVerdict, usize) {
        let plugin = canary.identity();
        let fleet = Shelf::new(broker.archive(), "").read().await.unwrap();
        assert_eq!(fleet.active(&plugin), Some(canary.digest));
        let steps = fleet.activations[&plugin].steps.len();
        (fleet.canaries[&plugin].verdict.clone().unwrap(), steps)
    }

    #[tokio::test]
    async fn who_stops_a_canary_that_a_host_is_just_promoting_is_refused() {
        let (broker, plugin, canary) = good_canary().await;
        let meddled = Meddled::new(&broker, &plugin, Before::Stopped);
        let turn = judge(&Shelf::new(&meddled, "host h1"), &plugin, 12).await.unwrap();
        assert!(matches!(turn, CanaryTurn::Ended(_)), "{turn:?}");
        let (verdict, steps) = ended(&broker, &canary).await;
        assert_eq!((verdict.end, steps), (CanaryEnd::Promoted, 2), "as all serve");
        let came = meddled.came.lock().join("\n");
        assert!(came.contains("Refused") && came.contains("plugin rollback resize"), "{came}");
    }

    #[tokio::test]
    async fn a_canary_that_is_just_promoted_is_finished_by_others_and_not_taken_back() {
        let (broker, plugin, canary) = good_canary().await;
        let meddled = Meddled::new(&broker, &plugin, Before::Judged);
        // By hand: that somebody else finishes it is no failure.
        let promoted = Shelf::new(&meddled, "ann").promote_canary(&plugin, 12).await.unwrap();
        assert_eq!(promoted.digest, canary.digest);
        let (verdict, steps) = ended(&broker, &canary).await;
        assert_eq!((verdict.end, steps), (CanaryEnd::Promoted, 2), "it was activated once");
        assert_eq!((&*verdict.reason, &*verdict.by), ("it was promoted by hand", "ann"));
        let came = meddled.came.lock().join("\n");
        assert!(came.contains("Promoted"), "{came}");
        let again = Shelf::new(broker.archive(), "ann").promote_canary(&plugin, 13).await;
        assert!(matches!(again, Err(FleetError::NotFound(_))), "none runs any more");
    }

    #[tokio::test]
    async fn a_promotion_that_died_before_its_activation_is_finished_at_the_next_look() {
        let (broker, plugin, canary) = good_canary().await;
        let meddled = Meddled::new(&broker, &plugin, Before::Died);
        judge(&Shelf::new(&meddled, "host h1"), &plugin, 12).await.unwrap_err();
        let shelf = Shelf::new(broker.archive(), "host h2");
        assert_eq!(shelf.read().await.unwrap().active(&plugin), canary.base);
        // Whatever is counted from then on.
        let bad = counts(&canary, (50, 150), (0, 1_000));
        shelf.count_canary("h1", &bad, canary.ends_at, 13).await.unwrap();
        assert!(shelf.stop_canary(&plugin, 14).await.is_err());
        judge(&shelf, &plugin, 15).await.unwrap();
        let (verdict, _) = ended(&broker, &canary).await;
        assert_eq!((verdict.end, verdict.by.as_str()), (CanaryEnd::Promoted, "host h1"));
        let kept = &shelf.read().await.unwrap().canaries[&plugin];
        assert_eq!((kept.past[0].new.attempts, kept.past[0].new.failures), (100, 0));
        assert!(verdict.reason.contains("new 0 of 100"), "{}", verdict.reason);
    }

    #[tokio::test]
    async fn a_canary_beside_which_another_version_was_activated_is_not_promoted_by_hand() {
        let (broker, plugin, canary) = good_canary().await;
        let shelf = Shelf::new(broker.archive(), "ann");
        let died = Meddled::new(&broker, &plugin, Before::Died);
        judge(&Shelf::new(&died, "host h1"), &plugin, 12).await.unwrap_err();
        let other = shelf.read().await.unwrap().versions_of(&plugin)[2].digest;
        assert!(shelf.activate_over(&plugin, other, canary.base, 13).await.unwrap());
        let refused = shelf.promote_canary(&plugin, 14).await.unwrap_err().to_string();
        assert!(refused.contains("superseded"), "{refused}");
        assert_eq!(shelf.read().await.unwrap().active(&plugin), Some(other));
    }

    #[tokio::test]
    async fn however_many_canaries_there_are_hosts_counts_are_asked_for_once() {
        let (broker, plugin, canary) = good_canary().await;
        let meddled = Meddled::new(&broker, &plugin, Before::Nothing);
        let shelf = Shelf::new(&meddled, "ann");
        let asked = || meddled.asked.swap(0, Ordering::Relaxed);
        let mut fleet = shelf.read().await.unwrap();
        for name in ["crop", "scale"] {
            let other = Canary { name: name.parse().unwrap(), ..canary.clone() };
            fleet.canaries.insert(other.identity(), other);
        }
        let documents = shelf.canary_documents(&fleet).await.unwrap();
        assert_eq!((asked(), documents.len()), (1, 3));
        assert_eq!(documents[&plugin].new.attempts, 100);
        assert_eq!(documents[&Identity::from("crop")].new.attempts, 0, "another one's");
        // Looks that come to nothing ask for nothing more.
        let all = shelf.canary_counts().await.unwrap();
        for other in ["crop", "scale"].map(Identity::from) {
            assert_eq!(shelf.judge_canary(&other, &all, 12).await.unwrap(), CanaryTurn::Goes);
        }
        assert_eq!(shelf.judge_canary(&plugin, &[], 12).await.unwrap(), CanaryTurn::Goes);
        assert_eq!(asked(), 1);
        shelf.judge_canary(&plugin, &all, 13).await.unwrap();
        let fleet = shelf.read().await.unwrap();
        asked();
        let ended = shelf.canary_documents(&fleet).await.unwrap();
        assert_eq!((asked(), ended[&plugin].new.attempts), (0, 100), "it has a verdict");
    }
}
