//! The worker's side: a process that runs attempts of one tenant for a host, and can do nothing
//! else.
//!
//! It gives up its rights before it is sent the first plugin, compiles nothing, and dies with
//! the host. One thread reads what the host says and never waits for anything else, so that the
//! host can always be heard; guests run on a runtime of their own, as in the host.

mod link;
mod run;
mod services;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::frame::Inbox;
use super::harden::{self, Layer, Leave};
use super::wire::{Down, Hello, Shape, Up};
use crate::sandbox::Sandbox;
use crate::{SandboxConfig, engine, last_words};

pub(crate) use link::Lent;
pub(super) use run::most_up;
pub(crate) use services::Connecting;

/// The first descriptor that is no standard stream.
const FIRST_OTHER: i32 = 3;

/// Highest descriptor that is looked for where the kernel does not list those that are open.
const LAST_OTHER: i32 = 65_535;

/// Memory beyond what guests may have: machine code, threads, frames on their way.
const OWN_BYTES: u64 = 1 << 30;

/// Descriptors beyond what guests may have open.
const OWN_DESCRIPTORS: u64 = 128;

/// Connections of one attempt, for the number of descriptors.
const CONNECTIONS: u64 = 32;

/// Be a guest worker: take a host's word on the standard input, which is a socket. To be called
/// first thing by a program that [`crate::WorkerProcesses`] names, and to be its end.
#[must_use]
pub fn guest_worker() -> ExitCode {
    last_words::end(serve())
}

fn serve() -> io::Result<()> {
    // What the host itself inherited from whoever started it is not for guests.
    for descriptor in others() {
        // That of the list itself is not open any more.
        let _ = nix::unistd::close(descriptor);
    }
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let link = Arc::new(link::Link::new(socket.try_clone()?));
    let mut inbox = Inbox::new(socket);
    let Some((Down::Hello(hello), folders)) = inbox.next::<Down<'static>>()? else {
        return Err(io::Error::other("the host did not say what this is for"));
    };
    let sandbox = match prepare(&hello, folders) {
        Ok((sandbox, layers)) => {
            link.say(&Up::Ready { layers });
            sandbox
        }
        Err(why) => {
            link.say(&Up::Unfit { why });
            return Ok(());
        }
    };
    // From here on there are more threads than this one.
    engine::tick(sandbox.engine(), sandbox.config().epoch_tick).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(hello.threads.max(1))
        .thread_name("guests")
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let mut duty = run::Duty::new(sandbox, link, runtime.handle().clone());
    while let Some((said, descriptors)) = inbox.next::<Down<'static>>()? {
        duty.hear(said, descriptors)?;
    }
    Ok(())
}

/// Every descriptor but the standard streams, or all that there may be.
fn others() -> Vec<i32> {
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return (FIRST_OTHER..=LAST_OTHER).collect();
    };
    let open = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    open.filter(|descriptor| *descriptor >= FIRST_OTHER).collect()
}

/// The engine, and then nothing more than it needs.
fn prepare(hello: &Hello, folders: Vec<OwnedFd>) -> Result<(Sandbox, Vec<Layer>), String> {
    let config = config(&hello.shape);
    let engine = engine::for_worker(&config, &hello.code);
    let engine = engine.map_err(|error| format!("the engine cannot start: {error:#}"))?;
    if engine::compatibility(&engine) != hello.compatibility {
        return Err("the guest worker is not of the same build as the host".to_owned());
    }
    let Shape { concurrency, ceilings, memories, open_files, .. } = hello.shape;
    let slots = u64::from(config.concurrency.saturating_add(config.concurrent_loads));
    let guests = ceilings
        .memory_bytes
        .saturating_mul(u64::from(memories))
        .saturating_add(ceilings.hostcall_bytes)
        .saturating_add(ceilings.result_bytes);
    let each = u64::from(open_files).saturating_add(CONNECTIONS);
    let leave = Leave {
        reach: folders.into_iter().zip(hello.reach.iter().copied()).collect(),
        // Images of memories are files too, which nobody can name.
        file_bytes: hello.file_bytes.map(|bytes| bytes.max(ceilings.memory_bytes)),
        memory_bytes: Some(slots.saturating_mul(guests).saturating_add(OWN_BYTES)),
        descriptors: Some(u64::from(concurrency).saturating_mul(each) + OWN_DESCRIPTORS),
    };
    let sandbox = Sandbox::of_worker(engine, hello.code.clone(), config, open_files);
    let layers = harden::harden(leave)?;
    let missing: Vec<&str> = Layer::ALL
        .iter()
        .filter(|layer| !layers.contains(layer))
        .map(|layer| layer.as_str())
        .collect();
    if hello.strict && !missing.is_empty() {
        return Err(format!("the kernel lacks {}", missing.join(", ")));
    }
    Ok((sandbox, layers))
}

fn config(shape: &Shape) -> SandboxConfig {
    SandboxConfig {
        concurrency: shape.concurrency,
        ceilings: shape.ceilings,
        describe_limits: shape.describe_limits,
        epoch_tick: shape.epoch_tick,
        stack_bytes: shape.stack_bytes,
        keep_resident_bytes: shape.keep_resident_bytes,
        table_elements: shape.table_elements,
        memories: shape.memories,
        tables: shape.tables,
        random_bytes: shape.random_bytes,
        offers: shape.offers,
        children: shape.children,
        ..SandboxConfig::default()
    }
}
