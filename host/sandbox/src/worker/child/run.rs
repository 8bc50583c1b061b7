//! What a worker does: keep plugins, run attempts at them.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bulkhead_core::{Failure, FailureKind, Limits, Metering, Outcome, Task};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::link::Link;
use super::services::{Remote, RemoteProgress};
use crate::attempt::{Attempt, AttemptEnd};
use crate::load;
use crate::plugin::Plugin;
use crate::sandbox::Sandbox;
use crate::worker::wire::{Assigned, Described, Down, End, Ends, Given, UP_BYTES, Up, Ware};
use crate::{Cancel, Gate, Outbound, ProgressSink, Unavailable};

/// A plugin, once it is loaded.
type Loaded = watch::Receiver<Option<Result<Arc<Plugin>, (Gate, String)>>>;

/// The tokens of an attempt's tasks.
type Cancels = Arc<Mutex<HashMap<u64, Vec<Cancel>>>>;

/// A worker at work.
pub(super) struct Duty {
    sandbox: Sandbox,
    link: Arc<Link>,
    runtime: Handle,
    plugins: HashMap<u64, Loaded>,
    cancels: Cancels,
    outbound: Arc<Outbound>,
}

impl Duty {
    pub(super) fn new(sandbox: Sandbox, link: Arc<Link>, runtime: Handle) -> Self {
        let (plugins, cancels) = (HashMap::new(), Cancels::default());
        Self { sandbox, link, runtime, plugins, cancels, outbound: Outbound::new() }
    }

    /// Do what the host says. Waits for nothing.
    pub(super) fn hear(&mut self, said: Down<'static>, with: Vec<OwnedFd>) -> io::Result<()> {
        match said {
            Down::Hello(_) => return Err(io::Error::other("the host said it again")),
            Down::Plugin { plugin, ware } => {
                let code = with.into_iter().next();
                let code = code.ok_or_else(|| io::Error::other("a plugin came without code"))?;
                self.take(plugin, *ware, code.into());
            }
            Down::Forget { plugin } => drop(self.plugins.remove(&plugin)),
            Down::Describe { plugin } => self.describe(plugin),
            Down::Attempt { attempt, plugin, given, tasks } => {
                self.attempt(attempt, plugin, given, tasks);
            }
            Down::Cancel { attempt, task } => {
                let cancels = self.cancels.lock();
                let task = cancels.get(&attempt).and_then(|tasks| tasks.get(task as usize));
                if let Some(cancel) = task {
                    cancel.cancel();
                }
            }
            Down::Roots { roots, certificates } => {
                self.outbound.believe(roots, certificates);
            }
            Down::Answer { ask, answer } => self.link.answered(ask, answer, with),
        }
        Ok(())
    }

    fn take(&mut self, plugin: u64, ware: Ware, code: File) {
        let (to, loaded) = watch::channel(None);
        self.plugins.insert(plugin, loaded);
        let sandbox = self.sandbox.clone();
        self.runtime.spawn_blocking(move || {
            let plugin = load(&sandbox, ware, &code);
            to.send_replace(Some(plugin.map(Arc::new)));
        });
    }

    fn plugin(
        &self,
        plugin: u64,
    ) -> impl Future<Output = Result<Arc<Plugin>, (Gate, String)>> + use<> {
        let loaded = self.plugins.get(&plugin).cloned();
        async move {
            let lost = || (Gate::Compile, "the worker does not have it".to_owned());
            let mut loaded = loaded.ok_or_else(lost)?;
            let plugin = loaded.wait_for(Option::is_some).await.map_err(|_| lost())?;
            plugin.clone().unwrap_or_else(|| Err(lost()))
        }
    }

    fn describe(&self, id: u64) {
        let (plugin, link, sandbox) = (self.plugin(id), self.link.clone(), self.sandbox.clone());
        self.runtime.spawn(async move {
            let described = match plugin.await {
                Ok(plugin) => load::describe_raw(&sandbox, &plugin).await,
                Err(refused) => Err(refused),
            };
            let described = described.map(|(described, batches)| Described::of(described, batches));
            link.say(&Up::Described { plugin: id, described });
        });
    }

    fn attempt(&self, id: u64, plugin: u64, given: Given, tasks: Vec<Assigned<'static>>) {
        let (plugin, link) = (self.plugin(plugin), self.link.clone());
        let remote = Remote { link: link.clone(), attempt: id };
        let services = remote.services(given, &self.outbound);
        let cancels: Vec<Cancel> = tasks.iter().map(|_| Cancel::new()).collect();
        for (task, cancel) in tasks.iter().zip(&cancels) {
            if task.cancelled {
                cancel.cancel();
            }
        }
        self.cancels.lock().insert(id, cancels.clone());
        let most = most_up(self.sandbox.config().ceilings);
        let running = self.cancels.clone();
        self.runtime.spawn(async move {
            let tasks: Vec<Received> = tasks.into_iter().map(Received::of).collect();
            let attempts = tasks.iter().zip(&cancels).zip(0..).map(|((given, cancel), at)| {
                let progress = given.progress.then(|| {
                    let link = link.clone();
                    Arc::new(RemoteProgress { link, attempt: id, task: at })
                        as Arc<dyn ProgressSink>
                });
                Attempt {
                    task: &given.task,
                    attempt: given.attempt,
                    max_attempts: given.max_attempts,
                    deadline_at: given.deadline_at,
                    limits: given.limits,
                    cancel: cancel.clone(),
                    progress,
                    parents: given.parents.clone(),
                    services: services.clone(),
                }
            });
            let mut attempts: Vec<Attempt<'_>> = attempts.collect();
            let end = match plugin.await {
                Err((_, why)) => Err(Unavailable::Broken(why)),
                Ok(plugin) if attempts.len() == 1 => match attempts.pop() {
                    Some(attempt) => plugin.attempt(attempt).await.map(|end| (vec![end], false)),
                    None => Ok((Vec::new(), false)),
                },
                Ok(plugin) => {
                    plugin.attempt_batch(attempts).await.map(|batch| (batch.ends, batch.fell))
                }
            };
            running.lock().remove(&id);
            let number = tasks.len();
            let end = end
                .map(|(ends, fell)| Ends { ends: ends.into_iter().map(End::from).collect(), fell });
            if !link.say_within(&Up::Ended { attempt: id, end }, most) {
                let ends = (0..number).map(|_| too_large()).collect();
                link.say(&Up::Ended { attempt: id, end: Ok(Ends { ends, fell: false }) });
            }
        });
    }
}

/// The longest frame that the host takes, for these ceilings.
pub(in crate::worker) fn most_up(ceilings: Limits) -> u64 {
    let guest = ceilings.result_bytes.saturating_add(ceilings.hostcall_bytes);
    UP_BYTES.saturating_add(guest.saturating_mul(2))
}

/// A task as it arrived.
struct Received {
    task: Task,
    attempt: u32,
    max_attempts: u32,
    deadline_at: bulkhead_core::UnixMs,
    limits: Limits,
    progress: bool,
    parents: Option<Arc<[bulkhead_core::Parent]>>,
}

impl Received {
    fn of(assigned: Assigned<'static>) -> Self {
        Self {
            task: assigned.task.into_owned(),
            attempt: assigned.attempt,
            max_attempts: assigned.max_attempts,
            deadline_at: assigned.deadline_at,
            limits: assigned.limits,
            progress: assigned.progress,
            parents: assigned.parents.map(|parents| Arc::from(parents.into_owned())),
        }
    }
}

impl From<AttemptEnd> for End {
    fn from(end: AttemptEnd) -> Self {
        let AttemptEnd { outcome, metering, logs, children } = end;
        Self { outcome, metering, logs, children }
    }
}

/// The end of a batch that came to more than one frame may hold.
fn too_large() -> End {
    let message = "what the attempt came to is larger than a worker process may send; return \
                   less, or a reference to the data";
    let outcome = Outcome::Failed(Failure::new(FailureKind::ResultTooLarge, message));
    End { outcome, metering: Metering::default(), logs: Vec::new(), children: Vec::new() }
}

/// A plugin of the host's machine code.
fn load(sandbox: &Sandbox, ware: Ware, code: &File) -> Result<Plugin, (Gate, String)> {
    let broken = |why: String| (Gate::Compile, why);
    let length = usize::try_from(ware.code_bytes).map_err(|error| broken(error.to_string()))?;
    let mut bytes = vec![0; length];
    code.read_exact_at(&mut bytes, 0).map_err(|error| broken(error.to_string()))?;
    let Ware { name, digest, facts, grants, .. } = ware;
    load::from_host(sandbox, name, digest, facts, grants, bytes)
        .map_err(|rejection| (rejection.gate, rejection.message))
}
