//! Carrying ends between queues.
//!
//! What must happen in another queue's slot is written into this queue's outbox by the very
//! script that made it necessary. Here the events are read, applied by scripts in the slots
//! they concern, and only then removed. Each application changes nothing when it is
//! repeated, so a carrier may die anywhere. An event is a line of text:
//!
//! - `l <parent> <child>`: the child waits for the parent (as `queue/id`)
//! - `k <id>:<time> <kind> <forget at | ->`: this queue's task ended; `told:<id>:<time>` is
//!   the set of its dependants
//! - `b <batch> <member> <kind>`: a member of the batch ended
//! - `s <place> <child> <bytes>`: a task of this queue submitted the child (as `queue/id`);
//!   `sent:<child>` is its record

mod sent;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bulkhead_core::{Outcome, Payload, QueueName, State, TaskId, TaskRef};
use redis::{Cmd, Value};

use super::{RedisBroker, ahead, inspect, script};
use crate::codec;
use crate::error::QueueError;
use crate::view::{Entry, Next, TaskView};
use sent::Sent;

/// Events carried by one call.
const EVENTS: usize = 1_000;
/// Ends told, or tasks adopted, in one call of a script, and bytes of their entries or records.
const CALL_ENDS: usize = 100;
const CALL_BYTES: usize = 512 << 10;
/// Links or members in one call of a script.
const CALL_LINKS: usize = 250;

/// Carry on what an edge started, as far as it goes: what fails stays in the outbox.
pub(super) async fn carry_on(broker: &RedisBroker, queue: &QueueName, events: bool) {
    if events && let Err(error) = deliver(broker, queue).await {
        tracing::debug!(%error, %queue, "events stay in the outbox");
    }
}

/// Carry this queue's events, and those that they cause in others.
pub(super) async fn deliver(broker: &RedisBroker, queue: &QueueName) -> Result<u64, QueueError> {
    let mut carried = 0;
    let mut waiting = BTreeSet::from([queue.clone()]);
    while let Some(queue) = waiting.pop_first() {
        if carried >= EVENTS {
            break;
        }
        let round =
            Round { broker, queue: &queue, caused: BTreeSet::new(), left: EVENTS - carried };
        let (done, caused) = round.run().await?;
        carried += done;
        if done > 0 {
            waiting.extend(caused);
        }
    }
    Ok(u64::try_from(carried).unwrap_or(u64::MAX))
}

/// How a parent ended, as a child's record shall tell it.
struct Told {
    child: TaskRef,
    parent: TaskRef,
    kind: &'static str,
    /// The same for all children of one parent.
    entry: Arc<[u8]>,
    /// What stands for the entry, if it was sent ahead.
    ahead: Option<Vec<u8>>,
}

impl Told {
    fn said(&self) -> &[u8] {
        self.ahead.as_deref().unwrap_or(&self.entry)
    }
}

/// One look into one queue's outbox.
struct Round<'a> {
    broker: &'a RedisBroker,
    queue: &'a QueueName,
    /// Queues whose outbox has events because of this round.
    caused: BTreeSet<QueueName>,
    /// Events that may still be carried.
    left: usize,
}

/// An event taken apart.
enum Event {
    Link { parent: TaskRef, child: TaskRef },
    Ended { name: String, kind: String, forget: String },
    Member { batch: (QueueName, String), member: String, kind: String },
    Sent { child: TaskRef, bytes: usize },
}

fn parse(text: &str) -> Option<Event> {
    let mut words = text.split(' ');
    let mut word = || words.next();
    match word()? {
        "l" => Some(Event::Link { parent: word()?.parse().ok()?, child: word()?.parse().ok()? }),
        "k" => Some(Event::Ended {
            name: word()?.to_owned(),
            kind: word()?.to_owned(),
            forget: word()?.to_owned(),
        }),
        "b" => {
            let (queue, id) = word()?.split_once('/')?;
            let batch = (QueueName::new(queue).ok()?, id.to_owned());
            Some(Event::Member { batch, member: word()?.to_owned(), kind: word()?.to_owned() })
        }
        "s" => {
            let _place = word()?;
            Some(Event::Sent { child: word()?.parse().ok()?, bytes: word()?.parse().ok()? })
        }
        _ => None,
    }
}

impl Round<'_> {
    async fn run(mut self) -> Result<(usize, BTreeSet<QueueName>), QueueError> {
        let outbox = format!("{}:outbox", self.broker.prefix(self.queue));
        let upto = isize::try_from(self.left).unwrap_or(isize::MAX) - 1;
        let events = script::array(self.broker.run(&Cmd::zrange(&outbox, 0, upto)).await?)?;
        let mut carried = 0;
        let (mut done, mut links, mut members) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (mut ends, mut sent) = (Vec::new(), Vec::new());
        for event in events {
            let text = script::text(event)?;
            match parse(&text) {
                // Written by no script: nobody can carry it.
                None => done.push(text),
                Some(Event::Link { parent, child }) => links.push((text, parent, child)),
                Some(Event::Member { batch: (queue, batch), member, kind }) => {
                    let of_queue: &mut Vec<_> = members.entry(queue).or_default();
                    of_queue.push((text, [batch, member, kind]));
                }
                Some(Event::Ended { name, kind, forget }) => {
                    ends.push((text, [name, kind, forget]));
                }
                Some(Event::Sent { child, bytes }) => sent.push(Sent { text, child, bytes }),
            }
        }
        done.extend(self.adopt(sent).await?);
        for (text, [name, kind, forget]) in ends {
            let (told, all) = self.tell(&name, &kind, &forget).await?;
            carried += told;
            if all {
                done.push(text);
            }
        }
        done.extend(self.link(links).await?);
        for (queue, members) in members {
            for members in members.chunks(CALL_LINKS) {
                let args = members.iter().flat_map(|(_, args)| args.iter().map(String::as_bytes));
                let args: Vec<&[u8]> = args.collect();
                let reply = self.broker.scripts.count.call(self.broker, &queue, &args).await?;
                self.note(&queue, reply)?;
                done.extend(members.iter().map(|(text, _)| text.clone()));
            }
        }
        if !done.is_empty() {
            self.broker.run(&Cmd::zrem(&outbox, &done)).await?;
        }
        Ok((carried + done.len(), self.caused))
    }

    /// Note that a script left events in a queue's outbox.
    fn note(&mut self, queue: &QueueName, reply: Value) -> Result<(), QueueError> {
        if script::integer(reply)? == 1 {
            self.caused.insert(queue.clone());
        }
        Ok(())
    }

    /// Note links in the parents' slots; the children of parents that have ended are told.
    /// Returns the events that are done with.
    async fn link(
        &mut self,
        links: Vec<(String, TaskRef, TaskRef)>,
    ) -> Result<Vec<String>, QueueError> {
        let mut by_queue: BTreeMap<QueueName, Vec<(String, TaskRef, TaskRef)>> = BTreeMap::new();
        for link in links {
            by_queue.entry(link.1.queue.clone()).or_default().push(link);
        }
        let mut done = Vec::new();
        for (queue, links) in by_queue {
            let mut links = links.as_slice();
            while !links.is_empty() {
                let (now, later) = links.split_at(links.len().min(CALL_LINKS));
                let (mut told, mut asked) = (Vec::new(), 0);
                let args: Vec<String> = now
                    .iter()
                    .flat_map(|(_, parent, child)| [parent.id.to_string(), child.to_string()])
                    .collect();
                let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
                let reply = self.broker.scripts.link.call(self.broker, &queue, &args).await?;
                for ((text, parent, child), found) in now.iter().zip(script::array(reply)?) {
                    // The answer has become long: what follows is asked for again.
                    if found == Value::Int(2) {
                        break;
                    }
                    asked += 1;
                    done.push(text.clone());
                    if found == Value::Int(1) {
                        continue;
                    }
                    let record = match found {
                        Value::BulkString(record) => Some(record),
                        Value::Int(bytes) => {
                            let bytes = u64::try_from(bytes).unwrap_or(0);
                            ahead::fetch(self.broker, &queue, parent.id, bytes).await?
                        }
                        _ => None,
                    };
                    let (state, output) =
                        record.map_or((None, None), |record| ended(parent, &record));
                    let entry = parent_entry(parent, state, output)?;
                    told.push(tell(child.clone(), parent.clone(), state, &entry));
                }
                self.resolve(told).await?;
                // The first one is always answered.
                links = if asked < now.len() { &links[asked.max(1)..] } else { later };
            }
        }
        Ok(done)
    }

    /// Tell the dependants of one end. Returns how many were told and whether these were all.
    async fn tell(
        &mut self,
        name: &str,
        kind: &str,
        forget: &str,
    ) -> Result<(usize, bool), QueueError> {
        let id = name.split(':').next().and_then(|id| id.parse::<TaskId>().ok());
        let Some(id) = id else { return Ok((0, true)) };
        let parent = TaskRef { queue: self.queue.clone(), id };
        let state = match kind {
            "c" => State::Completed,
            "d" => State::Failed,
            "e" => State::Expired,
            _ => State::Cancelled,
        };
        let key = format!("{}:told:{name}", self.broker.prefix(self.queue));
        let mut scan = redis::cmd("SRANDMEMBER");
        scan.arg(&key).arg(self.left.min(EVENTS));
        let names = script::array(self.broker.run(&scan).await?)?
            .into_iter()
            .map(script::text)
            .collect::<Result<Vec<_>, _>>()?;
        let children: Vec<TaskRef> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let mut carried = None;
        if state == State::Completed && !children.is_empty() {
            carried = self
                .look_up(self.queue, vec![id])
                .await?
                .get(&id)
                .and_then(|view| output(&view.history));
        }
        let entry = parent_entry(&parent, Some(state), carried)?;
        let told = children.into_iter();
        let told = told.map(|child| tell(child, parent.clone(), Some(state), &entry)).collect();
        self.resolve(told).await?;
        let mut args: Vec<&[u8]> = vec![name.as_bytes(), forget.as_bytes()];
        args.extend(names.iter().map(String::as_bytes));
        let reply = self.broker.scripts.told.call(self.broker, self.queue, &args).await?;
        self.left = self.left.saturating_sub(names.len()).max(1);
        Ok((names.len(), script::integer(reply)? == 0))
    }

    async fn look_up(
        &self,
        queue: &QueueName,
        ids: Vec<TaskId>,
    ) -> Result<HashMap<TaskId, TaskView>, QueueError> {
        let views = inspect::inspect(self.broker, queue, &ids).await?;
        Ok(views.into_iter().flatten().map(|view| (view.id, view)).collect())
    }

    /// Tell children, in calls bounded by number and bytes.
    async fn resolve(&mut self, told: Vec<Told>) -> Result<(), QueueError> {
        let mut by_queue: BTreeMap<QueueName, Vec<Told>> = BTreeMap::new();
        for told in told {
            by_queue.entry(told.child.queue.clone()).or_default().push(told);
        }
        for (queue, mut told) in by_queue {
            for told in &mut told {
                let (child, entry) = (told.child.id, &told.entry);
                if let Some(ahead) = ahead::send_entry(self.broker, &queue, child, entry).await? {
                    told.ahead = Some(ahead);
                }
            }
            let mut told = told.as_mut_slice();
            while !told.is_empty() {
                let (n, bytes) = fitting(told.iter().map(|told| told.said().len()));
                let (now, later) = told.split_at_mut(n);
                let unsent = self.resolve_in(&queue, now, bytes).await?;
                // What was not there is told again with all that belongs to it.
                for at in unsent {
                    let Some(told) = now.get_mut(at) else { continue };
                    told.ahead = None;
                    self.resolve_in(&queue, std::slice::from_ref(told), told.entry.len()).await?;
                }
                told = later;
            }
        }
        Ok(())
    }

    /// Tell these in one call. Returns of which nothing was there that was sent ahead.
    async fn resolve_in(
        &mut self,
        queue: &QueueName,
        told: &[Told],
        bytes: usize,
    ) -> Result<Vec<usize>, QueueError> {
        let script = &self.broker.scripts.resolve;
        let mut command =
            script.prepare(self.broker, queue, told.len() * 4, bytes + told.len() * 160);
        for told in told {
            command
                .arg(told.child.id.to_string())
                .arg(told.parent.to_string())
                .arg(told.kind)
                .arg(told.said());
        }
        let [outbox, unsent] = script::tuple::<2>(script.send(self.broker, &command).await?)?;
        self.note(queue, outbox)?;
        let unsent = script::integers(unsent)?.into_iter();
        Ok(unsent.filter_map(|at| usize::try_from(at - 1).ok()).collect())
    }
}

/// How many of these one call takes, at least one, and their bytes.
fn fitting(sizes: impl Iterator<Item = usize>) -> (usize, usize) {
    let (mut number, mut bytes) = (0, 0);
    for size in sizes.take(CALL_ENDS) {
        if number > 0 && bytes >= CALL_BYTES {
            break;
        }
        bytes += size;
        number += 1;
    }
    (number, bytes)
}

fn tell(child: TaskRef, parent: TaskRef, state: Option<State>, entry: &Arc<[u8]>) -> Told {
    let kind = state.and_then(letter).unwrap_or("u");
    Told { child, parent, kind, entry: entry.clone(), ahead: None }
}

/// A parent's end, as its children's records have it.
fn parent_entry(
    parent: &TaskRef,
    state: Option<State>,
    output: Option<Payload>,
) -> Result<Arc<[u8]>, QueueError> {
    let entry = codec::encode_made(&Entry::Parent { parent: parent.clone(), state, output })
        .map_err(|e| QueueError::Protocol(format!("cannot encode a parent's end: {e}")))?;
    Ok(entry.into())
}

/// How the task of this record ended, and its output.
fn ended(task: &TaskRef, record: &[u8]) -> (Option<State>, Option<Payload>) {
    match codec::decode(&task.queue, task.id, record) {
        Ok(record) => (Some(inspect::ended_as(&record.history)), output(&record.history)),
        // One that nobody can read is a dead letter.
        Err(_) => (Some(State::Failed), None),
    }
}

/// The letter of an end.
pub(super) fn letter(state: State) -> Option<&'static str> {
    match state {
        State::Completed => Some("c"),
        State::Failed => Some("d"),
        State::Cancelled => Some("x"),
        State::Expired => Some("e"),
        State::Scheduled | State::Blocked | State::Pending | State::Running => None,
    }
}

/// What a task's latest completion gave.
fn output(history: &[Entry]) -> Option<Payload> {
    history.iter().rev().find_map(|entry| match entry {
        Entry::Ended(Next::Completed, report) => match &report.outcome {
            Outcome::Done(output) => Some(output.clone()),
            Outcome::Failed(_) => None,
        },
        _ => None,
    })
}
