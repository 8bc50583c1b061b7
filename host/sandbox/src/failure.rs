//! From the error that ended a guest to the outcome of its attempt.
//!
//! Each limit has a kind of its own and a message that names the limit, its value and
//! what to do. wasmtime's typed errors come first; a few of its errors have only a
//! text, and tests hold us to them. Guest text is bounded here.

use std::fmt::Write as _;

use bulkhead_core::{Failure, FailureKind, Limits};
use rustc_demangle::demangle;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::Unavailable;
use crate::bindings::bulkhead::handler::types;
use crate::capability::FolderUnavailable;
use crate::compartment::Stopped;
use crate::engine::MAX_FRAMES;
use crate::memory::MemoryRefused;
use crate::stdio::OutputTooLarge;
use crate::text::bounded;

/// Longest message of a failure, in bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// Longest details of a failure, in bytes.
pub(crate) const MAX_DETAILS_BYTES: usize = 16 << 10;

/// What a failure holds at most.
pub(crate) const MAX_BYTES: u64 =
    (2 * MAX_MESSAGE_BYTES + MAX_DETAILS_BYTES + MAX_FRAMES * (MAX_FRAME_BYTES + 32)) as u64;

/// Longest frame of a backtrace, in bytes.
pub(crate) const MAX_FRAME_BYTES: usize = 256;

/// A caller reckons the deadline from the time limit a moment before the attempt
/// begins; a deadline so little earlier than the limit is the limit.
const DEADLINE_SLACK_MS: u64 = 1_000;

/// One call would give the guest more than it may be given.
#[derive(Debug, thiserror::Error)]
#[error("one host call would give {bytes} bytes")]
pub(crate) struct TooLargeForCall {
    pub(crate) bytes: u64,
}

/// What is known about an attempt when its end is judged.
pub(crate) struct Circumstances<'a> {
    pub(crate) limits: &'a Limits,
    /// The time that the attempt was given, which its deadline may have shortened.
    pub(crate) allowed_ms: u64,
    pub(crate) stack_bytes: usize,
    /// The last panic that the guest reported.
    pub(crate) panic: Option<&'a str>,
}

/// The failure that a handler returned.
pub(crate) fn returned(failure: types::Failure) -> Failure {
    let (kind, message, details, retry_after_ms) = match failure {
        types::Failure::Retryable(failure) => {
            (FailureKind::Retry, failure.message, failure.details, failure.delay_ms)
        }
        types::Failure::Permanent(failure) => {
            (FailureKind::Reject, failure.message, failure.details, None)
        }
    };
    Failure {
        kind,
        message: bounded(message, MAX_MESSAGE_BYTES),
        details: details.map(|details| bounded(details, MAX_DETAILS_BYTES)),
        backtrace: Vec::new(),
        retry_after_ms,
    }
}

/// The failure that `error` stands for, unless it is the host's own trouble.
pub(crate) fn judge(
    error: &wasmtime::Error,
    about: &Circumstances<'_>,
) -> Result<Failure, Unavailable> {
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Err(Unavailable::PoolFull(full.to_string()));
    }
    if is_the_hosts(error) {
        return Err(Unavailable::Broken(format!("{error:#}")));
    }
    let (kind, message) = explain(error, about);
    Ok(Failure {
        backtrace: frames(error),
        ..Failure::new(kind, bounded(message, MAX_MESSAGE_BYTES))
    })
}

/// Whether the host's own operating system failed, out of reach of any guest frame.
fn is_the_hosts(error: &wasmtime::Error) -> bool {
    let system = error.is::<std::io::Error>()
        || error.is::<rustix::io::Errno>()
        || error.is::<wasmtime::OutOfMemory>();
    system && !error.is::<WasmBacktrace>()
}

fn explain(error: &wasmtime::Error, about: &Circumstances<'_>) -> (FailureKind, String) {
    let limits = about.limits;
    if let Some(refused) = error.downcast_ref::<MemoryRefused>() {
        return (
            FailureKind::OutOfMemory,
            format!(
                "out of memory: {} bytes were wanted in all and `memory` is {} bytes; raise the \
                 limit or hold less at a time",
                refused.wanted_bytes, limits.memory_bytes
            ),
        );
    }
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return stopped_by(*stopped, about);
    }
    if let Some(over) = error.downcast_ref::<OutputTooLarge>() {
        return result_too_large(over.limit_bytes);
    }
    if let Some(folder) = error.downcast_ref::<FolderUnavailable>() {
        // Given back, it would hold up the tasks of every other plugin of its queue.
        return (FailureKind::Retry, folder.to_string());
    }
    if let Some(TooLargeForCall { bytes }) = error.downcast_ref() {
        let message = format!(
            "the output of a parent has {bytes} bytes and one host call may give \
             `hostcall` = {} bytes; raise the host's limit or let the parent return a reference",
            limits.hostcall_bytes
        );
        return (FailureKind::HostcallTooLarge, message);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        let message = format!("the handler exited with code {} instead of returning", exit.0);
        return (FailureKind::Trapped, message);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return too_many_handles(limits);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => (
            FailureKind::OutOfFuel,
            format!(
                "out of fuel: the attempt used all of `fuel` = {}; raise the limit or do less \
                 in one task",
                limits.fuel
            ),
        ),
        Some(Trap::StackOverflow) => (
            FailureKind::StackOverflow,
            format!(
                "stack overflow: the guest used all of its {} bytes of stack; recurse less \
                 deeply or keep large values off the stack",
                about.stack_bytes
            ),
        ),
        Some(trap) => match about.panic {
            Some(panic) if *trap == Trap::UnreachableCodeReached => {
                (FailureKind::Trapped, panic.to_owned())
            }
            _ => (FailureKind::Trapped, trap.to_string()),
        },
        None => explain_text(error, about),
    }
}

/// The errors that wasmtime gives no type of their own.
fn explain_text(error: &wasmtime::Error, about: &Circumstances<'_>) -> (FailureKind, String) {
    let limits = about.limits;
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        // A result is taken from the guest when none of its frames is left.
        return match error.downcast_ref::<WasmBacktrace>() {
            Some(_) => (
                FailureKind::HostcallTooLarge,
                format!(
                    "one host call was given more than `hostcall` = {} bytes; pass less at a time \
                     or raise the host's limit",
                    limits.hostcall_bytes
                ),
            ),
            None => result_too_large(limits.result_bytes.min(limits.hostcall_bytes)),
        };
    }
    if text.contains("store handle limit exceeded") {
        return too_many_handles(limits);
    }
    if text.contains("instance count too high") {
        return (
            FailureKind::TooManyInstances,
            format!(
                "the component consists of more than `instances` = {} core instances; raise the \
                 host's limit or link the component from fewer modules",
                limits.instances
            ),
        );
    }
    (FailureKind::Trapped, text)
}

fn stopped_by(stopped: Stopped, about: &Circumstances<'_>) -> (FailureKind, String) {
    let what = match stopped {
        Stopped::Cancelled => {
            return (FailureKind::Cancelled, "the task was cancelled while it ran".to_owned());
        }
        Stopped::HostPanicked => {
            let (kind, message) = host_failed();
            return (kind, message.to_owned());
        }
        Stopped::Deadline => "the guest was still running",
        Stopped::DeadlineInHostCall => "the guest was waiting in a host call",
    };
    let wall_ms = about.limits.wall_ms;
    let why = if about.allowed_ms.saturating_add(DEADLINE_SLACK_MS) < wall_ms {
        format!("its deadline came before `wall` = {wall_ms} ms")
    } else {
        format!("`wall` is {wall_ms} ms; raise the limit or do less in one task")
    };
    (FailureKind::TimedOut, format!("timed out after {} ms: {what}, and {why}", about.allowed_ms))
}

/// The failure of an attempt in which the host's own code panicked, which is told here.
pub(crate) fn host_failed() -> (FailureKind, &'static str) {
    tracing::error!("the host panicked in an attempt, which ends with it; this is a bug");
    (FailureKind::Trapped, "the host failed while it ran the guest; its log has more")
}

/// The failure of an output over `limit_bytes`.
pub(crate) fn result_too_large(limit_bytes: u64) -> (FailureKind, String) {
    (
        FailureKind::ResultTooLarge,
        format!(
            "the output is larger than `result` allows, which is {limit_bytes} bytes here; raise \
             the limit or return a reference to the data"
        ),
    )
}

fn too_many_handles(limits: &Limits) -> (FailureKind, String) {
    (
        FailureKind::TooManyHandles,
        format!(
            "the guest held more than `handles` = {} resource handles at one time; drop streams, \
             timers and other resources when they are done with, or raise the host's limit",
            limits.handles
        ),
    )
}

/// The guest's frames, innermost first.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frames = backtrace.frames().iter().take(MAX_FRAMES).map(|frame| {
        let mut text = BoundedText::default();
        let module = frame.module().name().unwrap_or("module");
        // A write fails only when the bound is reached, and then the text is complete.
        let _ = match frame.func_name() {
            Some(name) => write!(text, "{module}!{:#}", demangle(name)),
            None => write!(text, "{module}!function {}", frame.func_index()),
        };
        if let Some(offset) = frame.module_offset() {
            let _ = write!(text, " @ {offset:#x}");
        }
        text.0
    });
    frames.collect()
}

/// Stops a formatter at the bound: a hostile name may demangle to a megabyte.
#[derive(Default)]
struct BoundedText(String);

impl std::fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MAX_FRAME_BYTES {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn judge_plainly(error: wasmtime::Error) -> Result<Failure, Unavailable> {
        let limits = Limits::default();
        let about = Circumstances { limits: &limits, allowed_ms: 0, stack_bytes: 0, panic: None };
        judge(&error, &about)
    }

    #[test]
    fn the_hosts_trouble_is_never_the_tasks() {
        let no_memory = io::Error::from_raw_os_error(12);
        let judged = judge_plainly(wasmtime::Error::new(no_memory));
        assert!(matches!(judged, Err(Unavailable::Broken(_))), "{judged:?}");
        let judged = judge_plainly(wasmtime::Error::new(rustix::io::Errno::NOMEM));
        assert!(matches!(judged, Err(Unavailable::Broken(_))), "{judged:?}");
        let judged = judge_plainly(wasmtime::Error::new(Trap::MemoryOutOfBounds));
        assert_eq!(judged.map(|failure| failure.kind), Ok(FailureKind::Trapped));
    }

    #[test]
    fn a_frame_is_cut_at_its_bound() {
        let mut frame = BoundedText::default();
        let written = (0..100).try_for_each(|_| frame.write_str("0123456789"));
        assert!(written.is_err());
        assert_eq!(frame.0.len(), 250);
    }
}
