//! From a file's bytes to machine code, somewhere where it can do no harm.
//!
//! Whatever reads a hostile file section by section, validates, adapts or compiles it, runs in
//! a [worker](worker) that has limits and can be killed; the host reads its header and no
//! more. [`Compiler::InProcess`] is for programs without a worker, whose files are their own.

mod caps;
mod child;
pub(super) mod frame;
pub(super) mod worker;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use wasmtime::Engine;

use super::artifact::{Artifact, Facts};
use super::inspect::{self, Form};
use super::{Approval, adapt};
use crate::account::Account;
use crate::sandbox::Sandbox;
use crate::{Gate, Rejection};

pub(super) use self::child::most_code_bytes;

/// Where plugins are checked and compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// In a child process of its own for each file, with limits on its time and memory. It is
    /// killed when its time is over.
    Worker(WorkerProgram),
    /// On a thread of this process, for programs whose plugins are their own. A thread cannot
    /// be killed and nothing limits its memory.
    InProcess,
}

/// A program that calls [`crate::compile_worker`], of the same build as this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProgram {
    /// The program.
    pub program: PathBuf,
    /// What makes it a worker.
    pub arguments: Vec<String>,
    /// All of its environment, but for the number of the compiler's threads.
    pub environment: Vec<(String, String)>,
}

impl WorkerProgram {
    /// The program that is running, which is a worker if it is started with this argument.
    pub fn this(argument: &str) -> io::Result<Self> {
        // By this name it is the same program even after its file was replaced.
        let itself = Path::new("/proc/self/exe");
        let program = if itself.exists() { itself.into() } else { std::env::current_exe()? };
        Ok(Self { program, arguments: vec![argument.to_owned()], environment: Vec::new() })
    }
}

/// Why there is no artifact.
pub(super) struct Refused {
    pub(super) rejection: Rejection,
    /// Whether the same bytes will always be refused.
    pub(super) lasting: bool,
}

impl Refused {
    fn lasting(rejection: Rejection) -> Self {
        Self { rejection, lasting: true }
    }

    /// Not the file's fault, or not for ever.
    fn passing(rejection: Rejection) -> Self {
        Self { rejection, lasting: false }
    }
}

/// Compile `bytes` where the sandbox does that, if what is in them is approved of.
pub(super) async fn compile(
    sandbox: &Sandbox,
    bytes: Vec<u8>,
    approval: Arc<Approval>,
) -> Result<Artifact, Refused> {
    let turn = sandbox.compiles().turn(approval.tenant()).await;
    if let Some(account) = &approval.account {
        account.admit(Instant::now()).map_err(Refused::passing)?;
    }
    let charge = approval.account.as_ref().map(Account::charge);
    let config = sandbox.config();
    if let Compiler::Worker(program) = &config.compiler {
        return child::compile(sandbox, program, &bytes, &approval).await;
    }
    let (engine, max_bytes) = (sandbox.engine().clone(), config.max_component_bytes);
    let compiling = tokio::task::spawn_blocking(move || {
        // A thread that overruns keeps its turn until it is done.
        let _kept = (turn, charge);
        let checked = check(&bytes, max_bytes).map_err(Refused::lasting)?;
        approval.grant(&checked.facts.imports).map_err(Refused::passing)?;
        let code = machine_code(&engine, &checked).map_err(Refused::lasting)?;
        Ok(Artifact::from_compiler(checked.facts, code))
    });
    match tokio::time::timeout(config.compile_budget, compiling).await {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(_)) => {
            let message = "checking it made the compiler panic";
            Err(Refused::lasting(Rejection::new(Gate::Compile, message)))
        }
        Err(_) => Err(Refused::lasting(out_of_time(config.compile_budget))),
    }
}

fn out_of_time(budget: std::time::Duration) -> Rejection {
    let message = format!(
        "checking and compiling it takes longer than `compile_budget` = {budget:?}; make it \
         smaller or raise the budget"
    );
    Rejection::new(Gate::CompileBudget, message)
}

/// A valid component, the one that was given or the one that a module was adapted to.
pub(super) struct Checked<'a> {
    bytes: Cow<'a, [u8]>,
    pub(super) facts: Facts,
}

/// Check a file of a size that is allowed.
pub(super) fn check(bytes: &[u8], max_bytes: usize) -> Result<Checked<'_>, Rejection> {
    let form = inspect::form(bytes)?;
    caps::check(bytes)?;
    let bytes = match form {
        Form::Component => Cow::Borrowed(bytes),
        Form::Module => {
            inspect::validate(bytes)?;
            let adapted = adapt::to_component(bytes)?;
            if adapted.len() > max_bytes.saturating_mul(2) {
                let message = "adapting it to a component doubled its size; make it smaller";
                return Err(Rejection::new(Gate::Size, message));
            }
            Cow::Owned(adapted)
        }
    };
    inspect::validate(&bytes)?;
    let inspected = inspect::component(&bytes)?;
    let adapted = matches!(bytes, Cow::Owned(_));
    let facts = Facts { imports: inspected.imports, entry: inspected.entry, adapted };
    Ok(Checked { bytes, facts })
}

fn machine_code(engine: &Engine, checked: &Checked<'_>) -> Result<Vec<u8>, Rejection> {
    engine
        .precompile_component(&checked.bytes)
        .map_err(|error| Rejection::new(Gate::Compile, format!("it cannot be compiled: {error:#}")))
}
