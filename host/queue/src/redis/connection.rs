//! Commands to whichever server is the primary of their key.
//!
//! Two multiplexed links to each primary, one of them for what is long, opened when they are
//! first needed. A command that was
//! surely not done (no link, moved slot, demoted primary) is sent again where it belongs; one
//! that may have been done is never repeated here: its caller decides. Redirections of a slot
//! that is being moved are not followed: half of a queue would be missing there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::OnceCell;

use super::RedisConfig;
use super::dial::{Dial, Link};
use super::failure::{Recourse, at, recourse, refused, unreachable};
use super::place::Place;
use super::slot;
use super::url::{Address, RedisUrl, Servers};
use crate::error::QueueError;
use crate::figures::{Spread, Timings};

/// Servers that one command is sent to at most.
const MAX_HOPS: usize = 4;
/// How much later than it should a server may answer a command that blocks.
pub(super) const BLOCKED: Duration = Duration::from_secs(5);
/// How long replicas may take to confirm a submission at most.
const CONFIRM: Duration = Duration::from_secs(1);

/// By primary and road; empty until it is opened.
type Links = HashMap<(Address, Road), Arc<OnceCell<Link>>>;

pub(super) struct Connection {
    pub(super) dial: Dial,
    pub(super) place: Place,
    links: Mutex<Links>,
    /// The places to which there has been a link.
    reached: Mutex<HashSet<(Address, Road)>>,
    counted: Counted,
    min_replicas: u32,
    confirm: Duration,
}

/// What was counted since the beginning.
#[derive(Default)]
struct Counted {
    scripts: Timings,
    commands: Timings,
    long: Timings,
    failures: AtomicU64,
    reconnects: AtomicU64,
}

/// Which of a primary's links a command takes. Answers come one after the other, so long ones
/// have a road of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Road {
    Short,
    Long,
}

/// What is sent: a command, and whether replicas must confirm that they have its effect.
#[derive(Clone, Copy)]
struct Request<'a> {
    command: &'a Cmd,
    is_confirmed: bool,
    road: Road,
}

impl Connection {
    /// Connect; fails if no primary answers.
    pub(super) async fn open(config: &RedisConfig) -> Result<Self, QueueError> {
        let url: RedisUrl = config.url.parse().map_err(|reason| {
            QueueError::Refused(format!("the broker's URL is not usable: {reason}"))
        })?;
        let connection = Self {
            dial: Dial::new(&url, config.connect_timeout, config.response_timeout)?,
            place: Place::new(url.servers),
            links: Mutex::default(),
            reached: Mutex::default(),
            counted: Counted::default(),
            min_replicas: url.min_replicas,
            confirm: confirm_within(config.response_timeout),
        };
        connection.place.ask_again(&connection.dial, &connection.place.view(), None).await?;
        let mut unreached = None;
        for primary in connection.place.view().primaries() {
            match connection.link(&primary, Road::Short).await {
                Ok(_) => return Ok(connection),
                Err(error) => unreached = Some(error),
            }
        }
        Err(unreached.unwrap_or_else(|| unreachable("no primary is known".into())).into())
    }

    /// Replicas that confirm each submission.
    pub(super) fn min_replicas(&self) -> u32 {
        self.min_replicas
    }

    /// Send a command to its key's primary.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, QueueError> {
        let sent = self.route(Request { command, is_confirmed: false, road: Road::Short });
        Ok(self.timed(&self.counted.commands, sent).await?)
    }

    /// Send a command that is long, or whose answer is: nothing short waits behind it.
    pub(super) async fn send_long(&self, command: &Cmd) -> Result<Value, QueueError> {
        let sent = self.route(Request { command, is_confirmed: false, road: Road::Long });
        Ok(self.timed(&self.counted.long, sent).await?)
    }

    /// Call a script by its EVALSHA; a server that does not know it is sent the source.
    /// With `is_confirmed`, as many replicas as configured must have what it did.
    pub(super) async fn call(
        &self,
        command: &Cmd,
        source: &str,
        is_confirmed: bool,
    ) -> Result<Value, QueueError> {
        let is_confirmed = is_confirmed && self.min_replicas > 0;
        let road = Road::Short;
        let sent = async |command| self.route(Request { command, is_confirmed, road }).await;
        let timings = &self.counted.scripts;
        let reply = match self.timed(timings, sent(command)).await {
            Err(error) if recourse(&error) == Recourse::Teach => {
                // EVAL goes where EVALSHA went, by its key, and is remembered there.
                let command = &taught(command, source);
                self.timed(timings, sent(command)).await
            }
            reply => reply,
        };
        Ok(reply?)
    }

    /// How long calls took, by what was called.
    pub(super) fn timings(&self) -> Vec<(&'static str, Spread)> {
        let Counted { scripts, commands, long, .. } = &self.counted;
        vec![("script", scripts.now()), ("command", commands.now()), ("long", long.now())]
    }

    /// How many calls failed, and how many connections were opened in place of one that broke.
    pub(super) fn troubles(&self) -> (u64, u64) {
        let Counted { failures, reconnects, .. } = &self.counted;
        (failures.load(Ordering::Relaxed), reconnects.load(Ordering::Relaxed))
    }

    async fn timed(
        &self,
        timings: &Timings,
        sent: impl Future<Output = RedisResult<Value>>,
    ) -> RedisResult<Value> {
        let began = Instant::now();
        let reply = sent.await;
        timings.observe(began.elapsed());
        // A server that learns a script has not failed.
        if reply.as_ref().is_err_and(|error| recourse(error) != Recourse::Teach) {
            self.counted.failures.fetch_add(1, Ordering::Relaxed);
        }
        reply
    }

    /// Send a command that may block for `wait`. A blocked connection can do nothing else, so
    /// it is this command's own.
    pub(super) async fn block(&self, command: &Cmd, wait: Duration) -> Result<Value, QueueError> {
        let slot = slot::of_command(command).unwrap_or(0);
        let server = self.owner(slot).await?;
        let reply = async { self.dial.waiting_link(&server).await?.send(command).await };
        let reply = match tokio::time::timeout(wait + BLOCKED, reply).await {
            Ok(reply) => reply,
            Err(_) => Err(unreachable(format!("{server}: no answer to a wait"))),
        };
        if reply.is_err() {
            self.doubt(slot, &server).await;
        }
        Ok(reply?)
    }

    /// Send a command that has no key to one server.
    pub(super) async fn send_to(&self, server: &Address, command: &Cmd) -> RedisResult<Value> {
        let link = self.link(server, Road::Short).await?;
        let reply = link.send(command).await;
        if let Err(error) = &reply
            && recourse(error) == Recourse::Reconnect
        {
            self.close(server, Road::Short, &link);
        }
        reply
    }

    /// The primary of a slot.
    pub(super) async fn owner(&self, slot: u16) -> RedisResult<Address> {
        let view = self.place.view();
        if let Some(owner) = view.owner(slot) {
            return Ok(owner.clone());
        }
        self.place.ask_again(&self.dial, &view, None).await?;
        let owner = self.place.view().owner(slot).cloned();
        owner.ok_or_else(|| unreachable("no primary serves this queue's slot just now".into()))
    }

    /// Whether a server is a slot's primary as far as is known.
    pub(super) fn leads_to(&self, slot: u16, server: &Address) -> bool {
        self.place.view().owner(slot) == Some(server)
    }

    /// Something went wrong with a server: ask who the primaries are.
    pub(super) async fn doubt(&self, slot: u16, owner: &Address) {
        let view = self.place.view();
        if self.leads_to(slot, owner) {
            // The next call fails with a better reason if nobody knows.
            let _unknown = self.place.ask_again(&self.dial, &view, None).await;
        }
    }

    /// Keys or channels in lots that one server has together: all of them, or by slot.
    pub(super) fn lots<T>(&self, items: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<(u16, Vec<T>)> {
        if !self.place.is_cluster() {
            return vec![(0, items)];
        }
        let mut lots: HashMap<u16, Vec<T>> = HashMap::new();
        for item in items {
            lots.entry(slot::of_key(name(&item).as_bytes())).or_default().push(item);
        }
        lots.into_iter().collect()
    }

    async fn route(&self, request: Request<'_>) -> RedisResult<Value> {
        let slot = match self.place.is_cluster() {
            true => slot::of_command(request.command).unwrap_or(0),
            false => 0,
        };
        let mut failure = None;
        for _ in 0..MAX_HOPS {
            let owner = self.owner(slot).await?;
            let view = self.place.view();
            let link = match self.link(&owner, request.road).await {
                Ok(link) => link,
                Err(error) => {
                    self.place.ask_again(&self.dial, &view, None).await?;
                    if self.leads_to(slot, &owner) {
                        return Err(error);
                    }
                    failure = Some(error);
                    continue;
                }
            };
            let error = match self.exchange(&link, request).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match recourse(&error) {
                Recourse::Report | Recourse::Teach => return Err(error),
                Recourse::Reconnect => {
                    self.close(&owner, request.road, &link);
                    self.doubt(slot, &owner).await;
                    return Err(at(&owner, error));
                }
                Recourse::Elsewhere(node) => {
                    if node.is_none() {
                        self.close(&owner, request.road, &link);
                    }
                    if let Servers::One(_) = self.place.servers() {
                        return Err(alone(&owner, node.is_some()));
                    }
                    let hint = node.map(|(host, port)| beside(&owner, host, port));
                    self.place.ask_again(&self.dial, &view, hint).await?;
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| unreachable("no primary was found".into())))
    }

    async fn exchange(&self, link: &Link, request: Request<'_>) -> RedisResult<Value> {
        if !request.is_confirmed {
            return link.send(request.command).await;
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(request.command.clone());
        let timeout_ms = u64::try_from(self.confirm.as_millis()).unwrap_or(u64::MAX);
        pipeline.cmd("WAIT").arg(self.min_replicas).arg(timeout_ms);
        let mut replies = link.send_all(&pipeline).await?.into_iter();
        let absent = || (ErrorKind::Parse, "two answers were expected");
        let reply = replies.next().ok_or_else(absent)?.extract_error()?;
        match replies.next().ok_or_else(absent)?.extract_error()? {
            Value::Int(has) if has >= i64::from(self.min_replicas) => Ok(reply),
            _ => Err((
                ErrorKind::Client,
                "not confirmed",
                format!(
                    "stored, but fewer than {} replicas confirmed it within {:?}, so a failover \
                     may lose it; submit again with the same id",
                    self.min_replicas, self.confirm
                ),
            )
                .into()),
        }
    }

    /// The link to a server, opened if there is none or its server has hung up.
    async fn link(&self, server: &Address, road: Road) -> RedisResult<Link> {
        let cell = {
            let mut links = self.links.lock();
            let place = (server.clone(), road);
            match links.get(&place) {
                Some(cell) if cell.get().is_none_or(|link| !link.is_over()) => cell.clone(),
                _ => {
                    let cell = Arc::new(OnceCell::new());
                    links.insert(place, cell.clone());
                    cell
                }
            }
        };
        let opening = async || {
            let link = self.dial.link(server).await?;
            if !self.reached.lock().insert((server.clone(), road)) {
                self.counted.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            Ok(link)
        };
        cell.get_or_try_init(opening).await.cloned()
    }

    /// Use this link no more. Commands that others sent on it keep their own clone.
    fn close(&self, server: &Address, road: Road, link: &Link) {
        let mut links = self.links.lock();
        let place = (server.clone(), road);
        if links.get(&place).and_then(|cell| cell.get()).is_some_and(|held| held.is(link)) {
            links.remove(&place);
        }
    }
}

/// How long the server waits for replicas. Half of the time for an answer is left for the answer
/// itself: otherwise the caller would hear of a silent server and not of missing replicas.
fn confirm_within(response_timeout: Duration) -> Duration {
    // No time at all would mean for ever to the server.
    CONFIRM.min(response_timeout / 2).max(Duration::from_millis(1))
}

/// The same call with the script itself instead of its digest.
fn taught(command: &Cmd, source: &str) -> Cmd {
    let mut taught = Cmd::with_capacity(8, source.len() + 128);
    taught.arg("EVAL").arg(source);
    for argument in command.args_iter().skip(2) {
        if let Arg::Simple(bytes) = argument {
            taught.arg(bytes);
        }
    }
    taught
}

/// Why a server that is named alone cannot do it.
fn alone(server: &Address, is_redirecting: bool) -> RedisError {
    match is_redirecting {
        true => refused(format!("{server} is a node of a Cluster; write redis+cluster://")),
        false => unreachable(format!("{server} is a read-only replica; name its primary")),
    }
}

/// The node that a redirection names; without a host it is where the answer came from.
fn beside(owner: &Address, host: String, port: u16) -> Address {
    match owner {
        Address::Tcp(asked, _) if host.is_empty() => Address::Tcp(asked.clone(), port),
        _ => Address::Tcp(host, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_waited_for_half_as_long_as_an_answer_and_never_for_ever() {
        for (answer_ms, confirm_ms) in [(5_000, 1_000), (2_000, 1_000), (1_000, 500), (0, 1)] {
            let confirm = confirm_within(Duration::from_millis(answer_ms));
            assert_eq!(confirm, Duration::from_millis(confirm_ms));
        }
    }
}
