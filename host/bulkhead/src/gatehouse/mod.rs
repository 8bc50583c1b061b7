//! The gatehouse: where plugins come in by HTTP, and where people see what comes in with them.
//!
//! It judges a component as this host judges what is pushed, in a sandbox of its own that is made
//! when the first one comes, and keeps what passes on the broker's [`Shelf`]. One component is on
//! its way through the gates at a time, so that uploads never take the host's tasks more than
//! one compiler. It knows nothing of HTTP and of callers.

mod inspection;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_api::document::{
    AccessDocument, CanaryDocument, InspectionDocument, KeptPlugin, PluginStep, PluginVersion,
    RefusedDocument,
};
use bulkhead_api::{
    CanaryAsk, PluginActivated, PluginPushed, PluginRef, PluginUpload, Plugins, Problem,
};
use bulkhead_core::{Digest, TenantName};
use bulkhead_queue::Broker;
use bulkhead_sandbox::{
    Account, CompileTime, Gate, Manifest, Plugin, PluginSource, Rejection, Sandbox, SandboxConfig,
};
use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

pub use self::inspection::{access, described};
use crate::clock::unix_ms;
use crate::config::quantity::{Size, Span};
use crate::fleet::{
    Activated, CanaryBy, CanaryPlan, FleetError, Pushed, Room, Shelf, Step, Upload, Version, meant,
};
use crate::host::isolation;
use crate::manifest::{self, MAX_MANIFEST_BYTES};
use crate::options::HostOptions;
use crate::plugins::{Identity, TRUST, trusts_pushed};
use crate::trust::MAX_FILE_BYTES;

/// How long a component may be read and judged for besides its compilation.
const BESIDE_COMPILING: Duration = Duration::from_secs(60);

/// Keeps plugins for all hosts, for those who ask a host by HTTP.
pub struct Gatehouse {
    broker: Arc<dyn Broker>,
    options: HostOptions,
    /// Made when it is first needed. Whoever holds it is alone in it.
    sandbox: Mutex<Option<Sandbox>>,
    /// What compiling tenants' plugins took here.
    spent: SyncMutex<HashMap<TenantName, Arc<CompileTime>>>,
}

/// The gate that a component failed, and why.
struct Refusal {
    gate: String,
    reason: String,
}

impl Refusal {
    fn new(gate: &str, reason: impl ToString) -> Self {
        Self { gate: gate.to_owned(), reason: reason.to_string() }
    }

    fn of(self, plugin: &Identity) -> Problem {
        Problem::at_gate(&plugin.to_string(), &self.gate, &self.reason)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::new(rejection.gate.as_str(), rejection.message)
    }
}

impl From<FleetError> for Problem {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Refused(reason) => Self::refused(reason),
            FleetError::NotFound(reason) => Self::not_found(reason),
            FleetError::Busy(reason) => Self::busy(reason, 60),
            FleetError::Broker(error) => error.into(),
        }
    }
}

/// What is in a version that is kept.
struct Contents {
    component: Vec<u8>,
    manifest: Option<String>,
}

impl Gatehouse {
    /// The gatehouse of a host with these options, which are the whole host's: its bounds, its
    /// compiler, its cache, its settings.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, options: HostOptions) -> Self {
        Self { broker, options, sandbox: Mutex::default(), spent: SyncMutex::default() }
    }

    fn shelf(&self, actor: &str) -> Shelf<'_> {
        Shelf::new(self.broker.archive(), actor)
    }

    fn made(&self) -> Result<Sandbox, Problem> {
        let options = &self.options;
        let unmade =
            |reason: String| Problem::refused(format!("no plugin is judged here: {reason}"));
        let compiler = options.compiler.clone();
        let compiler = compiler.ok_or_else(|| unmade("the host has no compiler".into()))?;
        Sandbox::new(SandboxConfig {
            concurrency: 1,
            concurrent_loads: 1,
            isolation: isolation(options).map_err(|error| unmade(error.to_string()))?,
            ..options.sandbox(compiler)
        })
        .map_err(|error| unmade(error.to_string()))
    }

    fn account(&self, tenant: &TenantName) -> Account {
        let compile_per_hour = self.options.settings.now().plugin_quota(tenant).compile_per_hour;
        let spent = self.spent.lock().entry(tenant.clone()).or_default().clone();
        Account { tenant: tenant.clone(), compile_per_hour, spent }
    }

    /// The manifest that holds for a component, if this host trusts the component.
    fn trusted(
        &self,
        plugin: &Identity,
        digest: Digest,
        manifest: Option<&str>,
        signature: Option<&str>,
    ) -> Result<Manifest, Refusal> {
        let settings = self.options.settings.now();
        trusts_pushed(&settings, self.options.fleet, plugin, digest, signature)
            .map_err(|reason| Refusal::new(TRUST, reason))?;
        let manifest = manifest::of_pushed(plugin, manifest, &settings);
        manifest.map_err(|error| Refusal::new("manifest", error))
    }

    /// Take a component through the gates of the sandbox.
    async fn pass(
        &self,
        sandbox: &Sandbox,
        plugin: &Identity,
        bytes: Vec<u8>,
        manifest: Manifest,
    ) -> Result<Plugin, Refusal> {
        let account = plugin.owner.as_ref().map(|tenant| self.account(tenant));
        let source = PluginSource { name: plugin.name.clone(), bytes, manifest, account };
        Ok(sandbox.load(source).await?)
    }

    async fn version(&self, plugin: &Identity, text: &str) -> Result<Version, Problem> {
        let fleet = self.shelf("").read().await?;
        let versions = fleet.versions_of(plugin);
        if versions.is_empty() {
            return Err(Problem::not_found(format!("no version of `{plugin}` was pushed")));
        }
        meant(versions, text).cloned().map_err(Problem::not_found)
    }

    async fn contents(&self, version: &Version) -> Result<Contents, Problem> {
        let archive = self.broker.archive();
        let gone = || Problem::not_found("what the version names is no longer kept; push it again");
        if version.size_bytes > self.options.max_plugin_bytes {
            let (has, most) = (Size(version.size_bytes), Size(self.options.max_plugin_bytes));
            let detail = format!("the version has {has}, and `plugins.max_bytes` is {most} here");
            return Err(Problem::refused(detail));
        }
        let component = archive.blob(&version.digest).await?.ok_or_else(gone)?.into();
        let manifest = match &version.manifest {
            Some(digest) => {
                let text = archive.blob(digest).await?.ok_or_else(gone)?;
                Some(String::from_utf8_lossy(&text).into_owned())
            }
            None => None,
        };
        Ok(Contents { component, manifest })
    }
}

#[async_trait]
impl Plugins for Gatehouse {
    fn max_bytes(&self) -> u64 {
        self.options.max_plugin_bytes
    }

    fn max_text_bytes(&self) -> u64 {
        MAX_MANIFEST_BYTES.max(MAX_FILE_BYTES)
    }

    fn gates_take(&self) -> Duration {
        self.options.compile_budget.saturating_add(BESIDE_COMPILING)
    }

    async fn kept(&self) -> Result<Vec<KeptPlugin>, Problem> {
        let shelf = self.shelf("");
        let fleet = shelf.read().await?;
        let mut plugins: BTreeMap<&Identity, KeptPlugin> = BTreeMap::new();
        for (identity, versions) in &fleet.versions {
            let kept = plugins.entry(identity).or_insert_with(|| nothing_of(identity));
            kept.versions = versions.iter().map(version).collect();
        }
        for (identity, activation) in &fleet.activations {
            let kept = plugins.entry(identity).or_insert_with(|| nothing_of(identity));
            kept.active = activation.active();
            kept.steps = activation.steps.iter().map(step).collect();
        }
        let mut canaries = shelf.canary_documents(&fleet).await?;
        for (identity, kept) in &mut plugins {
            kept.canary = canaries.remove(*identity);
        }
        Ok(plugins.into_values().collect())
    }

    async fn meant(&self, plugin: &PluginRef, text: &str) -> Result<PluginVersion, Problem> {
        Ok(version(&self.version(&identity(plugin), text).await?))
    }

    async fn inspect(&self, plugin: &PluginRef, text: &str) -> Result<InspectionDocument, Problem> {
        let identity = identity(plugin);
        let version = self.version(&identity, text).await?;
        let mut sandbox = self.sandbox.lock().await;
        let Contents { component, manifest } = self.contents(&version).await?;
        let settings = self.options.settings.now();
        let refused =
            |refusal: Refusal| RefusedDocument { gate: refusal.gate, reason: refusal.reason };
        let mut document = InspectionDocument {
            plugin: identity.to_string(),
            digest: version.digest.to_string(),
            manifest: manifest.clone(),
            access: AccessDocument::default(),
            description: None,
            refused: None,
        };
        let manifest = manifest.as_deref();
        let said = match manifest::of_pushed(&identity, manifest, &settings) {
            Ok(said) => said,
            Err(error) => {
                document.refused = Some(refused(Refusal::new("manifest", error)));
                return Ok(document);
            }
        };
        let sandbox = made_once(&mut sandbox, || self.made())?;
        let examined = async {
            let inspected = sandbox.inspect(&component, &said.grants)?;
            document.access = access(&inspected);
            // What it imports is read off it; to be asked anything else it has to be let in.
            let signature = version.signature.as_deref();
            let manifest = self.trusted(&identity, version.digest, manifest, signature)?;
            self.pass(sandbox, &identity, component, manifest).await
        };
        match examined.await {
            Ok(plugin) => document.description = Some(described(&plugin)),
            Err(refusal) => document.refused = Some(refused(refusal)),
        }
        Ok(document)
    }

    async fn push(
        &self,
        plugin: &PluginRef,
        upload: PluginUpload,
        actor: &str,
    ) -> Result<PluginPushed, Problem> {
        let identity = identity(plugin);
        let PluginUpload { component, manifest, signature, unchecked } = upload;
        let digest = Digest::of(&component);
        let settings = self.options.settings.now();
        let room = plugin.owner.as_ref().map(|tenant| Room::of(&settings.plugin_quota(tenant)));
        let shelf = self.shelf(actor);
        if let Some(room) = &room {
            let is_room = shelf.has_room(room, &identity, digest, component.len() as u64).await?;
            is_room.map_err(|reason| Refusal::new(Gate::Quota.as_str(), reason).of(&identity))?;
        }
        let named = if unchecked {
            None
        } else {
            let said = self.trusted(&identity, digest, manifest.as_deref(), signature.as_deref());
            let said = said.map_err(|refusal| refusal.of(&identity))?;
            let mut sandbox = self.sandbox.lock().await;
            let sandbox = made_once(&mut sandbox, || self.made())?;
            let passed = self.pass(sandbox, &identity, component.clone(), said).await;
            let passed = passed.map_err(|refusal| refusal.of(&identity))?;
            Some(passed.description().version.clone())
        };
        let (name, owner) = (plugin.name.clone(), plugin.owner.clone());
        let upload = Upload { name, owner, component, version: named, manifest, signature };
        let Pushed { version: pushed, was_known, forgotten } =
            shelf.push(upload, room.as_ref(), unix_ms()).await?;
        let forgotten = forgotten.iter().map(|old| old.digest).collect();
        Ok(PluginPushed { version: version(&pushed), was_known, forgotten })
    }

    async fn activate(
        &self,
        plugin: &PluginRef,
        version: &str,
        actor: &str,
    ) -> Result<PluginActivated, Problem> {
        let activated = self.shelf(actor).activate(&identity(plugin), version, unix_ms()).await;
        Ok(told(&activated?))
    }

    async fn roll_back(&self, plugin: &PluginRef, actor: &str) -> Result<PluginActivated, Problem> {
        Ok(told(&self.shelf(actor).roll_back(&identity(plugin), unix_ms()).await?))
    }

    async fn begin_canary(
        &self,
        plugin: &PluginRef,
        version: &str,
        ask: CanaryAsk,
        actor: &str,
    ) -> Result<CanaryDocument, Problem> {
        let (plan, hosts) = (plan(ask)?, self.broker.hosts().await?);
        let (shelf, plugin) = (self.shelf(actor), identity(plugin));
        let begun = shelf.begin_canary(&plugin, version, &plan, &hosts, unix_ms()).await?;
        Ok(begun.document(&Default::default()))
    }

    async fn end_canary(
        &self,
        plugin: &PluginRef,
        promote: bool,
        actor: &str,
    ) -> Result<CanaryDocument, Problem> {
        let (shelf, plugin) = (self.shelf(actor), identity(plugin));
        let ended = match promote {
            true => shelf.promote_canary(&plugin, unix_ms()).await?,
            false => shelf.stop_canary(&plugin, unix_ms()).await?,
        };
        Ok(ended.document(&Default::default()))
    }

    async fn remove(&self, plugin: &PluginRef, actor: &str) -> Result<usize, Problem> {
        Ok(self.shelf(actor).remove(&identity(plugin), unix_ms()).await?)
    }
}

/// What is there, made if nothing is.
fn made_once<T, E>(slot: &mut Option<T>, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
    match slot {
        Some(made) => Ok(made),
        None => Ok(slot.insert(make()?)),
    }
}

fn identity(plugin: &PluginRef) -> Identity {
    Identity::of(plugin.owner.as_ref(), plugin.name.as_str())
}

fn nothing_of(identity: &Identity) -> KeptPlugin {
    KeptPlugin {
        plugin: identity.to_string(),
        name: identity.name.clone(),
        owner: identity.owner.as_ref().map(ToString::to_string),
        active: None,
        versions: Vec::new(),
        steps: Vec::new(),
        canary: None,
    }
}

fn plan(ask: CanaryAsk) -> Result<CanaryPlan, FleetError> {
    let usual = CanaryPlan::default();
    Ok(CanaryPlan {
        shares_permille: match ask.shares {
            Some(shares) => shares.into_iter().map(permille).collect::<Result<_, _>>()?,
            None => usual.shares_permille,
        },
        by: if ask.by_tenant { CanaryBy::Tenant } else { CanaryBy::Task },
        attempts: ask.attempts.unwrap_or(usual.attempts),
        harm_permille: ask.harm.map_or(Ok(usual.harm_permille), permille)?,
        within_ms: ask.within.map_or(usual.within_ms, |within| Span(within).as_ms()),
    })
}

fn permille(share: f64) -> Result<u16, FleetError> {
    match (0.0..=1.0).contains(&share) {
        true => Ok((share * 1_000.0).round() as u16),
        false => Err(FleetError::Refused(format!("{share} is no share: from 0 to 1 is one"))),
    }
}

fn version(version: &Version) -> PluginVersion {
    PluginVersion {
        digest: version.digest,
        version: version.version.clone(),
        size_bytes: version.size_bytes,
        has_manifest: version.manifest.is_some(),
        is_signed: version.signature.is_some(),
        pushed_at: version.pushed_at,
        pushed_by: version.pushed_by.clone(),
    }
}

fn step(step: &Step) -> PluginStep {
    PluginStep {
        digest: step.digest,
        version: step.version.clone(),
        at: step.at,
        by: step.by.clone(),
        rollback: step.rollback,
    }
}

fn told(activated: &Activated) -> PluginActivated {
    PluginActivated { version: version(&activated.version), before: activated.before }
}
