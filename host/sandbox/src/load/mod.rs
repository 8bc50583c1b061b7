//! The gates between a file and a [`Plugin`].
//!
//! A file passes all of them or becomes nothing: size, not precompiled, valid, imports
//! granted, world exported, compiled within its budget, described, instantiated. Each
//! refusal is a [`Rejection`] that names its gate and says what to do. Nothing here
//! touches the version that runs already.

mod adapt;
mod describe;
mod inspect;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{Digest, TaskType};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Precompiled};

use self::inspect::{Entry, Inspected};
use crate::capability::{CapabilitySet, Grant, Inspection, open_granted};
use crate::command::CommandProgram;
use crate::grants::Grants;
use crate::handler::HandlerProgram;
use crate::plugin::{LoadTimes, Manifest, Plugin, PluginKind, PluginSource, Program};
use crate::sandbox::Sandbox;
use crate::{Gate, Rejection, SandboxConfig};

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
        let (compiled, _permit) = self.compile(&name, bytes, &manifest).await?;
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
        };
        let Compiled { program, digest, kind, asked, uses, took } = compiled;
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
            load_times: LoadTimes { compile: took, describe: began.elapsed() },
        })
    }

    /// What a file asks for, held against what it would be granted. It is checked and not
    /// compiled.
    pub fn inspect(&self, bytes: &[u8], grants: &Grants) -> Result<Inspection, Rejection> {
        let ValidComponent { inspected, .. } = component(bytes, self.config())?;
        Ok(Inspection::of(&inspected.imports, grants, self.config().offers))
    }

    /// Check and compile `bytes` on a blocking thread, within the budget. A thread
    /// cannot be killed: one that overruns keeps its permit until it is done.
    async fn compile(
        &self,
        name: &str,
        bytes: Vec<u8>,
        manifest: &Manifest,
    ) -> Result<(Compiled, OwnedSemaphorePermit), Rejection> {
        let budget = self.config().compile_budget;
        let work = async {
            let permit = Arc::clone(self.loads()).acquire_owned().await;
            let permit = permit.map_err(|_| broken("the sandbox is closed"))?;
            let (engine, config) = (self.engine().clone(), self.config().clone());
            let (name, grants) = (name.to_owned(), manifest.grants.clone());
            let compiling = tokio::task::spawn_blocking(move || {
                (compile(&engine, &config, &name, &bytes, &grants), permit)
            });
            let (compiled, permit) =
                compiling.await.map_err(|_| broken("checking it made the compiler panic"))?;
            Ok((compiled?, permit))
        };
        tokio::time::timeout(budget, work).await.unwrap_or_else(|_| {
            let message = format!(
                "checking and compiling it takes longer than `compile_budget` = {budget:?}; make \
                 it smaller or raise the budget"
            );
            Err(Rejection::new(Gate::CompileBudget, message))
        })
    }
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

/// A valid component, the one that was given or the one that a module was adapted to.
struct ValidComponent<'a> {
    bytes: Cow<'a, [u8]>,
    inspected: Inspected,
}

fn component<'a>(bytes: &'a [u8], config: &SandboxConfig) -> Result<ValidComponent<'a>, Rejection> {
    refuse_precompiled(bytes)?;
    let bytes = match inspect::form(bytes)? {
        inspect::Form::Component => Cow::Borrowed(bytes),
        inspect::Form::Module => {
            inspect::validate(bytes)?;
            let adapted = adapt::to_component(bytes)?;
            if adapted.len() > config.max_component_bytes.saturating_mul(2) {
                let message = "adapting it to a component doubled its size; make it smaller";
                return Err(Rejection::new(Gate::Size, message));
            }
            Cow::Owned(adapted)
        }
    };
    inspect::validate(&bytes)?;
    let inspected = inspect::component(&bytes)?;
    Ok(ValidComponent { bytes, inspected })
}

fn compile(
    engine: &Engine,
    config: &SandboxConfig,
    name: &str,
    bytes: &[u8],
    grants: &Grants,
) -> Result<Compiled, Rejection> {
    let began = Instant::now();
    let digest = Digest(Sha256::digest(bytes).into());
    let ValidComponent { bytes: component, inspected } = component(bytes, config)?;
    let Inspected { imports, entry } = inspected;
    let grant = Grant::of(&imports, grants, config.offers).map_err(|inspection| {
        Rejection::new(Gate::Imports, inspection.refusal(name).unwrap_or_default())
    })?;
    let compiled = Component::from_binary(engine, &component)
        .map_err(|error| uncompiled(engine, &component, &error))?;
    let mut linker = Linker::new(engine);
    grant.link(&mut linker).map_err(|error| Rejection::new(Gate::Imports, format!("{error:#}")))?;
    let pre = linker
        .instantiate_pre(&compiled)
        .map_err(|error| Rejection::new(Gate::Imports, format!("{error:#}")))?;
    let world = |error: wasmtime::Error| Rejection::new(Gate::World, format!("{error:#}"));
    let (program, kind) = match entry {
        Entry::Handler => {
            (Program::Handler(HandlerProgram::new(pre).map_err(world)?), PluginKind::Component)
        }
        Entry::Command => {
            (Program::Command(CommandProgram::new(pre).map_err(world)?), PluginKind::Command)
        }
    };
    let kind = if matches!(component, Cow::Owned(_)) { PluginKind::Adapted } else { kind };
    let uses = grant.uses;
    Ok(Compiled { program, digest, kind, asked: imports, uses, took: began.elapsed() })
}

/// Why there is no compiled component: what the compiler takes does not fit a compartment.
fn uncompiled(engine: &Engine, component: &[u8], error: &wasmtime::Error) -> Rejection {
    match engine.precompile_component(component) {
        Ok(_) => Rejection::new(Gate::Shape, format!("{error:#}")),
        Err(error) => Rejection::new(Gate::Compile, format!("it cannot be compiled: {error:#}")),
    }
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
