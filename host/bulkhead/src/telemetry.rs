//! Logs of this process, to standard error in the format that the configuration names.

use std::io::{IsTerminal, stderr};

use anyhow::{Context, Result, anyhow};
use bulkhead::config::{LogFormat, LogOptions};
use bulkhead::{LogControl, LogTail};
use tracing_subscriber::fmt::time::{SystemTime, Uptime};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// Send what is logged from here on to standard error; what is logged can be changed.
pub(crate) fn install(options: &LogOptions) -> Result<LogControl> {
    let filter = EnvFilter::try_new(&options.level)
        .with_context(|| format!("`log.level` = `{}` is no filter", options.level))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(stderr).with_ansi(colors());
    let lines: Box<dyn Layer<_> + Send + Sync> = match options.format {
        LogFormat::Pretty => lines.with_timer(SystemTime).boxed(),
        LogFormat::Compact => {
            lines.compact().with_target(false).with_timer(Uptime::default()).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let tail = LogTail::default();
    Registry::default()
        .with(filter)
        .with(lines)
        .with(tail.clone())
        .try_init()
        .map_err(|error| anyhow!("cannot start logging: {error}"))?;
    Ok(LogControl::new(&options.level, tail, move |filter| {
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

fn colors() -> bool {
    match anstream::ColorChoice::global() {
        anstream::ColorChoice::Never => false,
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => true,
        anstream::ColorChoice::Auto => {
            stderr().is_terminal()
                && anstream::AutoStream::choice(&stderr()) != anstream::ColorChoice::Never
        }
    }
}
