//! `bulkhead run`: a host, until a signal stops it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bulkhead::config::{Config, Flag, FlagValue};
use bulkhead::{
    Alerts, Host, HostOptions, LiveSettings, LogControl, Metrics, Phases, SettingsWriter, Shutdown,
    Trigger,
};
use bulkhead_api::Local;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::answer::{Answers, Known};
use super::exit::Exit;
use super::live;
use super::open::HostBroker;
use super::session::Session;

/// Settings of a host that flags can override.
#[derive(Debug, Args)]
pub(crate) struct HostFlags {
    /// Name of this host, by which people tell it apart [setting: host.name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Queue to serve, repeatable [setting: host.queues]
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<String>,
    /// Folder of plugin files [setting: plugins.dir]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Attempts at once [setting: host.concurrency]
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// How long a lease lasts, such as 10s [setting: host.lease]
    #[arg(long, value_name = "DURATION")]
    lease: Option<String>,
    /// How long attempts may go on after a signal [setting: host.grace]
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// A level or filter directives [setting: log.level]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// pretty, compact or json [setting: log.format]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl HostFlags {
    /// The settings that were given.
    pub(crate) fn settings(&self) -> Vec<Flag> {
        let text = |flag, key, value: &Option<String>| {
            let value = value.clone()?;
            Some(Flag { flag, key, value: FlagValue::Text(value) })
        };
        let plugins = self.plugins.as_ref().map(|dir| dir.display().to_string());
        let mut flags: Vec<Flag> = [
            text("--name", "host.name", &self.name),
            text("--plugins", "plugins.dir", &plugins),
            text("--lease", "host.lease", &self.lease),
            text("--grace", "host.grace", &self.grace),
            text("--log-level", "log.level", &self.log_level),
            text("--log-format", "log.format", &self.log_format),
        ]
        .into_iter()
        .flatten()
        .collect();
        if let Some(concurrency) = self.concurrency {
            let value = FlagValue::Number(concurrency.into());
            flags.push(Flag { flag: "--concurrency", key: "host.concurrency", value });
        }
        if !self.queues.is_empty() {
            let value = FlagValue::List(self.queues.clone());
            flags.push(Flag { flag: "--queue", key: "host.queues", value });
        }
        flags
    }
}

/// Run a host until it is stopped.
pub(crate) async fn run(session: &Session) -> Result<Exit> {
    host(session, None, |_| {}).await
}

/// Run a host until it is stopped. A broker in memory is served in `shared`, if that is
/// given; `served` learns what other processes name to reach the broker.
pub(crate) async fn host(
    session: &Session,
    shared: Option<&Path>,
    served: impl FnOnce(&str),
) -> Result<Exit> {
    session.config.check_secrets()?;
    let stop = Stop::listen().context("cannot listen for signals")?;
    let hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    let metrics = Metrics::new(session.config.host.tenant_classes.clone());
    let phases = Phases::new();
    let alerts = Alerts::default();
    let facts = phases.facts(metrics.clone(), alerts.clone(), session.log.clone());
    let facts = facts.of(&session.config.host.name, session.config.settings());
    let local: Arc<dyn Local> = Arc::new(facts);
    let (writer, settings) = LiveSettings::new((*session.config.host.settings.now()).clone());
    let compiler = Some(session.compiler()?);
    let isolation = session.isolation()?;
    let options = HostOptions { settings, compiler, isolation, ..session.config.host.clone() };
    let known = Known { local, options: options.clone() };
    let opened = HostBroker::open(&session.config, shared, &known).await?;
    let ended = match Answers::start(&session.config, &opened.broker, &known).await {
        Ok(answers) => {
            let told = (phases, metrics, alerts);
            let ended =
                serve(session, &opened, served, (stop, hangup), (options, writer), told).await;
            answers.close().await;
            ended
        }
        Err(error) => Err(error),
    };
    // However it ended, no socket stays behind that nobody answers at.
    opened.close().await;
    ended.map(|()| Exit::Done)
}

async fn serve(
    session: &Session,
    opened: &HostBroker,
    served: impl FnOnce(&str),
    (stop, hangup): (Stop, Signal),
    (options, writer): (HostOptions, SettingsWriter),
    (phases, metrics, alerts): (Phases, Metrics, Alerts),
) -> Result<()> {
    let mut builder = Host::builder(opened.broker.clone(), options)
        .metrics(metrics.clone())
        .phases(phases)
        .alerts(alerts);
    let traces = session.traces(&metrics)?;
    if let Some(traces) = &traces {
        builder = builder.traces(traces.clone());
    }
    let host = builder.build()?;
    tokio::spawn(follow_levels(session.config.clone(), session.log.clone(), hangup));
    tokio::spawn(live::follow(session.config.clone(), writer));
    if let Some(address) = opened.address() {
        served(address);
    }
    let (trigger, shutdown) = Shutdown::new();
    tokio::spawn(stop.pull(trigger));
    let ended = host.run(shutdown).await;
    if let Some(traces) = traces {
        traces.flush().await;
    }
    Ok(ended?)
}

/// Read the log's levels from the configuration again whenever the signal comes.
async fn follow_levels(config: Config, log: LogControl, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        let said = config.reload().map_err(|error| error.to_string());
        match said.and_then(|config| log.set(&config.log.level)) {
            Ok(true) => {}
            Ok(false) => tracing::info!("log levels read again; they are as before"),
            Err(error) => tracing::warn!(error, "log levels stay as they are"),
        }
    }
}

/// The signals that stop a host.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The first signal drains, the second forces.
    async fn pull(mut self, trigger: Trigger) {
        self.next().await;
        tracing::info!("stopping: running attempts may end; signal again to stop at once");
        trigger.drain();
        self.next().await;
        tracing::warn!("stopping at once: running attempts are given back");
        trigger.force();
        // Keep the trigger: a host that loses it would never be forced.
        std::future::pending::<()>().await;
    }
}
