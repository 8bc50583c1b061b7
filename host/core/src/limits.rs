//! Limits of one attempt, and the rule that combines them.

use serde::{Deserialize, Serialize};

/// The limits that one attempt runs under. Each has an outcome of its own when it
/// is exceeded, except `log_bytes`, which only truncates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Instructions, in wasmtime fuel units (about one per executed instruction).
    pub fuel: u64,
    /// Bytes of all linear memories and tables of the attempt together.
    pub memory_bytes: u64,
    /// Wall time of the attempt, in milliseconds: guest code and host calls.
    pub wall_ms: u64,
    /// Bytes of output, its content type included.
    pub result_bytes: u64,
    /// Bytes of log lines that are kept; further lines are counted and dropped.
    pub log_bytes: u64,
    /// Bytes that one host call may take from the guest.
    pub hostcall_bytes: u64,
    /// Resource handles that the guest may hold at one time.
    pub handles: u32,
    /// Core instances that the component may consist of.
    pub instances: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 10_000_000_000,
            memory_bytes: 128 << 20,
            wall_ms: 30_000,
            result_bytes: 8 << 20,
            log_bytes: 64 << 10,
            hostcall_bytes: 16 << 20,
            handles: 1_000,
            instances: 16,
        }
    }
}

impl Limits {
    /// The stricter of `self` and `request`, limit by limit: a request can lower a
    /// limit and never raise it.
    #[must_use]
    pub fn lowered_by(self, request: &LimitsRequest) -> Self {
        let lower = |ceiling: u64, asked: Option<u64>| asked.map_or(ceiling, |a| a.min(ceiling));
        Self {
            fuel: lower(self.fuel, request.fuel),
            memory_bytes: lower(self.memory_bytes, request.memory_bytes),
            wall_ms: lower(self.wall_ms, request.wall_ms),
            result_bytes: lower(self.result_bytes, request.result_bytes),
            log_bytes: lower(self.log_bytes, request.log_bytes),
            ..self
        }
    }
}

/// Limits as a plugin, its manifest or a task may ask for them; an absent one asks
/// for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LimitsRequest {
    /// See [`Limits::fuel`].
    pub fuel: Option<u64>,
    /// See [`Limits::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// See [`Limits::wall_ms`].
    pub wall_ms: Option<u64>,
    /// See [`Limits::result_bytes`].
    pub result_bytes: Option<u64>,
    /// See [`Limits::log_bytes`].
    pub log_bytes: Option<u64>,
}

impl LimitsRequest {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_lowers_and_never_raises() {
        let ceiling = Limits::default();
        let lower = LimitsRequest { fuel: Some(1), wall_ms: Some(5), ..Default::default() };
        let effective = ceiling.lowered_by(&lower);
        assert_eq!((effective.fuel, effective.wall_ms), (1, 5));
        assert_eq!(effective.memory_bytes, ceiling.memory_bytes);

        let higher = LimitsRequest {
            fuel: Some(u64::MAX),
            memory_bytes: Some(u64::MAX),
            wall_ms: Some(u64::MAX),
            result_bytes: Some(u64::MAX),
            log_bytes: Some(u64::MAX),
        };
        assert_eq!(ceiling.lowered_by(&higher), ceiling);
    }
}
