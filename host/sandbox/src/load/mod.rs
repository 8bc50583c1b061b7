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
mod inspect;
mod refusals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{Digest, TaskType};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Linker;
use wasmtime::{Engine, Precompiled};

use self::artifact::Artifact;
use self::inspect::Entry;
use crate::capability::{CapabilitySet, Grant, Inspection, open_granted};
use crate::command::CommandProgram;
use crate::grants::Grants;
use crate::handler::HandlerProgram;
use crate::plugin::{LoadTimes, Manifest, Plugin, PluginKind, PluginSource, Program};
use crate::sandbox::Sandbox;
use crate::{Gate, Rejection};

pub(crate) use artifact::Facts;
pub use compile::worker::compile_worker;
pub use compile::{Compiler, WorkerProgram};
pub(crate) use elsewhere::{describe_raw, from_host};
pub(crate) use refusals::Refusals;

/// Longest plugin name, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// A file that was compiled and linked, and has not run yet.
struct Compiled {
    program: Program,
    digest: Digest,
    kind: PluginKind,
    asked: Vec<String>,
    uses: CapabilitySet,
    took: Duration,
    cached: bool,
}

/// What a file is held against once it is known what it asks for.
struct Approval {
    name: String,
    grants: Grants,
    offers: CapabilitySet,
}

impl Approval {
    /// What a file with these imports is linked to.
    fn grant(&self, imports: &[String]) -> Result<Grant, Rejection> {
        Grant::of(imports, &self.grants, self.offers).map_err(|inspection| {
            Rejection::new(Gate::Imports, inspection.refusal(&self.name).unwrap_or_default())
        })
    }
}

impl Sandbox {
    /// Take a file through every gate.
    pub async fn load(&self, source: PluginSource) -> Result<Plugin, Rejection> {
        let PluginSource { name, bytes, manifest } = source;
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
            return self.load_elsewhere(workers, name, bytes, manifest).await;
        }
        let (compiled, _permit) = self.link(&name, bytes, &manifest).await?;
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
        let Compiled { program, digest, kind, asked, uses, took, cached } = compiled;
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
            load_times: LoadTimes { compile: took, cached, describe: began.elapsed() },
        })
    }

    /// What a file asks for, held against what it would be granted. It is checked, in this
    /// process, and not compiled.
    pub fn inspect(&self, bytes: &[u8], grants: &Grants) -> Result<Inspection, Rejection> {
        refuse_precompiled(bytes)?;
        let checked = compile::check(bytes, self.config().max_component_bytes)?;
        Ok(Inspection::of(&checked.facts.imports, grants, self.config().offers))
    }

    /// The file compiled and linked, and a permit to run it.
    async fn link(
        &self,
        name: &str,
        bytes: Vec<u8>,
        manifest: &Manifest,
    ) -> Result<(Compiled, OwnedSemaphorePermit), Rejection> {
        let began = Instant::now();
        let (artifact, approval, digest, cached) = self.artifact(name, bytes, manifest).await?;
        let permit = Arc::clone(self.loads()).acquire_owned().await;
        let permit = permit.map_err(|_| broken("the sandbox is closed"))?;
        let engine = self.engine().clone();
        let (program, kind, Facts { imports, .. }, uses) =
            blocking(move || link(&engine, artifact, &approval)).await?;
        let took = began.elapsed();
        let compiled = Compiled { program, digest, kind, asked: imports, uses, took, cached };
        Ok((compiled, permit))
    }

    /// The file compiled, or found compiled.
    async fn artifact(
        &self,
        name: &str,
        bytes: Vec<u8>,
        manifest: &Manifest,
    ) -> Result<(Artifact, Arc<Approval>, Digest, bool), Rejection> {
        let offers = self.config().offers;
        let approval = Approval { name: name.to_owned(), grants: manifest.grants.clone(), offers };
        let approval = Arc::new(approval);
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
