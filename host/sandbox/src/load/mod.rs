//! The gates between a file and a [`Plugin`].
//!
//! A file passes all of them or becomes nothing: size, not precompiled, valid, imports
//! granted, world exported, compiled within its budget, described, instantiated. Each
//! refusal is a [`Rejection`] that names its gate and says what to do. Nothing here
//! touches the version that runs already.
//!
//! A file that was compiled before comes from the cache and waits for no other; one that the
//! compiler refused is not given to it again.

mod adapt;
mod artifact;
mod compile;
mod describe;
mod elsewhere;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod inspect;
mod refusals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{Digest, TaskType, TenantName};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Linker;
use wasmtime::{Engine, Precompiled};

use self::artifact::Artifact;
use self::inspect::Entry;
use crate::account::Account;
use crate::budget::{Overfull, Standing};
use crate::capability::{CapabilitySet, Grant, Inspection, open_granted};
use crate::command::CommandProgram;
use crate::grants::Grants;
use crate::handler::HandlerProgram;
use crate::need::{Granted, need_bytes};
use crate::plugin::{
    LoadTimes, Manifest, Plugin, PluginDescription, PluginKind, PluginSource, Program,
};
use crate::sandbox::Sandbox;
use crate::turns::Turn;
use crate::{Gate, Hold, Rejection};

pub(crate) use artifact::Facts;
pub use compile::worker::compile_worker;
pub use compile::{Compiler, WorkerProgram};
pub(crate) use elsewhere::{describe_raw, from_host};
pub(crate) use refusals::Refusals;

/// Longest plugin name, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// A file that was compiled, and linked or handed to worker processes.
struct Compiled {
    program: Program,
    digest: Digest,
    kind: PluginKind,
    asked: Vec<String>,
    uses: CapabilitySet,
    took: Duration,
    cached: bool,
    code_bytes: usize,
}

/// What a file is held against once it is known what it asks for.
struct Approval {
    name: String,
    account: Option<Account>,
    grants: Grants,
    offers: CapabilitySet,
}

impl Approval {
    /// Whose file it is; none for the operator's.
    fn tenant(&self) -> Option<&TenantName> {
        self.account.as_ref().map(|account| &account.tenant)
    }

    /// What a file with these imports is linked to.
    fn grant(&self, imports: &[String]) -> Result<Grant, Rejection> {
        Grant::of(imports, &self.grants, self.offers).map_err(|inspection| {
            let refusal = inspection.refusal(&self.name, self.tenant());
            Rejection::new(Gate::Imports, refusal.unwrap_or_default())
        })
    }
}

impl Sandbox {
    /// Take a file through every gate, once there is memory for it.
    pub async fn load(&self, source: PluginSource) -> Result<Plugin, Rejection> {
        let room = self.room_to_load(source.bytes.len()).await?;
        self.load_within(source, room).await
    }

    /// Wait for the memory that loading a file of so many bytes takes; an error if it will
    /// never be there. Whoever reads files asks before reading.
    pub async fn room_to_load(&self, file_bytes: usize) -> Result<Hold, Rejection> {
        let file_bytes = file_bytes.min(self.config().max_component_bytes);
        // The file; machine code as it comes from the compiler, and as it is loaded.
        let code_bytes = compile::most_code_bytes(file_bytes);
        let load_bytes = (2 * file_bytes + 2 * code_bytes) as u64;
        let limits = self.within_ceilings(self.config().describe_limits);
        let random_bytes = self.config().random_bytes;
        let describe_bytes = need_bytes(&limits, [(limits, 0)], Granted::default(), random_bytes);
        let held = self.config().budget.hold_for_load(load_bytes.max(describe_bytes)).await;
        held.map_err(|Overfull { needed_bytes, left_bytes }| {
            let message = format!(
                "loading it takes up to {} of memory, and beside the plugins that are loaded {} \
                 are left for all; raise `host.memory`, lower `limits.memory`, or remove plugins",
                mib(needed_bytes),
                mib(left_bytes)
            );
            Rejection::new(Gate::Memory, message)
        })
    }

    /// Take a file through every gate, in memory that it was given room for.
    pub async fn load_within(&self, source: PluginSource, room: Hold) -> Result<Plugin, Rejection> {
        let PluginSource { name, bytes, manifest, account } = source;
        let config = self.config();
        if bytes.len() > config.max_component_bytes {
            let message = format!(
                "it has {} bytes and `max_component_bytes` is {}; strip the component or raise \
                 the limit",
                bytes.len(),
                config.max_component_bytes
            );
            return Err(Rejection::new(Gate::Size, message));
        }
        check_name(&name)?;
        if manifest.max_batch == Some(0) {
            let message = "the manifest's `max_batch` is 0; use 1 for no batches";
            return Err(Rejection::new(Gate::Manifest, message));
        }
        if let Some(workers) = self.workers() {
            let source = PluginSource { name, bytes, manifest, account };
            return self.load_elsewhere(workers, source, room).await;
        }
        let (compiled, _turn) = self.link(&name, bytes, &manifest, account).await?;
        check_folders(&manifest, compiled.uses).await?;
        let began = Instant::now();
        let description = match &compiled.program {
            Program::Handler(program) => {
                describe::ask(self, program, &name, &manifest, compiled.uses).await?
            }
            Program::Command(program) => {
                describe::smoke(self, program, &manifest, compiled.uses).await?;
                describe::of_command(&name, &manifest)?
            }
            Program::Elsewhere(_) => return Err(broken("it was linked nowhere")),
        };
        self.admit(&name, manifest, compiled, (description, began.elapsed()), room)
    }

    /// A plugin of a file that has passed every gate but the last, the memory: what it said of
    /// itself, and how long that took.
    fn admit(
        &self,
        name: &str,
        manifest: Manifest,
        compiled: Compiled,
        (description, describe): (PluginDescription, Duration),
        room: Hold,
    ) -> Result<Plugin, Rejection> {
        let Compiled { program, digest, kind, asked, uses, took, cached, code_bytes } = compiled;
        let handles = self.config().ceilings.handles;
        let granted = Granted::of(&manifest.grants, uses, handles, self.open_files());
        let most_bytes = self.most_bytes(&description, granted);
        let standing = self.settle_in(room, code_bytes, most_bytes)?;
        Ok(Plugin {
            sandbox: self.clone(),
            program,
            name: Arc::from(name),
            digest,
            kind,
            asked,
            uses,
            grants: Arc::new(manifest.grants.clone()),
            description,
            manifest,
            load_times: LoadTimes { compile: took, cached, describe },
            granted,
            most_bytes,
            _standing: Some(standing),
        })
    }

    /// What one attempt of whichever of these handlers needs at most.
    fn most_bytes(&self, description: &PluginDescription, granted: Granted) -> u64 {
        let config = self.config();
        let needs = description.handlers.iter().map(|handler| {
            let limits = config.ceilings.lowered_by(&handler.limits);
            let attempt = [(limits, config.children.payload_bytes)];
            need_bytes(&limits, attempt, granted, config.random_bytes)
        });
        needs.max().unwrap_or(0)
    }

    /// Keep of `room` what a plugin holds while it is loaded.
    fn settle_in(
        &self,
        room: Hold,
        code_bytes: usize,
        most_bytes: u64,
    ) -> Result<Standing, Rejection> {
        // The code, and what is read from it: types, traps, the initial contents of memories.
        let standing_bytes = 2 * code_bytes as u64;
        let settled = self.config().budget.settle_in(room, standing_bytes, most_bytes);
        settled.map_err(|Overfull { left_bytes, .. }| {
            let message = format!(
                "one attempt of it may come to {} (its limits, its grants and what the host has \
                 for them) and the plugin itself to {}; beside what all plugins keep, {} are \
                 left of the host's memory and have to do for one attempt of any of them; raise \
                 `host.memory`, or lower `memory` in the manifest's `[limits]` or in `[limits]`",
                mib(most_bytes),
                mib(standing_bytes),
                mib(left_bytes)
            );
            Rejection::new(Gate::Memory, message)
        })
    }

    /// What a file asks for, held against what it would be granted. It is checked, in this
    /// process, and not compiled.
    pub fn inspect(&self, bytes: &[u8], grants: &Grants) -> Result<Inspection, Rejection> {
        refuse_precompiled(bytes)?;
        let checked = compile::check(bytes, self.config().max_component_bytes)?;
        Ok(Inspection::of(&checked.facts.imports, grants, self.config().offers))
    }

    /// The file compiled and linked, and a turn to run it.
    async fn link(
        &self,
        name: &str,
        bytes: Vec<u8>,
        manifest: &Manifest,
        account: Option<Account>,
    ) -> Result<(Compiled, Turn), Rejection> {
        let began = Instant::now();
        let (artifact, approval, digest, cached) =
            self.artifact(name, bytes, manifest, account).await?;
        let turn = self.loads().turn(approval.tenant()).await;
        let (engine, code_bytes) = (self.engine().clone(), artifact.code().len());
        let (program, kind, Facts { imports, .. }, uses) =
            blocking(move || link(&engine, artifact, &approval)).await?;
        let took = began.elapsed();
        let asked = imports;
        let compiled = Compiled { program, digest, kind, asked, uses, took, cached, code_bytes };
        Ok((compiled, turn))
    }

    /// The file compiled, or found compiled.
    async fn artifact(
        &self,
        name: &str,
        bytes: Vec<u8>,
        manifest: &Manifest,
        account: Option<Account>,
    ) -> Result<(Artifact, Arc<Approval>, Digest, bool), Rejection> {
        let offers = self.config().offers;
        let (name, grants) = (name.to_owned(), manifest.grants.clone());
        let approval = Arc::new(Approval { name, account, grants, offers });
        let cache = self.cache().cloned();
        let (bytes, digest, kept) = blocking(move || {
            refuse_precompiled(&bytes)?;
            inspect::form(&bytes)?;
            let digest = Digest(Sha256::digest(&bytes).into());
            let kept = cache.and_then(|cache| cache.get(digest));
            let kept = kept.and_then(|kept| Artifact::from_cache(&kept.head, kept.body));
            Ok((bytes, digest, kept))
        })
        .await?;
        let cached = kept.is_some();
        let artifact = match kept {
            Some(artifact) => artifact,
            None => self.compile(digest, bytes, approval.clone()).await?,
        };
        Ok((artifact, approval, digest, cached))
    }

    /// Compile a file that is not in the cache, unless the compiler refused it before.
    async fn compile(
        &self,
        digest: Digest,
        bytes: Vec<u8>,
        approval: Arc<Approval>,
    ) -> Result<Artifact, Rejection> {
        if let Some(known) = self.refusals().get(digest) {
            return Err(known);
        }
        let artifact = compile::compile(self, bytes, approval).await.map_err(|refused| {
            if refused.lasting {
                self.refusals().remember(digest, &refused.rejection);
            }
            refused.rejection
        })?;
        let Some(cache) = self.cache().cloned() else { return Ok(artifact) };
        blocking(move || {
            cache.put(digest, &artifact.head(), artifact.code());
            Ok(artifact)
        })
        .await
    }
}

/// Do work that takes long on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|_| Err(broken("checking it made the host panic")))
}

fn check_name(name: &str) -> Result<(), Rejection> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
        let message = format!(
            "`{}` is no plugin name; use 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ -",
            name.escape_debug()
        );
        return Err(Rejection::new(Gate::Manifest, message));
    }
    Ok(())
}

/// The folders that it was granted are there.
async fn check_folders(manifest: &Manifest, uses: CapabilitySet) -> Result<(), Rejection> {
    let folders = manifest.grants.fs.as_ref().filter(|_| uses.fs);
    let Some(folders) = folders.map(|fs| fs.dirs.clone()).filter(|dirs| !dirs.is_empty()) else {
        return Ok(());
    };
    let checking = tokio::task::spawn_blocking(move || {
        folders.iter().try_for_each(|folder| open_granted(&folder.host).map(drop))
    });
    let checked = checking.await.map_err(|_| broken("looking at its folders panicked"))?;
    checked.map_err(|error| {
        let message = format!("{error}; make it, or correct the grant");
        Rejection::new(Gate::Manifest, message)
    })
}

/// A size for people, rounded up.
fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn broken(message: &str) -> Rejection {
    Rejection::new(Gate::Compile, message)
}

/// Load machine code and link it to what it has, and to nothing else.
fn link(
    engine: &Engine,
    artifact: Artifact,
    approval: &Approval,
) -> Result<(Program, PluginKind, Facts, CapabilitySet), Rejection> {
    let grant = approval.grant(&artifact.facts.imports)?;
    // The compiler took it: what is refused here does not fit a compartment.
    let component = artifact
        .component(engine)
        .map_err(|error| Rejection::new(Gate::Shape, format!("{error:#}")))?;
    let Artifact { facts, .. } = artifact;
    let mut linker = Linker::new(engine);
    grant.link(&mut linker).map_err(|error| Rejection::new(Gate::Imports, format!("{error:#}")))?;
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| Rejection::new(Gate::Imports, format!("{error:#}")))?;
    let world = |error: wasmtime::Error| Rejection::new(Gate::World, format!("{error:#}"));
    let (program, kind) = match facts.entry {
        Entry::Handler => {
            (Program::Handler(HandlerProgram::new(pre).map_err(world)?), PluginKind::Component)
        }
        Entry::Command => {
            (Program::Command(CommandProgram::new(pre).map_err(world)?), PluginKind::Command)
        }
    };
    let kind = if facts.adapted { PluginKind::Adapted } else { kind };
    Ok((program, kind, facts, grant.uses))
}

fn refuse_precompiled(bytes: &[u8]) -> Result<(), Rejection> {
    let what = match Engine::detect_precompiled(bytes) {
        Some(Precompiled::Component) => "a precompiled component",
        Some(Precompiled::Module) => "a precompiled module",
        None => return Ok(()),
    };
    let message = format!("it is {what}; machine code is never loaded, give the `.wasm` file");
    Err(Rejection::new(Gate::Precompiled, message))
}

/// A command serves the types its manifest names, or the one that its own name is.
fn own_type(name: &str) -> Result<TaskType, Rejection> {
    TaskType::new(name).map_err(|error| {
        let message = format!("{error}; name its task types in the manifest's `task_types`");
        Rejection::new(Gate::Manifest, message)
    })
}
