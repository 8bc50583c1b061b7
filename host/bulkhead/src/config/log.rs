//! What to log and how it looks.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// The levels that a directive may name.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What the process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// A level, or filter directives such as `info,bulkhead_queue=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, with time and colours.
    Pretty,
    /// For people, one short line each.
    Compact,
    /// For machines: one JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "compact" => Ok(Self::Compact),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "`{}` is no log format; use pretty, compact or json",
                text.escape_debug()
            )),
        }
    }
}

/// Check filter directives. A single word is meant as a level: the filter would take a
/// misspelt one for the name of a crate and log nothing.
pub(crate) fn check_directives(level: &str) -> Result<(), String> {
    let refused = || {
        format!(
            "`{}` is no log level; use {} or directives such as info,bulkhead_queue=debug",
            level.escape_debug(),
            LEVELS.join(", ")
        )
    };
    let is_word = |text: &str| !text.contains(['=', ',', '[', ':']);
    for part in level.split(',').filter(|part| is_word(part)) {
        if !LEVELS.contains(&part.trim().to_ascii_lowercase().as_str()) {
            return Err(refused());
        }
    }
    EnvFilter::try_new(level).map(|_| ()).map_err(|_| refused())
}
