//! Keeps the registry true to the plugin folders, the operator's and the tenants': file events,
//! a periodic look, and looks on request.
//!
//! Plugins load beside one another, and each owner's are taken up in the order of their names,
//! so that all hosts decide alike who has a task type that two want. One that takes long is
//! waited for only briefly: a file that burns the compiler's budget delays no other for longer,
//! and a folder that is never at rest delays nobody else's. How a file is judged is the
//! loader's affair, and what follows from it that of `verdict`.

mod fleet;
mod trials;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{Digest, TenantName};
use bulkhead_queue::Broker;
use bulkhead_sandbox::{Account, CompileTime, Gate, Sandbox};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use self::fleet::Follow;
use super::events::Watch;
use super::folder::{AT_REST, Folder};
use super::loader::{Candidate, Examined, From, Loader};
use super::quota::{self, TenantFile};
use super::tenant_folders::TenantFolders;
use super::{Identity, LiveSettings, Owner, Registry};
use crate::options::FleetPolicy;
use crate::shutdown::Shutdown;

/// Looks at the start: a second of waiting for files to come to rest.
const FIRST_LOOKS: u32 = 25;

/// How long a start waits for plugins that take long; they are taken up later.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// How often those that wait are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Between two looks for the sake of events.
const EVENT_PAUSE: Duration = Duration::from_millis(20);

/// How long a look that was asked for waits for files to come to rest.
const ASKED_PATIENCE: Duration = Duration::from_secs(1);

/// Folders that are looked at without a break.
const LOOKS_AT_ONCE: usize = 32;

/// Most plugin files of one tenant that are looked at.
const MAX_TENANT_FILES: usize = 1_000;

/// Watches the folders of one host.
pub(crate) struct Keeper {
    loader: Arc<Loader>,
    path: PathBuf,
    tenants: Option<TenantFolders>,
    folders: BTreeMap<Owner, Folder>,
    /// What tenants took of the compiler's time; also of those whose folder is gone.
    spent: BTreeMap<TenantName, Arc<CompileTime>>,
    rescan_every: Duration,
    settings: LiveSettings,
    loads: JoinSet<Examined>,
    /// Plugins that load, or wait to be taken up.
    loading: BTreeMap<Identity, Loading>,
    /// Whose folders have files that are still changing.
    restless: BTreeSet<Owner>,
    /// Plugins over a quota, and when to try again those that wait for time.
    waiting: BTreeMap<Identity, Option<Instant>>,
    watch: Option<Watch>,
    /// Somebody asked for a look, which then reads every file again.
    pub(crate) requests: Arc<Notify>,
    /// What was pushed, if the host takes any of it.
    follow: Option<Follow>,
    /// What was pushed may have changed.
    pub(crate) pushes: Arc<Notify>,
}

/// A plugin on its way.
struct Loading {
    since: Instant,
    task: AbortHandle,
    examined: Option<Examined>,
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where plugin files are, and how they are kept up with.
pub(crate) struct Folders {
    pub(crate) operators: PathBuf,
    pub(crate) tenants: Option<PathBuf>,
    pub(crate) rescan_every: Duration,
    pub(crate) max_plugin_bytes: u64,
    /// Where pushed plugins are.
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) fleet: FleetPolicy,
}

impl Keeper {
    /// Open the folders; the one that cannot be opened, and why.
    pub(crate) fn new(
        registry: Arc<Registry>,
        sandbox: Sandbox,
        folders: Folders,
        settings: LiveSettings,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let Folders { operators: path, tenants, rescan_every, max_plugin_bytes, broker, fleet } =
            folders;
        let failed = |error| (path.clone(), error);
        let folder = Folder::open(&path).map_err(failed)?;
        let place = folder.place().map_err(failed)?;
        let open = |path: PathBuf| TenantFolders::open(&path, place).map_err(|e| (path, e));
        let tenants = tenants.map(open).transpose()?;
        let loader = Loader::new(registry, sandbox, max_plugin_bytes, settings.clone(), fleet);
        Ok(Self {
            loader: Arc::new(loader),
            path,
            tenants,
            folders: BTreeMap::from([(None, folder)]),
            spent: BTreeMap::new(),
            rescan_every,
            settings,
            loads: JoinSet::new(),
            loading: BTreeMap::new(),
            restless: BTreeSet::new(),
            waiting: BTreeMap::new(),
            watch: None,
            requests: Arc::new(Notify::new()),
            follow: (fleet != FleetPolicy::Off).then(|| Follow::new(broker)),
            pushes: Arc::new(Notify::new()),
        })
    }

    /// Load what is in the folders, and return when every file that rests has been
    /// through the gates, or has had its time. What goes on changing or takes longer is left
    /// to [`Keeper::run`].
    pub(crate) async fn load_all(&mut self) {
        let began = Instant::now();
        // What is active of the fleet is known before files are looked at, or never.
        self.read_fleet();
        self.learn_fleet().await;
        for _ in 0..FIRST_LOOKS {
            self.look_everywhere().await;
            while (!self.loading.is_empty() || self.fleet_loads())
                && began.elapsed() < START_PATIENCE
            {
                tokio::select! {
                    Some(joined) = self.loads.join_next(), if !self.loads.is_empty() => {
                        self.note(joined);
                    }
                    turn = fleet::next_turn(&mut self.follow) => self.turn_fleet(turn),
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
                self.take_up();
            }
            if self.restless.is_empty() {
                return;
            }
            tokio::time::sleep(AT_REST).await;
        }
    }

    /// Follow the folders until shutdown.
    pub(crate) async fn run(mut self, mut shutdown: Shutdown) {
        let mut watch = Watch::of(&self.path, self.tenants.as_ref().map(|folders| folders.path()));
        self.folders.keys().flatten().for_each(|tenant| watch.begin(tenant));
        self.watch = Some(watch);
        self.look_everywhere().await;
        let mut looked = Instant::now();
        let mut next_full = looked + self.rescan_every;
        let mut asked: Option<Instant> = None;
        loop {
            if asked.is_some_and(|at| self.has_looked_since(at)) {
                asked = None;
                self.loader.registry.rescanned();
            }
            let wait = if !self.restless.is_empty() {
                AT_REST
            } else if !self.loading.is_empty() || asked.is_some() {
                LOOK_AGAIN
            } else {
                next_full.saturating_duration_since(Instant::now())
            };
            let told = async {
                tokio::time::sleep_until((looked + EVENT_PAUSE).into()).await;
                match &self.watch {
                    Some(watch) => watch.told().await,
                    None => std::future::pending().await,
                }
            };
            let mut everywhere = false;
            tokio::select! {
                () = shutdown.drained() => return,
                Some(joined) = self.loads.join_next(), if !self.loads.is_empty() => {
                    self.note(joined);
                    self.take_up();
                    continue;
                }
                turn = fleet::next_turn(&mut self.follow) => {
                    self.turn_fleet(turn);
                    continue;
                }
                () = self.pushes.notified() => {
                    self.read_fleet();
                    continue;
                }
                () = told, if self.restless.is_empty() => {}
                () = self.requests.notified() => {
                    // What is on its way need not begin again.
                    let loading = &self.loading;
                    for (owner, folder) in &mut self.folders {
                        folder.forget(|name| !loading.contains_key(&Identity::of(owner.as_ref(), name)));
                    }
                    self.judge_fleet_again(false);
                    (asked, everywhere) = (Some(Instant::now()), true);
                }
                // What is granted, trusted, shared or bounded may be more now, or less.
                () = self.settings.changed() => {
                    self.loader.registry.reshare();
                    self.folders.values_mut().for_each(|folder| folder.forget(|_| true));
                    self.judge_fleet_again(true);
                    everywhere = true;
                }
                () = tokio::time::sleep(wait) => {}
            }
            if everywhere || Instant::now() >= next_full {
                self.look_everywhere().await;
                next_full = Instant::now() + self.rescan_every;
            } else {
                self.look_where_told().await;
            }
            self.take_up();
            looked = Instant::now();
        }
    }

    /// Whether all that rested when a look was asked for has been through the gates.
    fn has_looked_since(&self, asked: Instant) -> bool {
        let until = asked + ASKED_PATIENCE;
        let at_rest = self.restless.is_empty() || Instant::now() > until;
        let loads = self.loading.values().any(|loading| loading.since <= until);
        at_rest && !loads && !self.fleet_loads()
    }

    async fn look_where_told(&mut self) {
        let dirty = self.watch.as_ref().map(Watch::take).unwrap_or_default();
        if dirty.all {
            return self.look_everywhere().await;
        }
        let mut owners = std::mem::take(&mut self.restless);
        owners.extend(dirty.owners);
        self.look_at(owners).await;
    }

    async fn look_everywhere(&mut self) {
        if let Some(watch) = &self.watch {
            watch.take();
        }
        self.restless.clear();
        self.find_tenants();
        self.look_at(self.folders.keys().cloned().collect()).await;
        let now = Instant::now();
        let folders = &self.folders;
        self.spent.retain(|tenant, spent| {
            folders.contains_key(&Some(tenant.clone())) || !spent.used(now).is_zero()
        });
    }

    /// Look at many folders, and let others have the thread in between.
    async fn look_at(&mut self, owners: BTreeSet<Owner>) {
        for (at, owner) in owners.iter().enumerate() {
            if at % LOOKS_AT_ONCE == LOOKS_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            self.look(owner);
        }
    }

    /// See which tenants have a folder.
    fn find_tenants(&mut self) {
        let Some(tenants) = &mut self.tenants else { return };
        let found = match tenants.look() {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(folder = %tenants.path().display(), %error,
                    "cannot read the tenants' folder; the loaded plugins go on serving");
                return;
            }
        };
        let mut gone: Vec<TenantName> = self.folders.keys().flatten().cloned().collect();
        gone.retain(|tenant| !found.contains_key(tenant));
        for (tenant, place) in found {
            let owner = Some(tenant.clone());
            let known = self.folders.get_mut(&owner);
            if known.as_ref().is_some_and(|folder| folder.place().is_ok_and(|is| is == place)) {
                continue;
            }
            match (tenants.enter(&tenant, place), known) {
                (Ok(dir), Some(folder)) => folder.replace(dir),
                (Ok(dir), None) => {
                    tracing::info!(%tenant, "tenant has a plugin folder");
                    drop(self.folders.insert(owner, Folder::at(dir, MAX_TENANT_FILES)));
                }
                (Err(error), _) => {
                    tracing::error!(%tenant, %error, "cannot open the tenant's plugin folder");
                    continue;
                }
            }
            if let Some(watch) = &mut self.watch {
                watch.begin(&tenant);
            }
        }
        for tenant in gone {
            tracing::info!(%tenant, "tenant's plugin folder is gone");
            if let Some(watch) = &mut self.watch {
                watch.end(&tenant);
            }
            let owner = Some(tenant);
            let Some(folder) = self.folders.remove(&owner) else { continue };
            folder.sizes().for_each(|(name, _)| self.remove(&Identity::of(owner.as_ref(), name)));
        }
    }

    /// Look once into an owner's folder, and begin to load what changed.
    fn look(&mut self, owner: &Owner) {
        let Some(folder) = self.folders.get_mut(owner) else { return };
        let shown = owner.as_ref().map(TenantName::as_str);
        let look = match folder.look(Instant::now()) {
            Ok(look) => look,
            Err(error) => {
                tracing::error!(folder = %self.path.display(), tenant = shown, %error,
                    "cannot read the plugin folder; the loaded plugins go on serving");
                return;
            }
        };
        if look.restless {
            self.restless.insert(owner.clone());
        }
        if let Some(files) = look.beyond {
            tracing::warn!(
                tenant = shown,
                files,
                most = MAX_TENANT_FILES,
                "plugin files of the tenant are not looked at: it has too many"
            );
        }
        for name in &look.gone {
            self.remove(&Identity::of(owner.as_ref(), name));
        }
        let over = self.over(owner);
        for name in look.changed {
            let identity = Identity::of(owner.as_ref(), &name);
            // What is on its way is of a file that is no more; dropping it ends its worker.
            self.loading.remove(&identity);
            self.waiting.remove(&identity);
            match over.get(&name) {
                Some(reason) => {
                    let gate = Gate::Quota.to_string();
                    self.refuse(&identity, Digest::default(), (gate, reason.clone()));
                    self.waiting.insert(identity, None);
                }
                // What is active of the fleet goes before a file of the same name.
                None if self.is_shadowed(&identity) => self.tell_shadowed(),
                None => self.begin(identity),
            }
        }
        self.let_in(owner, &over);
    }

    fn begin(&mut self, identity: Identity) {
        let Some(folder) = self.folders.get(&identity.owner) else { return };
        let (files, account) = (folder.files(), identity.owner.clone().map(|it| self.account(it)));
        let candidate =
            Candidate { identity: identity.clone(), from: From::Folder(files), account };
        let (since, loader) = (Instant::now(), self.loader.clone());
        let task = self.loads.spawn(loader.examine(candidate));
        self.loading.insert(identity, Loading { since, task, examined: None });
    }

    fn account(&mut self, tenant: TenantName) -> Account {
        let compile_per_hour = self.settings.now().plugin_quota(&tenant).compile_per_hour;
        let spent = self.spent.entry(tenant.clone()).or_default().clone();
        Account { tenant, compile_per_hour, spent }
    }

    /// A tenant's files that are over its quota, and why.
    fn over(&self, owner: &Owner) -> BTreeMap<String, String> {
        let Some(tenant) = owner else { return BTreeMap::new() };
        let pushed = self.follow.as_ref().map(|follow| follow.sizes(tenant));
        self.over_with(tenant, pushed.unwrap_or_default())
    }

    /// The same, where this was pushed for the tenant.
    fn over_with(
        &self,
        tenant: &TenantName,
        pushed: BTreeMap<&str, u64>,
    ) -> BTreeMap<String, String> {
        let owner = Some(tenant.clone());
        let registry = &self.loader.registry;
        let quota = self.settings.now().plugin_quota(tenant);
        if quota.files.is_none() && quota.bytes.is_none() {
            return BTreeMap::new();
        }
        let file = |(name, bytes)| TenantFile {
            name,
            bytes,
            serves: registry.serving(&Identity::of(owner.as_ref(), name)).is_some(),
        };
        let own = self.folders.get(&owner).into_iter().flat_map(Folder::sizes);
        let own = own.filter(|(name, _)| !pushed.contains_key(name));
        let pushed = pushed.iter().map(|(name, bytes)| (*name, *bytes));
        let files: Vec<TenantFile<'_>> = own.chain(pushed).map(file).collect();
        quota::over(tenant, &files, &quota)
    }

    /// Look again at files that waited for a quota and have room now.
    fn let_in(&mut self, owner: &Owner, over: &BTreeMap<String, String>) {
        let (Some(folder), now) = (self.folders.get_mut(owner), Instant::now()) else { return };
        let mut restless = false;
        self.waiting.retain(|identity, until| {
            let ready = match until {
                Some(until) => *until <= now,
                None => !over.contains_key(&identity.name),
            };
            if identity.owner != *owner || !ready {
                return true;
            }
            folder.doubt(&identity.name, now);
            restless = true;
            false
        });
        if restless {
            self.restless.insert(owner.clone());
        }
    }

    /// A plugin's file is gone.
    fn remove(&mut self, identity: &Identity) {
        self.loading.remove(identity);
        self.waiting.remove(identity);
        if self.loader.registry.is_by_fleet(identity) {
            return self.tell_shadowed();
        }
        if !self.loader.registry.remove(identity) {
            return;
        }
        tracing::info!(plugin = %identity.to_string().escape_debug(),
            "plugin removed; its tasks wait");
        self.free_types_of(identity);
    }

    /// A plugin serves no more.
    fn free_types_of(&mut self, identity: &Identity) {
        // Its types are free for a plugin that was refused for their sake.
        for heir in self.loader.registry.wanting_a_type(&identity.owner) {
            self.doubt(&Identity::of(identity.owner.as_ref(), &heir));
        }
    }

    /// Look at a plugin again once it has rested anew.
    fn doubt(&mut self, identity: &Identity) {
        if let Some(folder) = self.folders.get_mut(&identity.owner) {
            folder.doubt(&identity.name, Instant::now());
            self.restless.insert(identity.owner.clone());
        }
    }
}
