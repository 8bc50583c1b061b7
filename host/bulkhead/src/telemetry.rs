//! Logs of this process, to standard error in the format that the configuration names.

use std::io::{IsTerminal, stderr};

use anyhow::{Context, Result, anyhow};
use bulkhead::config::{LogFormat, LogOptions};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::{SystemTime, Uptime};

/// Send what is logged from here on to standard error.
pub(crate) fn install(options: &LogOptions) -> Result<()> {
    let filter = EnvFilter::try_new(&options.level)
        .with_context(|| format!("`log.level` = `{}` is no filter", options.level))?;
    let colors = match anstream::ColorChoice::global() {
        anstream::ColorChoice::Never => false,
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => true,
        anstream::ColorChoice::Auto => {
            stderr().is_terminal()
                && anstream::AutoStream::choice(&stderr()) != anstream::ColorChoice::Never
        }
    };
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colors);
    match options.format {
        LogFormat::Pretty => subscriber.with_timer(SystemTime).try_init(),
        LogFormat::Compact => {
            subscriber.compact().with_target(false).with_timer(Uptime::default()).try_init()
        }
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow!("cannot start logging: {error}"))
}
