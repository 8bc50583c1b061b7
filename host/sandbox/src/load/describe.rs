//! The last gates: the plugin runs once, under small limits, and says what it handles.
//! What it says is hostile until checked here.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bulkhead_core::{
    Backoff, Failure, FailureKind, LimitsRequest, Outcome, Payload, RetryRequest, TaskId, TaskType,
    UnixMs,
};
use uuid::Uuid;

use super::own_type;
use crate::attempt::Run;
use crate::bindings::bulkhead::handler::types;
use crate::cancel::Cancels;
use crate::command::CommandProgram;
use crate::compartment::{Opening, Setting, Stdio, Stop};
use crate::handler::{HandlerProgram, Mistyped};
use crate::plugin::{HandlerDescription, Manifest, PluginDescription, Program};
use crate::powers::Powers;
use crate::sandbox::Sandbox;
use crate::seat::{Seat, Seats};
use crate::text::bounded;
use crate::{Cancel, CapabilitySet, Gate, Rejection, Services};

/// Most task types of one plugin.
const MAX_HANDLERS: usize = 64;

/// Longest text for people, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// Longest JSON Schema, in bytes.
const MAX_SCHEMA_BYTES: usize = 64 << 10;

/// Most tasks of one call.
const MAX_BATCH: u32 = 256;

/// Most waits in a list of delays.
const MAX_DELAYS: usize = 64;

/// What an exponential backoff may multiply by.
const MULTIPLIERS: RangeInclusive<f64> = 1.0..=100.0;

/// Call `describe` and check the answer.
pub(super) async fn ask(
    sandbox: &Sandbox,
    program: &HandlerProgram,
    name: &str,
    manifest: &Manifest,
    uses: CapabilitySet,
) -> Result<PluginDescription, Rejection> {
    let mut run = open(sandbox, manifest, uses)?;
    let described =
        run.bounded(async |store, instantiated| program.describe(store, instantiated).await).await;
    match described {
        Ok(described) => checked(described, program.takes_batches(), name, manifest),
        Err(error) => Err(failed(run, error, Gate::Describe, "describing itself")),
    }
}

/// What a plugin said of itself, if it makes sense.
pub(super) fn checked(
    described: types::PluginDescription,
    takes_batches: bool,
    name: &str,
    manifest: &Manifest,
) -> Result<PluginDescription, Rejection> {
    check_batches(&described, takes_batches)?;
    check(described, name, manifest)
}

/// What a plugin says of itself, unchecked. A command says nothing, and is instantiated.
pub(super) async fn raw(
    sandbox: &Sandbox,
    program: &Program,
    manifest: &Manifest,
    uses: CapabilitySet,
) -> Result<types::PluginDescription, Rejection> {
    let nothing = || types::PluginDescription {
        name: String::new(),
        version: String::new(),
        handlers: Vec::new(),
    };
    match program {
        Program::Handler(program) => {
            let mut run = open(sandbox, manifest, uses)?;
            let described =
                run.bounded(async |store, took| program.describe(store, took).await).await;
            described.map_err(|error| failed(run, error, Gate::Describe, "describing itself"))
        }
        Program::Command(program) => {
            smoke(sandbox, program, manifest, uses).await.map(|()| nothing())
        }
        Program::Elsewhere(_) => Ok(nothing()),
    }
}

/// Instantiate a command without running it.
pub(super) async fn smoke(
    sandbox: &Sandbox,
    program: &CommandProgram,
    manifest: &Manifest,
    uses: CapabilitySet,
) -> Result<(), Rejection> {
    let mut run = open(sandbox, manifest, uses)?;
    let instantiated =
        run.bounded(async |store, instantiated| program.smoke(store, instantiated).await).await;
    instantiated.map_err(|error| failed(run, error, Gate::Smoke, "instantiating it"))
}

/// What a command, which cannot describe itself, serves.
pub(super) fn of_command(name: &str, manifest: &Manifest) -> Result<PluginDescription, Rejection> {
    let task_types = match &manifest.task_types {
        Some(task_types) => task_types.clone(),
        None => vec![own_type(name)?],
    };
    let handlers = task_types.into_iter().map(|task_type| HandlerDescription {
        task_type,
        description: String::new(),
        input_schema: None,
        limits: manifest.limits,
        retry: manifest.retry.clone(),
        max_batch: 1,
    });
    let handlers: Vec<_> = handlers.collect();
    check_number(handlers.len())?;
    check_distinct(&handlers)?;
    Ok(PluginDescription { name: name.to_owned(), version: String::new(), handlers })
}

/// A compartment in which capabilities are there and nothing is behind them.
fn open(sandbox: &Sandbox, manifest: &Manifest, uses: CapabilitySet) -> Result<Run, Rejection> {
    let limits = sandbox.within_ceilings(sandbox.config().describe_limits);
    let stop = Stop::after(limits.wall_ms, UnixMs::MAX, Cancels::One(Cancel::new()));
    let seats = Seats::alone(Seat::bare(stop.began, limits.log_bytes));
    let setting = Setting::of(&manifest.grants, TaskId(Uuid::nil()), 0, limits.wall_ms);
    let powers = (!uses.is_empty()).then(|| {
        let grants = Arc::new(manifest.grants.clone());
        Powers::new(&grants, &Services::default(), sandbox.config().children)
    });
    let opening = Opening { stop, stdio: Stdio::Logged, seats, setting, powers };
    Run::open(sandbox, limits, opening)
        .map_err(|error| Rejection::new(Gate::Smoke, error.to_string()))
}

fn failed(run: Run, error: wasmtime::Error, gate: Gate, what: &str) -> Rejection {
    if let Some(mistyped) = error.downcast_ref::<Mistyped>() {
        let message = format!("{mistyped}; build it against this host's `wit/`");
        return Rejection::new(Gate::World, message);
    }
    let message = match run.end(Err(error)) {
        Ok(end) => match end.outcome {
            Outcome::Failed(Failure { kind: FailureKind::Trapped, message, .. }) => message,
            Outcome::Failed(failure) => format!("{} ({})", failure.message, failure.kind),
            Outcome::Done(Payload { .. }) => String::new(),
        },
        Err(unavailable) => unavailable.to_string(),
    };
    Rejection::new(gate, format!("{what} failed: {message}"))
}

fn check(
    described: types::PluginDescription,
    name: &str,
    manifest: &Manifest,
) -> Result<PluginDescription, Rejection> {
    check_number(described.handlers.len())?;
    let own = if described.name.is_empty() { name.to_owned() } else { described.name };
    let handlers: Result<Vec<_>, _> =
        described.handlers.into_iter().map(|handler| check_handler(handler, manifest)).collect();
    let mut handlers = handlers?;
    check_distinct(&handlers)?;
    if let Some(wanted) = &manifest.task_types {
        for task_type in wanted {
            if !handlers.iter().any(|handler| handler.task_type == *task_type) {
                return Err(Rejection::new(
                    Gate::Manifest,
                    format!(
                        "the manifest's `task_types` names `{task_type}`, which the plugin does \
                         not describe; remove it"
                    ),
                ));
            }
        }
        handlers.retain(|handler| wanted.contains(&handler.task_type));
        check_number(handlers.len())?;
    }
    Ok(PluginDescription {
        name: bounded(own, MAX_TEXT_BYTES),
        version: bounded(described.version, MAX_TEXT_BYTES),
        handlers,
    })
}

fn check_number(handlers: usize) -> Result<(), Rejection> {
    if (1..=MAX_HANDLERS).contains(&handlers) {
        return Ok(());
    }
    Err(refused(&format!("it serves {handlers} task types; use 1 to {MAX_HANDLERS}")))
}

fn check_distinct(handlers: &[HandlerDescription]) -> Result<(), Rejection> {
    for (at, handler) in handlers.iter().enumerate() {
        if handlers[..at].iter().any(|earlier| earlier.task_type == handler.task_type) {
            return Err(refused(&format!("it names the task type `{}` twice", handler.task_type)));
        }
    }
    Ok(())
}

fn check_handler(
    described: types::HandlerDescription,
    manifest: &Manifest,
) -> Result<HandlerDescription, Rejection> {
    let task_type =
        TaskType::new(&described.task_type).map_err(|error| refused(&error.to_string()))?;
    if let Some(schema) = &described.input_schema {
        check_schema(&task_type, schema)?;
    }
    let suggested_retry = match described.retry {
        Some(suggested) => Some(check_retry(&task_type, suggested)?),
        None => None,
    };
    let suggested = LimitsRequest {
        fuel: described.limits.fuel,
        memory_bytes: described.limits.memory_bytes,
        wall_ms: described.limits.wall_ms,
        ..Default::default()
    };
    Ok(HandlerDescription {
        task_type,
        description: bounded(described.description, MAX_TEXT_BYTES),
        input_schema: described.input_schema,
        limits: stricter(manifest.limits, suggested),
        retry: match (manifest.retry.clone(), suggested_retry) {
            (Some(asked), Some(suggested)) => Some(asked.or(&suggested)),
            (asked, suggested) => asked.or(suggested),
        },
        max_batch: described.max_batch.unwrap_or(1).min(manifest.max_batch.unwrap_or(MAX_BATCH)),
    })
}

fn check_schema(task_type: &TaskType, schema: &str) -> Result<(), Rejection> {
    if schema.len() > MAX_SCHEMA_BYTES {
        return Err(refused(&format!(
            "the input schema of `{task_type}` has {} bytes; at most {MAX_SCHEMA_BYTES} are allowed",
            schema.len()
        )));
    }
    serde_json::from_str::<serde_json::Value>(schema).map(drop).map_err(|error| {
        refused(&format!("the input schema of `{task_type}` is no JSON text: {error}"))
    })
}

fn stricter(a: LimitsRequest, b: LimitsRequest) -> LimitsRequest {
    let lower = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    LimitsRequest {
        fuel: lower(a.fuel, b.fuel),
        memory_bytes: lower(a.memory_bytes, b.memory_bytes),
        wall_ms: lower(a.wall_ms, b.wall_ms),
        result_bytes: lower(a.result_bytes, b.result_bytes),
        log_bytes: lower(a.log_bytes, b.log_bytes),
    }
}

/// Batches need bounds, and a function that takes them.
fn check_batches(
    described: &types::PluginDescription,
    takes_batches: bool,
) -> Result<(), Rejection> {
    for handler in &described.handlers {
        let task_type = bounded(handler.task_type.clone(), MAX_TEXT_BYTES);
        match handler.max_batch {
            Some(size) if !(1..=MAX_BATCH).contains(&size) => {
                return Err(refused(&format!(
                    "it takes `{task_type}` in batches of up to {size}; use 1 to {MAX_BATCH}"
                )));
            }
            Some(2..) if !takes_batches => {
                return Err(refused(&format!(
                    "it takes `{task_type}` in batches and does not export \
                     `bulkhead:handler/batch-handler@0.1.0`"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_retry(
    task_type: &TaskType,
    suggested: types::RetrySuggestion,
) -> Result<RetryRequest, Rejection> {
    let senseless = |what: &str| {
        Err(refused(&format!("the retry policy that it suggests for `{task_type}` {what}")))
    };
    let types::RetrySuggestion { max_attempts, backoff, max_age_ms } = suggested;
    if max_attempts == Some(0) {
        return senseless("has no attempts; the first one counts, so use at least 1");
    }
    let backoff = match backoff {
        None => None,
        Some(types::Backoff::Fixed(delay_ms)) => Some(Backoff::Fixed { delay_ms }),
        Some(types::Backoff::Linear(types::LinearBackoff { initial_ms, step_ms, max_ms })) => {
            Some(Backoff::Linear { initial_ms, step_ms, max_ms })
        }
        Some(types::Backoff::Exponential(backoff)) => {
            let types::ExponentialBackoff { initial_ms, multiplier, max_ms } = backoff;
            if !MULTIPLIERS.contains(&multiplier) {
                return senseless(&format!("multiplies waits by {multiplier}; use 1.0 to 100.0"));
            }
            Some(Backoff::Exponential { initial_ms, multiplier, max_ms })
        }
        Some(types::Backoff::Delays(delays_ms)) => {
            if !(1..=MAX_DELAYS).contains(&delays_ms.len()) {
                let number = delays_ms.len();
                return senseless(&format!("lists {number} waits; use 1 to {MAX_DELAYS}"));
            }
            Some(Backoff::Delays { delays_ms })
        }
    };
    Ok(RetryRequest { max_attempts, backoff, max_age_ms, ..Default::default() })
}

fn refused(message: &str) -> Rejection {
    Rejection::new(Gate::Description, message)
}
