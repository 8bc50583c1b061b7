//! The host's side of a compile worker: start it, talk with it, kill it when its time is over,
//! and say what its end means.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;

use super::frame::{self, Answer, GO, Request};
use super::{Artifact, Refused, WorkerProgram, out_of_time};
use crate::last_words::last_words;
use crate::load::Approval;
use crate::load::artifact::Facts;
use crate::sandbox::Sandbox;
use crate::{Gate, Rejection, SandboxConfig, engine};

/// Threads that compile one file.
const THREADS: usize = 4;

/// Machine code is at most this many times as large as the file, and a fixed part.
const MAX_GROWTH: usize = 8;
const MAX_FIXED_BYTES: usize = 32 << 20;

/// The most machine code that is taken for a file of so many bytes.
pub(in crate::load) fn most_code_bytes(file_bytes: usize) -> usize {
    file_bytes.saturating_mul(MAX_GROWTH).saturating_add(MAX_FIXED_BYTES)
}

const SIGXCPU: i32 = 24;
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// How a talk went.
enum Talk {
    Compiled(Facts, Vec<u8>),
    Refused(Refused),
    /// The worker hung up before it was done.
    Broken,
}

pub(super) async fn compile(
    sandbox: &Sandbox,
    program: &WorkerProgram,
    bytes: &[u8],
    approval: &Approval,
) -> Result<Artifact, Refused> {
    let config = sandbox.config();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let mut command = Command::new(&program.program);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A signal from the terminal is for the host, which ends its workers itself.
        .process_group(0)
        .kill_on_drop(true);
    let unable = |what: &str| {
        let message = format!(
            "the compile worker `{}` {what}; this is the host's trouble and not the file's",
            program.program.display()
        );
        Refused::passing(Rejection::new(Gate::Compile, message))
    };
    let mut child = command.spawn().map_err(|e| unable(&format!("cannot be started: {e}")))?;
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(to), Some(from), Some(words)) = streams else {
        return Err(unable("has no streams"));
    };
    let request = Request {
        code: sandbox.code().clone(),
        compatibility: engine::compatibility(sandbox.engine()),
        memory_bytes: config.compile_memory_bytes,
        cpu_s: config.compile_cpu.as_secs().max(1),
        max_component_bytes: config.max_component_bytes,
        file_bytes: bytes.len(),
    };
    let attended = async {
        // What it says goes on being read, or it would wait for ever to be heard.
        let (talk, words) =
            tokio::join!(talk(to, from, &request, bytes, approval), last_words(words));
        let ended = match talk {
            Talk::Broken => Some(child.wait().await),
            _ => None,
        };
        (talk, words, ended)
    };
    // Dropping the child, which happens on every way out of here, kills it.
    let attended = tokio::time::timeout(config.compile_budget, attended).await;
    let Ok((talk, words, ended)) = attended else {
        return Err(Refused::lasting(out_of_time(config.compile_budget)));
    };
    match talk {
        Talk::Compiled(facts, code) => Ok(Artifact::from_compiler(facts, code)),
        Talk::Refused(refused) if is_scarcity(&refused.rejection.message) => {
            Err(Refused::lasting(out_of_memory(config)))
        }
        Talk::Refused(refused) => Err(refused),
        Talk::Broken => match ended {
            Some(Ok(status)) => Err(ended_early(config, status, &words, unable)),
            _ => Err(unable("was lost")),
        },
    }
}

async fn talk(
    mut to: impl AsyncWrite + Unpin,
    mut from: impl AsyncRead + Unpin,
    request: &Request,
    bytes: &[u8],
    approval: &Approval,
) -> Talk {
    let most = most_code_bytes(bytes.len());
    let talk = async {
        // A worker that ended has said why; what it did not read does not matter.
        let sent = async {
            to.write_all(&frame::encode(request)?).await?;
            to.write_all(bytes).await?;
            to.flush().await
        };
        let _ = sent.await;
        let facts = match hear(&mut from).await? {
            Answer::Checked(facts) => facts,
            other => return Ok(Talk::Refused(refused(other))),
        };
        if let Err(rejection) = approval.grant(&facts.imports) {
            return Ok(Talk::Refused(Refused::passing(rejection)));
        }
        to.write_all(&[GO]).await?;
        to.flush().await?;
        let length = match hear(&mut from).await? {
            Answer::Compiled(length) if length <= most => length,
            Answer::Compiled(length) => {
                let message = format!(
                    "its machine code has {length} bytes, and at most {most} are taken for a \
                     file of its size"
                );
                return Ok(Talk::Refused(Refused::lasting(Rejection::new(Gate::Compile, message))));
            }
            other => return Ok(Talk::Refused(refused(other))),
        };
        let mut code = vec![0; length];
        from.read_exact(&mut code).await?;
        io::Result::Ok(Talk::Compiled(facts, code))
    };
    talk.await.unwrap_or(Talk::Broken)
}

async fn hear(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix).await?;
    let mut header = vec![0; frame::length(prefix)?];
    from.read_exact(&mut header).await?;
    Ok(serde_json::from_slice(&header)?)
}

/// An answer that ends the talk.
fn refused(answer: Answer) -> Refused {
    match answer {
        Answer::Refused(gate, message) => Refused::lasting(Rejection::new(gate, message)),
        Answer::Unable(message) => Refused::passing(Rejection::new(Gate::Compile, message)),
        Answer::Checked(_) | Answer::Compiled(_) => {
            let message = "the compile worker answered out of turn";
            Refused::passing(Rejection::new(Gate::Compile, message))
        }
    }
}

/// What it means that a worker ended without an answer.
fn ended_early(
    config: &SandboxConfig,
    status: ExitStatus,
    words: &str,
    unable: impl Fn(&str) -> Refused,
) -> Refused {
    let compile = |message: String| Refused::lasting(Rejection::new(Gate::Compile, message));
    match status.signal() {
        Some(SIGXCPU) => {
            let message = format!(
                "compiling it takes more CPU time than `compile_cpu` = {:?}; make it smaller or \
                 raise the limit",
                config.compile_cpu
            );
            Refused::lasting(Rejection::new(Gate::CompileBudget, message))
        }
        Some(SIGABRT) | None if is_scarcity(words) => Refused::lasting(out_of_memory(config)),
        Some(SIGKILL) => compile(
            "the compile worker was killed while it had this file, as a machine does that is \
             out of memory; it is not tried again before the file changes or the host restarts"
                .to_owned(),
        ),
        Some(signal) => {
            compile(format!("compiling it crashes the compiler (signal {signal}): {words}"))
        }
        None if status.code() == Some(101) => {
            compile(format!("compiling it makes the compiler panic: {words}"))
        }
        None => unable(&format!("failed ({status}): {words}")),
    }
}

/// Whether words of the compiler speak of memory. Threads cannot be started either without it.
fn is_scarcity(words: &str) -> bool {
    ["memory allocation of", "Cannot allocate memory", "os error 12", "os error 11"]
        .iter()
        .any(|sign| words.contains(sign))
}

fn out_of_memory(config: &SandboxConfig) -> Rejection {
    let message = format!(
        "compiling it takes more memory than `compile_memory` = {} bytes; make it smaller or \
         raise the limit",
        config.compile_memory_bytes
    );
    Rejection::new(Gate::Compile, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(raw: i32, words: &str) -> (Gate, String, bool) {
        let unable =
            |what: &str| Refused::passing(Rejection::new(Gate::Compile, format!("unable: {what}")));
        let config = SandboxConfig::default();
        let refused = ended_early(&config, ExitStatus::from_raw(raw), words, unable);
        (refused.rejection.gate, refused.rejection.message, refused.lasting)
    }

    #[test]
    fn every_end_of_a_worker_has_its_meaning() {
        for (raw, words, gate, says, lasting) in [
            (SIGXCPU, "", Gate::CompileBudget, "`compile_cpu`", true),
            (SIGABRT, "memory allocation of 9 bytes failed", Gate::Compile, "compile_memory", true),
            (101 << 8, "Cannot allocate memory", Gate::Compile, "compile_memory", true),
            (SIGABRT, "odd", Gate::Compile, "crashes the compiler (signal 6): odd", true),
            (SIGKILL, "", Gate::Compile, "was killed", true),
            (11, "", Gate::Compile, "signal 11", true),
            (101 << 8, "thread panicked", Gate::Compile, "panic: thread panicked", true),
            (2 << 8, "no input", Gate::Compile, "unable: failed", false),
        ] {
            let meant = meaning(raw, words);
            assert_eq!((meant.0, meant.2), (gate, lasting), "{raw} {words}");
            assert!(meant.1.contains(says), "{meant:?}");
        }
    }
}
