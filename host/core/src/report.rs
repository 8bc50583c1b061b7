//! The record of one ended attempt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Outcome, PluginId, UnixMs};

/// The sha256 of a plugin's bytes: the name of one version of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Digest(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// Text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(<sha2::Sha256 as sha2::Digest>::digest(bytes).into())
    }

    /// The first 12 hexadecimal digits, enough for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(DigestError);
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Finest detail.
    Trace,
    /// For the handler's author.
    Debug,
    /// Normal operation.
    Info,
    /// Something unexpected that the handler coped with.
    Warn,
    /// Something that failed.
    Error,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// One line that a guest logged, or wrote to its standard output or error. The text
/// is as the guest gave it: escape it before showing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// When, in milliseconds after the attempt began.
    pub at_ms: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// The line.
    pub message: String,
    /// Key-value pairs.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<Vec<String>>))]
    pub fields: Vec<(String, String)>,
}

/// What one attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Metering {
    /// Fuel consumed.
    pub fuel: u64,
    /// Highest sum of linear memories and tables, in bytes.
    pub peak_memory_bytes: u64,
    /// Thread CPU time spent in the attempt (instantiate, guest code, host calls), in
    /// microseconds.
    pub cpu_us: u64,
    /// Time from start to end, in microseconds.
    pub wall_us: u64,
    /// Of which instantiating the component, in microseconds.
    pub instantiate_us: u64,
    /// Bytes of log lines written, the dropped ones included.
    pub log_bytes: u64,
    /// Log lines dropped over the log limit.
    pub log_lines_dropped: u64,
    /// Calls to capabilities that it was granted.
    pub host_calls: u64,
    /// Bytes that capabilities gave it.
    pub bytes_in: u64,
    /// Bytes that it gave to capabilities.
    pub bytes_out: u64,
}

/// The record of one ended attempt, stored with its task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// The attempt's number, starting at 1.
    pub attempt: u32,
    /// When the host started it.
    pub started_at: UnixMs,
    /// The host that ran it.
    pub host: String,
    /// The plugin that ran, and whose it is; `None` if none did, or if its file has no name that
    /// a plugin can have.
    pub plugin: Option<PluginId>,
    /// The version of it that ran; all zero if none did.
    pub digest: Digest,
    /// What it used.
    pub metering: Metering,
    /// The lines that were kept.
    pub logs: Vec<LogLine>,
    /// What it came to.
    pub outcome: Outcome,
    /// Whether the output is that of an earlier task with the same input and plugin version,
    /// so that no handler ran.
    #[serde(default)]
    pub cached: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_round_trip_as_text() {
        let digest = Digest(std::array::from_fn(|at| at as u8 * 7));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.short().len(), 12);
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError), "{bad}");
        }
    }
}
