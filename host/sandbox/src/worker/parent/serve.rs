//! What a worker's attempts ask for, and what they get.
//!
//! A worker can only name attempts that it runs, and each ask is bound to the plugin and tenant
//! of the attempt that it names. What the engine in the worker would have refused is not asked by
//! any worker that is whole: it is a lie. So is more than one attempt can ask.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bulkhead_core::outbound::Target;
use serde_bytes::ByteBuf;

use super::hand::Running;
use super::lendings::{Connection, Folder};
use super::process::Worker;
use crate::capability::{kv, open_granted};
use crate::grants::{FsGrant, KvGrant};
use crate::outbound::{Lending, ROOTS_KEPT, Way};
use crate::scratch::Scratch;
use crate::service::{KvSpace, SecretError};
use crate::text::bounded;
use crate::worker::Unreached;
use crate::worker::wire::{Answer, Ask, ConnectAsk, Down, KvAsk, Up};
use crate::{ScratchHome, SecretValue};

/// Longest text of a note, in bytes.
const MAX_NOTE_BYTES: usize = 1 << 10;

/// Longest message of progress, in bytes.
const MAX_PROGRESS_BYTES: usize = 1 << 10;

/// Answers that a worker may not have heard yet, besides one for each attempt that runs: those
/// to attempts that have just ended.
const MOST_UNHEARD: usize = 64;

type Lie = String;

fn lie(what: &str) -> Result<(), Lie> {
    Err(what.to_owned())
}

impl Worker {
    /// Do what the worker says, or tell in what it lied.
    pub(super) fn heed(self: &Arc<Self>, said: Up) -> Result<(), Lie> {
        match said {
            Up::Ready { .. } | Up::Unfit { .. } => lie("it begins again"),
            Up::Described { plugin, described } => {
                let Some(to) = self.describing.lock().remove(&plugin) else {
                    return lie("a description that nobody wants");
                };
                // Whoever wanted it may have given up.
                let _ = to.send(described);
                Ok(())
            }
            Up::Ended { attempt, end } => {
                let mut all = self.running.lock();
                if all.get(&attempt).is_some_and(|run| !run.begun.load(Ordering::Acquire)) {
                    return lie("the end of an attempt that it has not heard of");
                }
                let Some(running) = all.remove(&attempt) else {
                    return lie("the end of an attempt that it does not run");
                };
                drop(all);
                self.lendings.over(attempt);
                running.end(end);
                Ok(())
            }
            Up::Progress { attempt, task, fraction, message } => {
                self.progress(attempt, task, fraction, message);
                Ok(())
            }
            Up::Ask { ask, attempt, what } => self.asked(ask, attempt, what),
            Up::Closed { connection } => {
                drop(self.lendings.connections.lock().remove(&connection));
                Ok(())
            }
            Up::Left { folder } => {
                drop(self.lendings.folders.lock().remove(&folder));
                Ok(())
            }
            Up::Note { attempt, to, why } => {
                let running = self.running.lock();
                if let Some(access) = running.get(&attempt).and_then(|r| r.services.http.as_ref()) {
                    let plain =
                        |text: String| bounded(text, MAX_NOTE_BYTES).escape_debug().to_string();
                    access.note(&plain(to), &plain(why));
                }
                Ok(())
            }
        }
    }

    /// How far a guest is. Of an attempt that has just ended nobody wants to know.
    fn progress(&self, attempt: u64, task: u32, fraction: f32, message: String) {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        let mut message = bounded(message, MAX_PROGRESS_BYTES);
        let mut running = self.running.lock();
        let Some(run) = running.get_mut(&attempt) else { return };
        if let Some(redactor) = run.powers.as_deref().and_then(|powers| powers.redactor()) {
            redactor.text(&mut message);
        }
        let Some(Some(reports)) = run.progress.get_mut(task as usize) else { return };
        let now = Instant::now();
        let heard = catch_unwind(AssertUnwindSafe(|| reports.report(fraction, &message, now)));
        if heard.is_err() {
            // As on a thread of the host, the attempt ends with it, and nothing else does.
            let tasks = run.fail_by_host();
            for task in 0..tasks {
                // A worker that is over needs not be told.
                let _ = self.tell(&Down::Cancel { attempt, task }, Vec::new());
            }
        }
    }

    fn asked(self: &Arc<Self>, ask: u64, attempt: u64, what: Ask) -> Result<(), Lie> {
        let mut running = self.running.lock();
        let at_work = running.len();
        // Its last ask may cross its end.
        let Some(run) = running.get_mut(&attempt) else { return Ok(()) };
        let asking = Asking { worker: self.clone(), ask, attempt };
        if let Ask::Connect(what) = what {
            return asking.connect(run, &what);
        }
        if self.unheard() > at_work + MOST_UNHEARD {
            return lie("it asks and does not listen");
        }
        if std::mem::replace(&mut run.asking, true) {
            return lie("two things at one time");
        }
        match what {
            Ask::Config { key } => {
                if !run.uses.config {
                    return lie("configuration without a grant");
                }
                let config = run.services.config.clone();
                let value = catch_unwind(AssertUnwindSafe(|| config.and_then(|c| c.get(&key))));
                run.asking = false;
                let answer = value.map_or(Answer::Panicked, Answer::Config);
                self.answer(ask, answer, Vec::new());
                Ok(())
            }
            Ask::Secret { name } => asking.secret(run, name),
            Ask::Kv(what) => asking.kv(run, what),
            Ask::Folders => asking.folders(run),
            Ask::Connect(_) => Ok(()),
        }
    }

    fn answer(&self, ask: u64, answer: Answer, descriptors: Vec<OwnedFd>) {
        // An attempt may wait for many connections at one time, as many as it was granted.
        let one_of_many = matches!(answer, Answer::Connected { .. } | Answer::Unreached { .. });
        let what = Down::Answer { ask, answer };
        let told = match one_of_many {
            true => self.tell(&what, descriptors),
            false => self.tell_asker(&what, descriptors),
        };
        if let Err(error) = told {
            tracing::warn!(%error, "an answer to a guest worker cannot be sent");
        }
    }
}

/// One ask of an attempt.
struct Asking {
    worker: Arc<Worker>,
    ask: u64,
    attempt: u64,
}

impl Asking {
    /// Answer, if the attempt still runs; `first` is done with it before.
    fn answer(self, answer: Answer, first: impl FnOnce(&mut Running)) {
        let mut running = self.worker.running.lock();
        if let Some(run) = running.get_mut(&self.attempt) {
            run.asking = false;
            first(run);
            self.worker.answer(self.ask, answer, Vec::new());
        }
    }

    fn secret(self, run: &Running, name: String) -> Result<(), Lie> {
        let granted = run.powers.as_ref().is_some_and(|p| p.grants.secrets.contains(&name));
        if !run.uses.secrets || !granted {
            return lie("a secret without a grant");
        }
        let source = run.services.secrets.clone();
        tokio::spawn(async move {
            let wanted = name.clone();
            let asking = tokio::spawn(async move {
                match source {
                    Some(source) => source.get(&wanted).await,
                    None => Err(SecretError::Unavailable("there are no secrets here".to_owned())),
                }
            });
            let Ok(value) = asking.await else { return self.answer(Answer::Panicked, |_| {}) };
            let told = value.as_ref().map(|value| value.expose().to_owned()).map_err(Clone::clone);
            self.answer(Answer::Secret(told), |run| {
                if let (Ok(value), Some(powers)) = (&value, run.powers.as_deref_mut()) {
                    let value: &SecretValue = value;
                    powers.spoken.add(&name, value);
                }
            });
        });
        Ok(())
    }

    fn kv(self, run: &mut Running, what: KvAsk) -> Result<(), Lie> {
        let Some(powers) = run.powers.as_deref_mut().filter(|_| run.uses.kv) else {
            return lie("values without a grant");
        };
        let (Some(grant), Some(space)) = (powers.grants.kv, run.services.kv.clone()) else {
            return lie("values that are not there");
        };
        let Some(left) = powers.kv_operations.checked_sub(1) else {
            return lie("more calls to kv than were granted");
        };
        powers.kv_operations = left;
        check_kv(&what, &grant)?;
        tokio::spawn(async move {
            let asking = tokio::spawn(async move { keep(space.as_ref(), what).await });
            self.answer(asking.await.unwrap_or(Answer::Panicked), |_| {});
        });
        Ok(())
    }

    fn connect(self, run: &mut Running, what: &ConnectAsk) -> Result<(), Lie> {
        let grant = run.powers.as_ref().and_then(|powers| powers.grants.http.clone());
        let (Some(grant), Some(access)) = (grant.filter(|_| run.uses.http), &run.services.http)
        else {
            return lie("a connection without a grant");
        };
        let Some(left) = run.requests_left.checked_sub(1) else {
            return lie("more requests than were granted");
        };
        run.requests_left = left;
        let target = Target::of(&what.method, &what.scheme, &what.authority, &what.path);
        let target = target.map_err(|error| format!("a connection for no request: {error}"))?;
        if !grant.allow.permits(&target) {
            return lie("a connection that no rule allows");
        }
        let way = Way {
            reach: grant.reach,
            ca_file: grant.ca_file,
            connections: grant.connections,
            within: what.within.min(grant.connect_timeout),
        };
        let (access, mut over) = (access.clone(), run.alive.subscribe());
        tokio::spawn(async move {
            let began = Instant::now();
            let lent = tokio::select! {
                lent = access.lend(&target, &way) => lent,
                _ = over.changed() => return,
            };
            access.called(&target, began, lent.is_ok());
            match lent {
                Ok(lending) => self.lend(lending),
                Err((reason, why)) => {
                    self.worker.answer(self.ask, Answer::Unreached { reason, why }, Vec::new());
                }
            }
        });
        Ok(())
    }

    fn lend(self, lending: Lending) {
        let Lending { socket, place, roots } = lending;
        let passed = match socket.try_clone() {
            Ok(passed) => passed,
            Err(error) => {
                let answer =
                    Answer::Unreached { reason: Unreached::Unavailable, why: error.to_string() };
                self.worker.answer(self.ask, answer, Vec::new());
                return;
            }
        };
        let (worker, attempt) = (&self.worker, self.attempt);
        let roots = roots.map(|roots| {
            let mut told = worker.lendings.roots.lock();
            if !told.contains(&roots.id) {
                if told.len() >= ROOTS_KEPT {
                    told.clear();
                }
                told.insert(roots.id);
                let certificates =
                    roots.certificates.iter().map(|der| ByteBuf::from(der.clone())).collect();
                let what = Down::Roots { roots: roots.id, certificates };
                if let Err(error) = worker.tell(&what, Vec::new()) {
                    tracing::warn!(%error, "roots cannot be sent to a guest worker");
                }
            }
            roots.id
        });
        let running = worker.running.lock();
        if running.contains_key(&attempt) {
            let connection = worker.number();
            let lent = Connection { attempt, socket, _place: place };
            worker.lendings.connections.lock().insert(connection, lent);
            worker.answer(self.ask, Answer::Connected { connection, roots }, vec![passed.into()]);
        }
    }

    fn folders(self, run: &mut Running) -> Result<(), Lie> {
        let grant = run.powers.as_ref().and_then(|powers| powers.grants.fs.clone());
        let Some(grant) = grant.filter(|_| run.uses.fs) else {
            return lie("folders without a grant");
        };
        let Some(left) = run.folders_left.checked_sub(1) else {
            return lie("folders more than once");
        };
        run.folders_left = left;
        let home = run.services.scratch.clone();
        tokio::spawn(async move {
            match open_all(grant, home, &self.worker).await {
                Ok((scratch, folders)) => self.hand_folders(scratch, folders),
                Err(why) => self.answer(Answer::NoFolders { why }, |_| {}),
            }
        });
        Ok(())
    }

    fn hand_folders(self, scratch: Option<Scratch>, folders: Vec<OwnedFd>) {
        let mut running = self.worker.running.lock();
        let Some(run) = running.get_mut(&self.attempt) else { return };
        run.asking = false;
        let own = scratch.map(|scratch| {
            let own = self.worker.number();
            let folder = Folder { attempt: self.attempt, _scratch: scratch, since: None };
            self.worker.lendings.folders.lock().insert(own, folder);
            own
        });
        self.worker.answer(self.ask, Answer::Folders { own }, folders);
    }
}

async fn open_all(
    grant: FsGrant,
    home: Option<ScratchHome>,
    worker: &Worker,
) -> Result<(Option<Scratch>, Vec<OwnedFd>), String> {
    let mut folders: Vec<OwnedFd> = Vec::with_capacity(grant.dirs.len() + 1);
    let mut own = None;
    if grant.scratch.is_some() {
        let (Some(home), Some(room)) = (home, &worker.room) else {
            return Err("the host has no `scratch_dir`".to_owned());
        };
        let made = home.folder_in(room).await.map_err(|error| {
            // Somebody tidied up; the next worker has a new room.
            worker.retire();
            error.to_string()
        });
        let (scratch, opened) = made?;
        folders.push(opened.into());
        own = Some(scratch);
    }
    let dirs = grant.dirs;
    let opening = tokio::task::spawn_blocking(move || {
        dirs.iter().map(|dir| open_granted(&dir.host)).collect::<Result<Vec<_>, _>>()
    });
    let opened = opening.await.map_err(|error| error.to_string())?;
    let opened = opened.map_err(|error| error.to_string())?;
    folders.extend(opened.into_iter().map(OwnedFd::from));
    Ok((own, folders))
}

/// What the engine in the worker checks before it asks.
fn check_kv(what: &KvAsk, grant: &KvGrant) -> Result<(), Lie> {
    let odd = |_| "a key or a time that is none".to_owned();
    let small = |value: &[u8]| match value.len() as u64 <= grant.value_bytes {
        true => Ok(()),
        false => lie("a value larger than was granted"),
    };
    match what {
        KvAsk::Get { key } | KvAsk::Delete { key } => kv::check_key(key).map_err(odd),
        KvAsk::Set { key, value, ttl_ms } | KvAsk::CompareAndSet { key, value, ttl_ms, .. } => {
            kv::check_key(key).and_then(|()| kv::check_ttl(*ttl_ms)).map_err(odd)?;
            small(value)
        }
        KvAsk::Increment { key, ttl_ms, .. } => {
            kv::check_key(key).and_then(|()| kv::check_ttl(*ttl_ms)).map_err(odd)
        }
        KvAsk::List { prefix, after, limit } => {
            let texts = [Some(prefix), after.as_ref()];
            texts
                .into_iter()
                .flatten()
                .try_for_each(|text| kv::check_text("key", text))
                .map_err(odd)?;
            if (1..=kv::MAX_PAGE).contains(limit) { Ok(()) } else { lie("a page that is none") }
        }
    }
}

async fn keep(space: &dyn KvSpace, what: KvAsk) -> Answer {
    match what {
        KvAsk::Get { key } => Answer::Entry(space.get(&key).await),
        KvAsk::Set { key, value, ttl_ms } => Answer::Version(space.set(&key, value, ttl_ms).await),
        KvAsk::Delete { key } => Answer::Deleted(space.delete(&key).await),
        KvAsk::List { prefix, after, limit } => {
            Answer::Page(space.list(&prefix, after.as_deref(), limit).await)
        }
        KvAsk::Increment { key, by, ttl_ms } => {
            Answer::Sum(space.increment(&key, by, ttl_ms).await)
        }
        KvAsk::CompareAndSet { key, expected, value, ttl_ms } => {
            Answer::Swapped(space.compare_and_set(&key, expected, value, ttl_ms).await)
        }
    }
}
