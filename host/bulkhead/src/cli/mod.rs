//! The command line: raw arguments in, an exit code out.
//!
//! One file per group of commands. Each takes a [`session::Session`], asks the library
//! for what it needs and prints through [`output::Output`]; none knows the environment.

mod answer;
mod asked;
mod batch;
mod config;
mod dead;
mod dev;
mod doctor;
mod escape;
mod exit;
mod figures;
mod follow;
mod host;
mod journal;
mod live;
mod open;
mod output;
mod plugin;
mod queue;
mod reason;
mod run;
mod schedule;
mod secret;
mod session;
mod submit;
mod task;
mod token;
mod top;

use std::path::PathBuf;
use std::sync::LazyLock;

use anyhow::Result;
use bulkhead::LogControl;
use bulkhead::config::{Config, Flag, FlagValue, LogOptions, MachineMemory, Sources};
use clap::{Args, CommandFactory, Parser, Subcommand};

use output::{ColorWhen, Output};
use session::Session;

pub(crate) use exit::{Exit, report};

/// The command by which this program is a compile worker.
pub(crate) const WORKER: &str = "compile-worker";

/// The command by which this program is a guest worker.
pub(crate) const GUEST_WORKER: &str = "guest-worker";

/// Its own version, and that of the engine, which advisories are about.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{} ({})", env!("CARGO_PKG_VERSION"), bulkhead::ENGINE));

/// Runs task handlers as sandboxed WebAssembly components
#[derive(Debug, Parser)]
#[command(name = "bulkhead", version = VERSION.as_str(), after_help = exit::EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command has.
#[derive(Debug, Args)]
struct Global {
    /// Configuration file [env: BULKHEAD_CONFIG] [default: bulkhead.toml, if there is one]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Where the broker is [env: BULKHEAD_BROKER] [default: redis://127.0.0.1:6379]
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    broker: Option<String>,
    /// Prefix of all keys at the broker [env: BULKHEAD_NAMESPACE] [default: bulkhead]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    namespace: Option<String>,
    /// Print one JSON document
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// When to use colours: auto, always or never
    #[arg(
        hide_possible_values = true,
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    color: ColorWhen,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a host: claim tasks and run their handlers
    ///
    /// The first SIGTERM or SIGINT stops claiming and lets running attempts end within
    /// the grace period; a second one gives them back at once.
    Run(run::HostFlags),
    Dev(dev::Dev),
    Submit(Box<submit::Submit>),
    #[command(subcommand)]
    Task(task::Task),
    #[command(subcommand)]
    Batch(batch::Batch),
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    #[command(subcommand)]
    Queue(queue::Queue),
    #[command(subcommand)]
    Dead(dead::Dead),
    Doctor(doctor::Doctor),
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    #[command(subcommand)]
    Secret(secret::Secret),
    #[command(subcommand)]
    Token(token::Tokening),
    Journal(journal::Journal),
    Top(top::Top),
    #[command(subcommand)]
    Host(host::Host),
    #[command(subcommand)]
    Config(config::Config),
    /// Compile one plugin file for a host, and end
    #[command(name = WORKER, hide = true)]
    CompileWorker,
    /// Run the attempts of one tenant for a host, until it ends
    #[command(name = GUEST_WORKER, hide = true)]
    GuestWorker,
    /// Print the OpenAPI document of the HTTP API
    Openapi,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Where this invocation's settings come from.
    pub(crate) fn sources(&self, env: Vec<(String, String)>) -> Sources {
        let text = |flag, key, value: &Option<String>| {
            let value = value.clone()?;
            Some(Flag { flag, key, value: FlagValue::Text(value) })
        };
        let mut flags: Vec<Flag> = [
            text("--broker", "broker", &self.global.broker),
            text("--namespace", "namespace", &self.global.namespace),
        ]
        .into_iter()
        .flatten()
        .collect();
        if let Command::Run(host) | Command::Config(config::Config::Check(host)) = &self.command {
            flags.extend(host.settings());
        }
        if let Command::Dev(dev) = &self.command {
            flags.extend(dev.settings(self.global.broker.is_some()));
        }
        let memory = MachineMemory::look();
        Sources { file: self.global.config.clone(), env, flags, dir: PathBuf::new(), memory }
    }

    /// What to be instead, if this is a worker, which needs no settings and no runtime.
    pub(crate) fn worker(&self) -> Option<fn() -> std::process::ExitCode> {
        match self.command {
            Command::CompileWorker => Some(bulkhead::compile_worker),
            Command::GuestWorker => Some(bulkhead::guest_worker),
            _ => None,
        }
    }

    /// Follow --color from here on.
    pub(crate) fn install_colors(&self) {
        self.global.color.install();
    }

    /// Whether this is a host, which serves until it is stopped.
    pub(crate) fn is_host(&self) -> bool {
        matches!(self.command, Command::Run(_) | Command::Dev(_))
    }

    /// What this command logs: a host what is configured, any other only trouble.
    pub(crate) fn log(&self, config: &Config) -> LogOptions {
        let mut log = config.log.clone();
        if !self.is_host() {
            log.level = "warn".into();
        }
        // The terminal shows the trouble itself.
        if matches!(&self.command, Command::Top(top) if top.is_live(self.global.json)) {
            log.level = "off".into();
        }
        log
    }

    /// The script that completes this program's arguments, if that is what is asked for.
    pub(crate) fn completions(&self) -> Option<Result<Exit>> {
        let Command::Completions { shell } = self.command else { return None };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Self::command(), "bulkhead", &mut script);
        let printed = Output::new(false).raw(&script);
        Some(printed.map(|()| Exit::Done).map_err(Into::into))
    }

    /// Run the command.
    pub(crate) async fn execute(self, config: Config, log: LogControl) -> Result<Exit> {
        let session = Session { config, out: Output::new(self.global.json), log };
        match self.command {
            Command::Run(_) => run::run(&session).await,
            Command::Dev(dev) => dev.run(&session).await,
            Command::Submit(submit) => submit.run(&session).await,
            Command::Task(task) => task.run(&session).await,
            Command::Batch(batch) => batch.run(&session).await,
            Command::Schedule(schedule) => schedule.run(&session).await,
            Command::Queue(queue) => queue.run(&session).await,
            Command::Dead(dead) => dead.run(&session).await,
            Command::Doctor(doctor) => doctor.run(&session).await,
            Command::Plugin(plugin) => plugin.run(&session).await,
            Command::Secret(secret) => secret.run(&session).await,
            Command::Token(token) => token.run(&session).await,
            Command::Journal(journal) => journal.run(&session).await,
            Command::Top(top) => top.run(&session).await,
            Command::Host(host) => host.run(&session).await,
            Command::Config(config) => config.run(&session),
            Command::Openapi => openapi(&session),
            Command::Completions { .. } | Command::CompileWorker | Command::GuestWorker => {
                Ok(Exit::Done)
            }
        }
    }
}

/// Print the document from which clients are generated.
fn openapi(session: &Session) -> Result<Exit> {
    let mut document = serde_json::to_vec_pretty(&bulkhead_api::v1::openapi())?;
    document.push(b'\n');
    session.out.raw(&document)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let cli = Cli::try_parse_from([
            "bulkhead",
            "run",
            "--broker",
            "redis://h",
            "--queue",
            "a",
            "--queue",
            "b",
            "--concurrency",
            "7",
            "--plugins",
            "p",
            "--grace",
            "1s",
            "--log-format",
            "json",
        ])
        .unwrap();
        let config = Config::load(&cli.sources(Vec::new())).unwrap();
        assert_eq!(config.broker.to_string(), "redis://h");
        assert_eq!(config.host.queues.len(), 2);
        assert_eq!(config.host.concurrency, 7);
        assert_eq!(config.host.plugin_dir, PathBuf::from("p"));
        assert_eq!(config.host.grace.as_secs(), 1);
        assert!(cli.is_host());
    }

    #[test]
    fn a_task_has_exactly_one_input() {
        let parse = |args: &str| {
            let args = std::iter::once("bulkhead submit").chain(args.split(' '));
            Cli::try_parse_from(args.flat_map(|arg| arg.split(' '))).map(|_| ())
        };
        for good in ["t -", "t --data x", "t --file f", "--jsonl f", "t --jsonl -"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in
            ["t", "t - --data x", "--data x", "t --file f --jsonl f", "t x", "t --data x --out f"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
