//! How a command ends: its exit code and, if it failed, what is said about it.
//!
//! This is the one place that prints an error chain and the one that maps errors to
//! exit codes.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Error;
use bulkhead::HostError;
use bulkhead::config::ConfigError;
use bulkhead::fleet::FleetError;
use bulkhead::queue::QueueError;

use super::escape;

/// Shown at the end of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  it did not work: the operation or the task failed
  2  wrong usage, input or configuration
  3  the broker cannot be reached
  4  not found
  5  timed out while waiting";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It worked.
    Done = 0,
    /// The operation or the task failed.
    Failed = 1,
    /// The usage, the input or the configuration is wrong.
    Usage = 2,
    /// The broker cannot be reached.
    Unavailable = 3,
    /// What was asked for does not exist.
    NotFound = 4,
    /// It was not over in time.
    TimedOut = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Complaint {
    exit: Exit,
    message: String,
}

/// The operation or the task failed.
pub(crate) fn failed(message: impl Display) -> Error {
    Complaint { exit: Exit::Failed, message: message.to_string() }.into()
}

/// The usage or the input is wrong.
pub(crate) fn usage(message: impl Display) -> Error {
    Complaint { exit: Exit::Usage, message: message.to_string() }.into()
}

/// The broker cannot be reached.
pub(crate) fn unavailable(message: impl Display) -> Error {
    Complaint { exit: Exit::Unavailable, message: message.to_string() }.into()
}

/// Something does not exist.
pub(crate) fn not_found(message: impl Display) -> Error {
    Complaint { exit: Exit::NotFound, message: message.to_string() }.into()
}

/// It was not over in time.
pub(crate) fn timed_out(message: impl Display) -> Error {
    Complaint { exit: Exit::TimedOut, message: message.to_string() }.into()
}

/// Print `error` and give the exit code for it.
pub(crate) fn report(error: &Error) -> Exit {
    // The reader of our output has gone; there is nobody left to tell.
    if error.chain().any(is_broken_pipe) {
        return Exit::Done;
    }
    let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    let mut text = format!("{style}error:{style:#} {}\n", escape::block(&error.to_string()));
    for cause in causes(error) {
        text.push_str(&format!("  caused by: {}\n", escape::block(&cause)));
    }
    // With a closed stderr only the exit code is left to speak.
    let _ = anstream::stderr().write_all(text.as_bytes());
    exit_of(error)
}

/// What led to an error, without what the error itself says already.
fn causes(error: &Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(&cause);
            causes.push(cause);
        }
    }
    causes
}

fn exit_of(error: &Error) -> Exit {
    error.chain().find_map(exit_of_cause).unwrap_or(Exit::Failed)
}

fn exit_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(complaint) = cause.downcast_ref::<Complaint>() {
        return Some(complaint.exit);
    }
    if cause.is::<ConfigError>() {
        return Some(Exit::Usage);
    }
    if let Some(error) = cause.downcast_ref::<QueueError>() {
        return Some(exit_of_queue(error));
    }
    if let Some(error) = cause.downcast_ref::<FleetError>() {
        return Some(match error {
            FleetError::Refused(_) => Exit::Usage,
            FleetError::NotFound(_) => Exit::NotFound,
            FleetError::Broker(error) => exit_of_queue(error),
            _ => Exit::Failed,
        });
    }
    match cause.downcast_ref::<HostError>()? {
        HostError::Options(_) | HostError::Plugins { .. } => Some(Exit::Usage),
        HostError::Broker(error) => Some(exit_of_queue(error)),
        _ => None,
    }
}

fn exit_of_queue(error: &QueueError) -> Exit {
    match error {
        QueueError::Refused(_) => Exit::Usage,
        QueueError::Unavailable(_) => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_cause_decides_the_code_whatever_is_said_around_it() {
        let wrapped = |error: Error| exit_of(&error.context("while doing something"));
        assert_eq!(wrapped(usage("x")), Exit::Usage);
        assert_eq!(wrapped(not_found("x")), Exit::NotFound);
        assert_eq!(wrapped(timed_out("x")), Exit::TimedOut);
        assert_eq!(wrapped(failed("x")), Exit::Failed);
        assert_eq!(wrapped(QueueError::Unavailable("x".into()).into()), Exit::Unavailable);
        assert_eq!(wrapped(QueueError::Refused("x".into()).into()), Exit::Usage);
        assert_eq!(wrapped(QueueError::Protocol("x".into()).into()), Exit::Failed);
        let host = HostError::Broker(QueueError::Unavailable("x".into()));
        assert_eq!(wrapped(host.into()), Exit::Unavailable);
        assert_eq!(wrapped(anyhow::anyhow!("x")), Exit::Failed);
        let unavailable = Err::<(), _>(QueueError::Unavailable("x".into()));
        assert_eq!(exit_of(&unavailable.context("y").unwrap_err()), Exit::Unavailable);
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = anyhow::anyhow!("no space").context("cannot write: no space");
        assert_eq!(causes(&cause), Vec::<String>::new());
        let cause = anyhow::anyhow!("no space").context("cannot write").context("stopped");
        assert_eq!(causes(&cause), ["cannot write", "no space"]);
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(report(&gone.context("printing")), Exit::Done);
    }
}
