//! Plain commands as handlers: the payload on the standard input, the output on the
//! standard output, and an exit code that says what came of it: 0 done, 1 retry,
//! anything else reject.

use std::time::Duration;

use bulkhead_core::{Failure, FailureKind, Limits, Outcome, Payload};
use wasmtime::Store;
use wasmtime::component::InstancePre;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::attempt::{done, timed};
use crate::compartment::Compartment;
use crate::failure::MAX_MESSAGE_BYTES;
use crate::text::bounded;

/// A linked command.
pub(crate) struct CommandProgram {
    pre: CommandPre<Compartment>,
}

impl CommandProgram {
    pub(crate) fn new(pre: InstancePre<Compartment>) -> wasmtime::Result<Self> {
        Ok(Self { pre: CommandPre::new(pre)? })
    }

    /// Instantiate the command without running it.
    pub(crate) async fn smoke(
        &self,
        store: &mut Store<Compartment>,
        instantiate: &mut Duration,
    ) -> wasmtime::Result<()> {
        timed(instantiate, self.pre.instantiate_async(store)).await.map(drop)
    }

    /// Run the command to its exit code.
    pub(crate) async fn run(
        &self,
        store: &mut Store<Compartment>,
        instantiate: &mut Duration,
    ) -> wasmtime::Result<i32> {
        let command = timed(instantiate, self.pre.instantiate_async(&mut *store)).await?;
        match command.wasi_cli_run().call_run(store).await {
            Ok(Ok(())) => Ok(0),
            Ok(Err(())) => Ok(1),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => Ok(exit.0),
                None => Err(error),
            },
        }
    }
}

/// What an exit code and an output come to. `last_error` is the last line of the
/// command's standard error.
pub(crate) fn outcome(
    code: i32,
    output: Vec<u8>,
    last_error: Option<String>,
    limits: &Limits,
) -> Outcome {
    let kind = match code {
        0 => {
            let text = std::str::from_utf8(&output).is_ok();
            let content_type = if text { Payload::TEXT } else { Payload::BINARY };
            return done(content_type.to_owned(), output, limits);
        }
        1 => FailureKind::Retry,
        _ => FailureKind::Reject,
    };
    let said = last_error.map_or(String::new(), |line| format!(": {line}"));
    let message = bounded(format!("the command exited with code {code}{said}"), MAX_MESSAGE_BYTES);
    Outcome::Failed(Failure::new(kind, message))
}
