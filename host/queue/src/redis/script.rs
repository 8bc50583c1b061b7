//! The scripts and how they are called: EVALSHA, the source where the server does not know
//! them, and replies taken apart without trust.

use bulkhead_core::QueueName;
use redis::{Cmd, Value};

use super::RedisBroker;
use crate::error::QueueError;

const PRELUDE: &str = include_str!("scripts/prelude.lua");

/// The longest time that is put into a script, in milliseconds: about 9,000 years. Lua's
/// numbers are exact up to 2^53, and Redis refuses an expiry beyond its own range in the
/// middle of a script.
const FOREVER_MS: u64 = 1 << 48;

/// A time or a span as scripts can reckon with it.
pub(super) fn reckonable(ms: u64) -> u64 {
    ms.min(FOREVER_MS)
}

pub(super) struct Scripts {
    pub(super) submit: Script,
    pub(super) step: Script,
    pub(super) cancel: Script,
    pub(super) rerun: Script,
    pub(super) drop: Script,
    pub(super) purge: Script,
    pub(super) inspect: Script,
    pub(super) stats: Script,
    pub(super) resume: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            submit: Script::confirmed(include_str!("scripts/submit.lua")),
            step: Script::new(include_str!("scripts/step.lua")),
            cancel: Script::new(include_str!("scripts/cancel.lua")),
            rerun: Script::confirmed(include_str!("scripts/rerun.lua")),
            drop: Script::new(include_str!("scripts/drop.lua")),
            purge: Script::new(include_str!("scripts/purge.lua")),
            inspect: Script::new(include_str!("scripts/inspect.lua")),
            stats: Script::new(include_str!("scripts/stats.lua")),
            resume: Script::new(include_str!("scripts/resume.lua")),
        }
    }
}

impl Scripts {
    /// All sources, for what must hold of each.
    pub(super) fn sources(&self) -> Vec<&str> {
        let Self { submit, step, cancel, rerun, drop, purge, inspect, stats, resume } = self;
        [submit, step, cancel, rerun, drop, purge, inspect, stats, resume]
            .map(|script| &*script.source)
            .to_vec()
    }
}

pub(super) struct Script {
    source: String,
    sha1: String,
    is_confirmed: bool,
}

impl Script {
    fn new(body: &str) -> Self {
        let source = format!("{PRELUDE}\n{body}");
        let sha1 = redis::Script::new(&source).get_hash().to_owned();
        Self { source, sha1, is_confirmed: false }
    }

    /// A script whose effect a failover must not lose once it was answered.
    fn confirmed(body: &str) -> Self {
        Self { is_confirmed: true, ..Self::new(body) }
    }

    /// Start a call whose arguments are pushed one by one; `size` is a guess at their
    /// number of bytes.
    pub(super) fn prepare(
        &self,
        broker: &RedisBroker,
        queue: &QueueName,
        args: usize,
        size: usize,
    ) -> Cmd {
        let mut command = Cmd::with_capacity(args + 4, size + 128);
        command.arg("EVALSHA").arg(&self.sha1).arg(1).arg(broker.prefix(queue));
        command
    }

    /// Send a prepared call.
    pub(super) async fn send(
        &self,
        broker: &RedisBroker,
        command: &Cmd,
    ) -> Result<Value, QueueError> {
        broker.connection.call(command, &self.source, self.is_confirmed).await
    }

    /// Call with these arguments.
    pub(super) async fn call(
        &self,
        broker: &RedisBroker,
        queue: &QueueName,
        args: &[&[u8]],
    ) -> Result<Value, QueueError> {
        let mut command =
            self.prepare(broker, queue, args.len(), args.iter().map(|a| a.len() + 16).sum());
        for arg in args {
            command.arg(arg);
        }
        self.send(broker, &command).await
    }
}

fn unexpected(value: &Value) -> QueueError {
    let mut shown = format!("{value:?}");
    shown.truncate(shown.floor_char_boundary(120));
    QueueError::Protocol(shown)
}

pub(super) fn integer(value: Value) -> Result<i64, QueueError> {
    match value {
        Value::Int(number) => Ok(number),
        Value::BulkString(ref text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| unexpected(&value)),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, QueueError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn text(value: Value) -> Result<String, QueueError> {
    String::from_utf8(bytes(value)?).map_err(|_| QueueError::Protocol("text is not UTF-8".into()))
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, QueueError> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        other => Err(unexpected(&other)),
    }
}

/// An array of exactly `N` values.
pub(super) fn tuple<const N: usize>(value: Value) -> Result<[Value; N], QueueError> {
    array(value)?.try_into().map_err(|values: Vec<Value>| {
        QueueError::Protocol(format!("{} values where {N} were expected", values.len()))
    })
}

pub(super) fn integers(value: Value) -> Result<Vec<i64>, QueueError> {
    array(value)?.into_iter().map(integer).collect()
}
