//! Which version is active: a step more in a plugin's activation, taken if no other came before.

use bulkhead_core::{Digest, UnixMs};
use bulkhead_queue::{DocumentId, DocumentKind, Expected};

use super::{FleetError, Shelf, TRIES, key, parsed, unknown, written};
use crate::fleet::{Activation, KEPT_STEPS, Step, Version, meant};
use crate::plugins::Identity;

/// What an activation came to.
#[derive(Debug, Clone)]
pub struct Activated {
    /// The version that is active now.
    pub version: Version,
    /// The one that was, if there was one.
    pub before: Option<Digest>,
}

impl Shelf<'_> {
    /// Let all hosts serve a version, which is named by the beginning of its digest or by what it
    /// calls itself.
    pub async fn activate(
        &self,
        plugin: &Identity,
        text: &str,
        now: UnixMs,
    ) -> Result<Activated, FleetError> {
        self.switch(plugin, now, |versions, _| {
            meant(versions, text)
                .map(|version| (version.clone(), false))
                .map_err(FleetError::NotFound)
        })
        .await
    }

    /// Let all hosts serve a version, if this is what is active. Whether the version is active
    /// now.
    pub(in crate::fleet) async fn activate_over(
        &self,
        plugin: &Identity,
        digest: Digest,
        base: Option<Digest>,
        now: UnixMs,
    ) -> Result<bool, FleetError> {
        let gone = || FleetError::NotFound(format!("{} is not kept any more", digest.short()));
        let switched = self
            .step(plugin, now, |versions, activation| {
                let active = activation.and_then(Activation::active);
                let version = versions.iter().find(|version| version.digest == digest);
                match active == base {
                    true => Ok(Some((version.ok_or_else(gone)?.clone(), false))),
                    false => Ok(None),
                }
            })
            .await?;
        match switched {
            Some(_) => Ok(true),
            None => Ok(self.read().await?.active(plugin) == Some(digest)),
        }
    }

    /// Go back to the version that was active before.
    pub async fn roll_back(&self, plugin: &Identity, now: UnixMs) -> Result<Activated, FleetError> {
        self.switch(plugin, now, |versions, activation| {
            let kept = versions.iter().map(|version| version.digest).collect();
            let before = activation.and_then(|activation| activation.before(&kept));
            let before = before.and_then(|step| versions.iter().find(|v| v.digest == step.digest));
            before.map(|version| (version.clone(), true)).ok_or_else(|| {
                FleetError::NotFound("no version that is still kept was active before".to_owned())
            })
        })
        .await
    }

    /// Activate what is chosen; a canary that runs has ended by that.
    async fn switch(
        &self,
        plugin: &Identity,
        now: UnixMs,
        choose: impl Fn(&[Version], Option<&Activation>) -> Result<(Version, bool), FleetError>,
    ) -> Result<Activated, FleetError> {
        let chosen =
            self.step(plugin, now, |versions, activation| choose(versions, activation).map(Some));
        let activated = chosen.await?.ok_or_else(|| unknown(plugin))?;
        self.end_canary_of(plugin, now).await?;
        Ok(activated)
    }

    /// Activate what is chosen; nothing if nothing is.
    async fn step(
        &self,
        plugin: &Identity,
        now: UnixMs,
        choose: impl Fn(&[Version], Option<&Activation>) -> Result<Option<(Version, bool)>, FleetError>,
    ) -> Result<Option<Activated>, FleetError> {
        let id = DocumentId::new(DocumentKind::Activation, key(plugin)?);
        for _ in 0..TRIES {
            let fleet = self.read().await?;
            let versions = fleet.versions_of(plugin);
            if versions.is_empty() {
                return Err(unknown(plugin));
            }
            let held = self.archive.document(&id).await?;
            let activation: Option<Activation> = held.as_ref().and_then(parsed);
            let Some((version, rollback)) = choose(versions, activation.as_ref())? else {
                return Ok(None);
            };
            let before = activation.as_ref().and_then(Activation::active);
            let mut steps = activation.map(|activation| activation.steps).unwrap_or_default();
            steps.push(Step {
                digest: version.digest,
                version: version.version.clone(),
                at: now,
                by: self.actor.clone(),
                rollback,
            });
            let excess = steps.len().saturating_sub(KEPT_STEPS);
            steps.drain(..excess);
            let (name, owner) = (version.name.clone(), version.owner.clone());
            let document = written(&Activation { name, owner, steps })?;
            let expected = held.map_or(Expected::Nothing, Expected::Exactly);
            if self.archive.put_document(&id, &document, &expected, None).await? {
                let action = if rollback { "plugin.rollback" } else { "plugin.activate" };
                self.note(action, plugin, &version.digest.to_string()).await?;
                return Ok(Some(Activated { version, before }));
            }
        }
        Err(FleetError::Refused(format!(
            "others change which version of `{plugin}` is active; look at `bulkhead plugin history \
             {plugin}` and try again"
        )))
    }
}
