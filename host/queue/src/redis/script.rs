//! The scripts and how they are called: EVALSHA, the source where the server does not know
//! them, and replies taken apart without trust.

use std::time::Instant;

use bulkhead_core::QueueName;
use redis::{Cmd, Value};

use super::RedisBroker;
use crate::error::QueueError;
use crate::figures::{Spread, Timings};

const PRELUDE: &str = include_str!("scripts/prelude.lua");
const RECORDS: &str = include_str!("scripts/library/records.lua");
const LIMITS: &str = include_str!("scripts/library/limits.lua");
const ENDS: &str = include_str!("scripts/library/ends.lua");
const STORE: &str = include_str!("scripts/library/store.lua");
const SUBMIT: &str = include_str!("scripts/submit.lua");
const STEP: &str = include_str!("scripts/step.lua");
const SETTLE: &str = include_str!("scripts/step/settle.lua");
const RENEW: &str = include_str!("scripts/step/renew.lua");
const RECLAIM: &str = include_str!("scripts/step/reclaim.lua");
const PROMOTE: &str = include_str!("scripts/step/promote.lua");
const CLAIM: &str = include_str!("scripts/step/claim.lua");
const CANCEL: &str = include_str!("scripts/cancel.lua");
const RERUN: &str = include_str!("scripts/rerun.lua");
const EDIT: &str = include_str!("scripts/edit.lua");
const DROP: &str = include_str!("scripts/drop.lua");
const PURGE: &str = include_str!("scripts/purge.lua");
const INSPECT: &str = include_str!("scripts/inspect.lua");
const STATS: &str = include_str!("scripts/stats.lua");
const QUOTA: &str = include_str!("scripts/quota.lua");
const PAUSE: &str = include_str!("scripts/pause.lua");
const POLICY: &str = include_str!("scripts/policy.lua");
const RELAX: &str = include_str!("scripts/relax.lua");
const LINK: &str = include_str!("scripts/link.lua");
const RESOLVE: &str = include_str!("scripts/resolve.lua");
const TOLD: &str = include_str!("scripts/told.lua");
const ADOPT: &str = include_str!("scripts/adopt.lua");
const OPEN_BATCH: &str = include_str!("scripts/open_batch.lua");
const COUNT: &str = include_str!("scripts/count.lua");
const SCHEDULE: &str = include_str!("scripts/schedule.lua");
const DUE: &str = include_str!("scripts/due.lua");
const WATCH: &str = include_str!("scripts/watch.lua");
const CHECK: &str = include_str!("scripts/check.lua");
const TALLY: &str = include_str!("scripts/tally.lua");
const FIRE: &str = include_str!("scripts/fire.lua");
const KV_SPACE: &str = include_str!("scripts/kv/space.lua");
const KV_GET: &str = include_str!("scripts/kv_get.lua");
const KV_LIST: &str = include_str!("scripts/kv_list.lua");
const KV_WRITE: &str = include_str!("scripts/kv_write.lua");
const KV_USAGE: &str = include_str!("scripts/kv_usage.lua");
const SECRET: &str = include_str!("scripts/secret.lua");
const DOCUMENT: &str = include_str!("scripts/document.lua");
const BLOB: &str = include_str!("scripts/blob.lua");
const DEPTHS: &str = include_str!("scripts/library/depths.lua");
const SAMPLE: &str = include_str!("scripts/sample.lua");

pub(super) struct Scripts {
    pub(super) submit: Script,
    pub(super) step: Script,
    pub(super) cancel: Script,
    pub(super) rerun: Script,
    pub(super) edit: Script,
    pub(super) drop: Script,
    pub(super) purge: Script,
    pub(super) inspect: Script,
    pub(super) stats: Script,
    pub(super) quota: Script,
    pub(super) pause: Script,
    pub(super) policy: Script,
    pub(super) relax: Script,
    pub(super) link: Script,
    pub(super) resolve: Script,
    pub(super) told: Script,
    pub(super) adopt: Script,
    pub(super) open_batch: Script,
    pub(super) count: Script,
    pub(super) schedule: Script,
    pub(super) due: Script,
    pub(super) fire: Script,
    pub(super) watch: Script,
    pub(super) check: Script,
    pub(super) tally: Script,
    pub(super) kv_get: Script,
    pub(super) kv_list: Script,
    pub(super) kv_write: Script,
    pub(super) kv_usage: Script,
    pub(super) secret: Script,
    pub(super) document: Script,
    pub(super) blob: Script,
    pub(super) sample: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            submit: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, SUBMIT]),
            step: Script::new(&[
                PRELUDE, RECORDS, LIMITS, ENDS, STORE, STEP, SETTLE, RENEW, RECLAIM, PROMOTE, CLAIM,
            ]),
            cancel: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, CANCEL]),
            rerun: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, RERUN]),
            edit: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, EDIT]),
            drop: Script::new(&[PRELUDE, DROP]),
            purge: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, PURGE]),
            inspect: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, INSPECT]),
            stats: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, DEPTHS, STATS]),
            quota: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, QUOTA]),
            pause: Script::new(&[PRELUDE, PAUSE]),
            policy: Script::new(&[PRELUDE, POLICY]),
            relax: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, RELAX]),
            link: Script::new(&[PRELUDE, LINK]),
            resolve: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, RESOLVE]),
            told: Script::new(&[PRELUDE, TOLD]),
            adopt: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, ADOPT]),
            open_batch: Script::new(&[PRELUDE, OPEN_BATCH]),
            count: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, COUNT]),
            schedule: Script::new(&[PRELUDE, SCHEDULE]),
            due: Script::new(&[PRELUDE, DUE]),
            fire: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, FIRE]),
            watch: Script::new(&[PRELUDE, WATCH]),
            check: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, CHECK]),
            tally: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, TALLY]),
            kv_get: Script::new(&[KV_SPACE, KV_GET]),
            kv_list: Script::new(&[KV_SPACE, KV_LIST]),
            kv_write: Script::new(&[KV_SPACE, KV_WRITE]),
            kv_usage: Script::new(&[KV_SPACE, KV_USAGE]),
            secret: Script::new(&[SECRET]),
            document: Script::new(&[DOCUMENT]),
            blob: Script::new(&[BLOB]),
            sample: Script::new(&[PRELUDE, RECORDS, LIMITS, ENDS, STORE, DEPTHS, SAMPLE]),
        }
    }
}

impl Scripts {
    /// Mark the scripts whose effect a failover must not lose once it was answered, for
    /// nobody would do it again. What a step did is done again by itself when its leases
    /// run out.
    pub(super) fn confirming(mut self) -> Self {
        for script in [
            &mut self.submit,
            &mut self.fire,
            &mut self.cancel,
            &mut self.rerun,
            &mut self.edit,
            &mut self.pause,
            &mut self.policy,
            &mut self.schedule,
            &mut self.open_batch,
            &mut self.link,
            &mut self.resolve,
            &mut self.told,
            &mut self.adopt,
            &mut self.count,
            &mut self.kv_write,
            &mut self.secret,
            &mut self.document,
            &mut self.blob,
        ] {
            script.is_confirmed = true;
        }
        self
    }

    /// All sources, for what must hold of each.
    pub(super) fn sources(&self) -> Vec<&str> {
        self.each().into_iter().map(|(_, script)| &*script.source).collect()
    }

    /// How long the calls of each script took that was called.
    pub(super) fn timings(&self) -> Vec<(&'static str, Spread)> {
        let spreads = self.each().into_iter().map(|(name, script)| (name, script.timings.now()));
        spreads.filter(|(_, spread)| spread.buckets.iter().any(|calls| *calls > 0)).collect()
    }

    /// Every script and its name.
    fn each(&self) -> Vec<(&'static str, &Script)> {
        macro_rules! named {
            ($($name:ident),*) => {{
                let Self { $($name),* } = self;
                vec![$((stringify!($name), $name)),*]
            }};
        }
        named!(
            submit, step, cancel, rerun, edit, drop, purge, inspect, stats, quota, pause, policy,
            relax, link, resolve, told, adopt, open_batch, count, schedule, due, fire, watch,
            check, tally, kv_get, kv_list, kv_write, kv_usage, secret, document, blob, sample
        )
    }
}

pub(super) struct Script {
    source: String,
    sha1: String,
    is_confirmed: bool,
    timings: Timings,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let source = parts.join("\n");
        let sha1 = redis::Script::new(&source).get_hash().to_owned();
        Self { source, sha1, is_confirmed: false, timings: Timings::default() }
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
        self.prepare_below(&broker.prefix(queue), args, size)
    }

    fn prepare_below(&self, prefix: &str, args: usize, size: usize) -> Cmd {
        let mut command = Cmd::with_capacity(args + 4, size + 128);
        command.arg("EVALSHA").arg(&self.sha1).arg(1).arg(prefix);
        command
    }

    /// Send a prepared call.
    pub(super) async fn send(
        &self,
        broker: &RedisBroker,
        command: &Cmd,
    ) -> Result<Value, QueueError> {
        let began = Instant::now();
        let reply = broker.connection.call(command, &self.source, self.is_confirmed).await;
        self.timings.observe(began.elapsed());
        reply
    }

    /// Call with these arguments.
    pub(super) async fn call(
        &self,
        broker: &RedisBroker,
        queue: &QueueName,
        args: &[&[u8]],
    ) -> Result<Value, QueueError> {
        self.call_below(broker, &broker.prefix(queue), args).await
    }

    /// Call with the keys below a prefix that is no queue's.
    pub(super) async fn call_below(
        &self,
        broker: &RedisBroker,
        prefix: &str,
        args: &[&[u8]],
    ) -> Result<Value, QueueError> {
        let size = args.iter().map(|arg| arg.len() + 16).sum();
        let mut command = self.prepare_below(prefix, args.len(), size);
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
