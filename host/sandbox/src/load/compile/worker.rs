//! The worker's side: a process that compiles one file and ends.
//!
//! It limits itself before it reads a byte of the file, opens no file, and dies with the host.
//! It must not know what the file is granted.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::frame::{self, Answer, GO, Request};
use super::{check, machine_code};
use crate::{engine, last_words};

/// Descriptors that a worker may hold: its three streams and what its threads wait on.
const MAX_FILES: u64 = 64;

/// Address space that the program itself takes, where the kernel does not tell.
const ASSUMED_BYTES: u64 = 1 << 30;

/// Be a compile worker: read a request and a file from the standard input, answer on the
/// standard output. To be called first thing by a program that [`crate::WorkerProgram`]
/// names, and to be its end.
#[must_use]
pub fn compile_worker() -> ExitCode {
    last_words::end(serve(&mut io::stdin().lock(), &mut io::stdout().lock()))
}

fn serve(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, MAX_FILES, MAX_FILES)?;
    let request: Request = frame::read(from)?;
    // The second after the first signal, the process is killed.
    limit(Resource::Cpu, request.cpu_s, request.cpu_s.saturating_add(1))?;
    let memory = mapped_bytes().unwrap_or(ASSUMED_BYTES).saturating_add(request.memory_bytes);
    limit(Resource::As, memory, memory)?;
    let mut bytes = vec![0; request.file_bytes];
    from.read_exact(&mut bytes)?;
    let engine = match engine::for_compiling(&request.code) {
        Ok(engine) if engine::compatibility(&engine) == request.compatibility => engine,
        Ok(_) => {
            let message = "the compile worker is not of the same build as the host";
            return answer(to, &Answer::Unable(message.into()), &[]);
        }
        Err(error) => return answer(to, &Answer::Unable(format!("{error:#}")), &[]),
    };
    let checked = match check(&bytes, request.max_component_bytes) {
        Ok(checked) => checked,
        Err(rejection) => return answer(to, &rejection.into(), &[]),
    };
    answer(to, &Answer::Checked(checked.facts.clone()), &[])?;
    let mut go = [0];
    if from.read(&mut go)? == 0 || go != [GO] {
        return Ok(());
    }
    match machine_code(&engine, &checked) {
        Ok(code) => answer(to, &Answer::Compiled(code.len()), &code),
        Err(rejection) => answer(to, &rejection.into(), &[]),
    }
}

fn answer(to: &mut impl Write, answer: &Answer, body: &[u8]) -> io::Result<()> {
    to.write_all(&frame::encode(answer)?)?;
    to.write_all(body)?;
    to.flush()
}

fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
    match setrlimit(resource, limit) {
        Ok(()) => Ok(()),
        // Somebody set a lower one already, which stays.
        Err(rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => {
            let lowered = rustix::process::getrlimit(resource).maximum;
            let soft = lowered.map_or(soft, |lowered| lowered.min(soft));
            let limit = Rlimit { current: Some(soft), maximum: lowered };
            Ok(setrlimit(resource, limit)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The address space that is taken already, most of it by the program itself.
fn mapped_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1 << 10)
}
