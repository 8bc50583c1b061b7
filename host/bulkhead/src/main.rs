//! The binary: environment and arguments in, a runtime of the right size, an exit code
//! out. Nothing else reads the environment, installs signals or tracing, or exits.

mod cli;
mod telemetry;

use std::process::ExitCode;

use anyhow::{Context, Result};
use bulkhead::config::Config;
use clap::Parser;

use cli::{Cli, Exit};

/// Records, reports and stores are allocated on one thread and freed on another, which
/// this allocator is made for; `docs/performance.md` has the difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for a host's own work; guests have threads of their own.
const CONTROL_THREADS: usize = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(be) = cli.worker() {
        return be();
    }
    cli.install_colors();
    run(cli).unwrap_or_else(|error| cli::report(&error)).into()
}

fn run(cli: Cli) -> Result<Exit> {
    if let Some(done) = cli.completions() {
        return done;
    }
    // A name or value that is not Unicode is none of ours.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = Config::load(&cli.sources(env))?;
    let log = telemetry::install(&cli.log(&config))?;
    let mut runtime = if cli.is_host() {
        warn_of_backtraces();
        allow_many_files();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(CONTROL_THREADS).thread_name("control");
        runtime
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.enable_all().build().context("cannot start the runtime")?;
    let ended = runtime.block_on(cli.execute(config, log));
    // A subscription or a compiler thread may outlive the command; nobody waits for it.
    runtime.shutdown_background();
    ended
}

/// Attempts may have files open, as many as fit: take what the system allows at most.
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

/// With backtraces on, the engine captures one on its hot path.
fn warn_of_backtraces() {
    let on = |name| std::env::var_os(name).map(|value| value != "0");
    if on("RUST_LIB_BACKTRACE").or(on("RUST_BACKTRACE")) == Some(true) {
        tracing::warn!(
            "backtraces are on, which slows every attempt down; set RUST_LIB_BACKTRACE=0"
        );
    }
}
