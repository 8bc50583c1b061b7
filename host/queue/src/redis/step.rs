//! The host's tick: settlements, renewals and claims in one script call.

use std::ops::Range;
use std::time::Duration;

use bulkhead_core::{QueueName, TaskId};
use redis::{Cmd, Value};

use super::submit::write_children;
use super::{RedisBroker, ahead, script, usage};
use crate::codec::{self, reckonable};
use crate::error::QueueError;
use crate::serves::{Offers, Serves};
use crate::step::{Apart, Claim, ClaimToken, End, Settlement, Step, Stepped};
use crate::view::{Next, attempts_in, parents_in};

/// Leases taken back in one step.
const RECLAIM_MAX: u32 = 100;
/// Due tasks put in line in one step.
const PROMOTE_MAX: u32 = 64;
/// Bytes of a hyphenated UUID, with which every member begins.
const ID_BYTES: usize = 36;
/// The shortest time for which a dead letter is kept.
const DEAD_MIN_MS: u64 = 1_000;
/// Settlements, renewals and reports of progress in one call of the script. A settlement counts
/// the tasks that it submits.
const CALL_MAX: usize = 250;
/// Bytes of settlements in one call of the script: outputs, logs and submitted tasks.
const CALL_BYTES: usize = 8 << 20;
/// Claims in one call of the script.
const CLAIM_MAX: u32 = 250;
/// Claims in one step.
const WANT_MAX: u32 = 1_000;

/// A step that says more than one call may hold is made in several, so that no call keeps
/// the server for long: what it settles, renews and reports goes first, then it claims for as
/// long as calls are filled. A settlement is never parted from the tasks that it submits.
pub(super) async fn step(
    broker: &RedisBroker,
    queue: &QueueName,
    step: &Step<'_>,
) -> Result<Stepped, QueueError> {
    let settle = settlements_by_call(step.settle);
    let calls = [step.renew.len(), step.progress.len()]
        .map(|length| length.div_ceil(CALL_MAX))
        .into_iter()
        .fold(settle.len().max(1), usize::max);
    let want = step.want.min(WANT_MAX);
    let mut whole = Stepped::default();
    for call in 0..calls {
        let last = call + 1 == calls;
        let settled = settle.get(call).cloned().unwrap_or(0..0);
        let part = Step {
            settle: &step.settle[settled.clone()],
            renew: part(step.renew, call),
            progress: part(step.progress, call),
            want: if last { want.min(CLAIM_MAX) } else { 0 },
            serves: if last { step.serves } else { &[] },
            reclaim: last && step.reclaim,
            ..*step
        };
        let stepped =
            take(broker, queue, &part, Called { promote: last, more: false, again: false }).await?;
        whole.stale.extend(stepped.stale.into_iter().map(|at| at + settled.start));
        whole.lost.extend(stepped.lost.into_iter().map(|at| at + call * CALL_MAX));
        whole.cancel.extend(stepped.cancel);
        whole.claims = stepped.claims;
        whole.apart = stepped.apart;
        whole.next_due = stepped.next_due;
        whole.reclaimed += stepped.reclaimed;
        whole.outbox = stepped.outbox;
    }
    let mut filled = want.min(CLAIM_MAX);
    loop {
        let taken = u32::try_from(whole.claims.len() + whole.apart.len()).unwrap_or(u32::MAX);
        let here_bytes = whole.claims.iter().map(|claim| claim.bytes).sum::<u64>();
        let claimed_bytes = here_bytes + whole.apart.iter().map(|apart| apart.bytes).sum::<u64>();
        let claim_bytes = step.claim_bytes.saturating_sub(claimed_bytes);
        if taken < filled || filled >= want || claim_bytes == 0 {
            return Ok(whole);
        }
        let more = (want - filled).min(CLAIM_MAX);
        let part = Step {
            settle: &[],
            renew: &[],
            progress: &[],
            want: more,
            claim_bytes,
            reclaim: false,
            ..*step
        };
        // The claims so far stand, whatever becomes of this call.
        let called = Called { promote: false, more: true, again: false };
        let stepped = match take(broker, queue, &part, called).await {
            Ok(stepped) => stepped,
            Err(error) => {
                tracing::debug!(%error, %queue, "a step claimed less than it might have");
                return Ok(whole);
            }
        };
        whole.claims.extend(stepped.claims);
        whole.apart.extend(stepped.apart);
        whole.next_due = stepped.next_due;
        whole.outbox |= stepped.outbox;
        filled += more;
    }
}

/// Which settlements each call makes.
fn settlements_by_call(settle: &[Settlement]) -> Vec<Range<usize>> {
    let mut calls: Vec<Range<usize>> = Vec::new();
    let (mut weight, mut bytes) = (0, 0);
    for (at, settlement) in settle.iter().enumerate() {
        let own_bytes = usize::try_from(settlement.bytes()).unwrap_or(usize::MAX);
        weight += settlement.weight();
        bytes = own_bytes.saturating_add(bytes);
        match calls.last_mut() {
            Some(call) if weight <= CALL_MAX && bytes <= CALL_BYTES => call.end = at + 1,
            _ => {
                (weight, bytes) = (settlement.weight(), own_bytes);
                calls.push(at..at + 1);
            }
        }
    }
    calls
}

fn part<T>(all: &[T], call: usize) -> &[T] {
    let from = (call * CALL_MAX).min(all.len());
    &all[from..(from + CALL_MAX).min(all.len())]
}

/// What a call of the script is within its step.
struct Called {
    /// Whether it puts due tasks in line.
    promote: bool,
    /// Whether tasks were claimed by a call before it.
    more: bool,
    /// Whether its settlements were in a call before it, which metered them.
    again: bool,
}

async fn take(
    broker: &RedisBroker,
    queue: &QueueName,
    step: &Step<'_>,
    called: Called,
) -> Result<Stepped, QueueError> {
    let offers = Offers::of(step.serves);
    let args = 11 + step.serves.len().min(Serves::MAX) + step.renew.len() + step.settle.len() * 3;
    let size = 256 + step.renew.len() * 96 + step.settle.len() * 380;
    let mut command = broker.scripts.step.prepare(broker, queue, args, size);
    command
        .arg(step.want.min(1_000))
        .arg(reckonable(u64::try_from(step.lease.as_millis()).unwrap_or(u64::MAX)))
        .arg(step.host)
        .arg(if step.reclaim { RECLAIM_MAX } else { 0 })
        .arg(if called.promote { PROMOTE_MAX } else { 0 })
        .arg(reckonable(step.dead_retention_ms.max(1)))
        .arg(offers.types.len());
    for task_type in &offers.types {
        command.arg(task_type.as_str());
    }
    command.arg(offers.narrow.len());
    for (task_type, tenants) in &offers.narrow {
        command.arg(task_type.as_str()).arg(tenants.len());
        for tenant in tenants {
            command.arg(tenant.as_str());
        }
    }
    command.arg(step.renew.len());
    for token in step.renew {
        command.arg(&token.0);
    }
    command.arg(step.settle.len());
    for run in step.settle.chunk_by(|one, next| head(&one.end) == head(&next.end)) {
        let Some((kind, ttl_ms)) = run.first().map(|settlement| head(&settlement.end)) else {
            continue;
        };
        command.arg(kind).arg(ttl_ms).arg(run.len());
        for settlement in run {
            write_settlement(&mut command, broker, queue, settlement)?;
        }
    }
    command.arg(step.progress.len());
    for (token, progress) in step.progress {
        let bytes = rmp_serde::to_vec(progress)
            .map_err(|e| QueueError::Refused(format!("cannot encode progress: {e}")))?;
        command.arg(&token.0).arg(bytes);
    }
    usage::write(&mut command, if called.again { &[] } else { step.settle });
    command.arg(reckonable(step.claim_bytes)).arg(u8::from(called.more));
    let reply = broker.scripts.step.send(broker, &command).await?;
    let Reply { mut stepped, places, unsent } = read_reply(queue, reply)?;
    broker.drafts.forget(step.settle);
    for at in unsent {
        let Some(settlement) = step.settle.get(at) else { continue };
        let part = Step {
            settle: std::slice::from_ref(settlement),
            renew: &[],
            progress: &[],
            want: 0,
            serves: &[],
            reclaim: false,
            ..*step
        };
        // Nothing of it is ahead now, so this does not come here again.
        let called = Called { promote: false, more: false, again: true };
        let settled = Box::pin(take(broker, queue, &part, called)).await?;
        stepped.stale.extend(settled.stale.iter().map(|_| at));
        stepped.outbox |= settled.outbox;
    }
    if !step.apart {
        bring(broker, queue, &mut stepped, &places).await;
    }
    Ok(stepped)
}

/// Fetch the records that were left apart, and put their claims in their places. What cannot
/// be had now is left to its lease.
async fn bring(broker: &RedisBroker, queue: &QueueName, stepped: &mut Stepped, places: &[usize]) {
    let apart = std::mem::take(&mut stepped.apart);
    // From the last one on, so that the places of those before it stay.
    for (apart, place) in apart.iter().zip(places).rev() {
        match fetch(broker, queue, apart).await {
            Ok(Some(claim)) => stepped.claims.insert((*place).min(stepped.claims.len()), claim),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, %queue, task = %apart.id, "cannot be fetched"),
        }
    }
}

/// The claim of a record that was left apart.
pub(super) async fn fetch(
    broker: &RedisBroker,
    queue: &QueueName,
    apart: &Apart,
) -> Result<Option<Claim>, QueueError> {
    let record = ahead::fetch(broker, queue, apart.id, apart.bytes).await?;
    Ok(record
        .map(|record| claim_of(queue, apart.token.clone(), apart.id, &record, apart.cancelled)))
}

/// What a run of settlements has in common: their kind, and how long their tasks are kept.
fn head(end: &End) -> (&'static str, u64) {
    let (kind, ttl_ms) = match end {
        End::Complete { retention_ms, children, .. } if children.is_empty() => ("c", *retention_ms),
        End::Complete { retention_ms, .. } => ("s", *retention_ms),
        End::Cancel { retention_ms, .. } => ("x", *retention_ms),
        End::DeadLetter { retention_ms, .. } => ("d", (*retention_ms).max(DEAD_MIN_MS)),
        End::Retry { retention_ms, .. } => ("r", *retention_ms),
        End::Return { retention_ms, .. } => ("b", *retention_ms),
        End::Unreadable { retention_ms, .. } => ("u", (*retention_ms).max(DEAD_MIN_MS)),
    };
    (kind, reckonable(ttl_ms))
}

fn write_settlement(
    command: &mut Cmd,
    broker: &RedisBroker,
    queue: &QueueName,
    settlement: &Settlement,
) -> Result<(), QueueError> {
    let refused =
        |e: rmp_serde::encode::Error| QueueError::Refused(format!("cannot encode a report: {e}"));
    let draft = broker.drafts.of(&settlement.token);
    let entry = |next, report: &_| match draft.as_ref().and_then(|draft| draft.entry.clone()) {
        Some(ahead) => Ok(ahead),
        None => codec::encode_entry(next, report).map_err(refused),
    };
    command.arg(&settlement.token.0);
    match &settlement.end {
        End::Complete { report, children, .. } => {
            command.arg(entry(Next::Completed, report)?);
            if !children.is_empty() {
                let ahead = draft.as_ref().map_or(&[][..], |draft| &draft.children);
                write_children(command, queue, children, ahead)?;
            }
            command
        }
        End::Cancel { report, .. } => command.arg(entry(Next::Cancelled, report)?),
        End::DeadLetter { report, .. } => command.arg(entry(Next::DeadLetter, report)?),
        End::Retry { report, delay_ms, .. } => {
            command.arg(entry(Next::Retry, report)?).arg(reckonable(*delay_ms))
        }
        End::Return { task_type, tenant, priority, .. } => {
            command.arg(task_type.as_str()).arg(tenant.as_str()).arg(priority.level())
        }
        End::Unreadable { task, report, .. } => {
            let mut record = codec::encode_task(task).map_err(refused)?;
            record.extend(codec::encode_entry(Next::DeadLetter, report).map_err(refused)?);
            command.arg(record)
        }
    };
    Ok(())
}

/// What a call of the script came to.
pub(super) struct Reply {
    stepped: Stepped,
    /// Before which of the claims each of those stands that were left apart.
    places: Vec<usize>,
    /// Indexes of settlements of which nothing was ahead.
    unsent: Vec<usize>,
}

pub(super) fn read_reply(queue: &QueueName, reply: Value) -> Result<Reply, QueueError> {
    let [stale, lost, cancel, members, records, flags, next_due, reclaimed, outbox, unsent] =
        script::tuple::<10>(reply)?;
    let from_one = |indexes: Vec<i64>| {
        indexes.into_iter().filter_map(|at| usize::try_from(at - 1).ok()).collect()
    };
    let flags = script::integers(flags)?;
    let members = script::array(members)?;
    let (mut claims, mut apart, mut places) = (Vec::with_capacity(members.len()), vec![], vec![]);
    for (at, (member, record)) in members.into_iter().zip(script::array(records)?).enumerate() {
        let Some((token, id)) = read_member(member) else { continue };
        let cancelled = flags.get(at) == Some(&1);
        if let Value::Int(bytes) = record {
            let bytes = u64::try_from(bytes).unwrap_or(0);
            apart.push(Apart { token, id, bytes, cancelled });
            places.push(claims.len());
        } else {
            claims.push(claim_of(queue, token, id, &script::bytes(record)?, cancelled));
        }
    }
    let cancel = script::array(cancel)?
        .into_iter()
        .map(|id| parse_id(&script::text(id)?))
        .collect::<Result<_, _>>()?;
    let stepped = Stepped {
        stale: from_one(script::integers(stale)?),
        lost: from_one(script::integers(lost)?),
        cancel,
        claims,
        apart,
        next_due: u64::try_from(script::integer(next_due)?).ok().map(Duration::from_millis),
        reclaimed: u64::try_from(script::integer(reclaimed)?).unwrap_or(0),
        outbox: script::integer(outbox)? == 1,
    };
    Ok(Reply { stepped, places, unsent: from_one(script::integers(unsent)?) })
}

/// A claim's token and task; nothing if somebody else's hand put an id into the line that is
/// none. Its lease runs out, and the reclaim buries it.
fn read_member(member: Value) -> Option<(ClaimToken, TaskId)> {
    let member = script::text(member).ok()?;
    let id = parse_id(member.get(..ID_BYTES)?).ok()?;
    Some((ClaimToken(member), id))
}

pub(super) fn read_claim(
    queue: &QueueName,
    member: Value,
    record: Value,
    cancelled: bool,
) -> Result<Option<Claim>, QueueError> {
    let Some((token, id)) = read_member(member) else { return Ok(None) };
    Ok(Some(claim_of(queue, token, id, &script::bytes(record)?, cancelled)))
}

fn claim_of(
    queue: &QueueName,
    token: ClaimToken,
    id: TaskId,
    record: &[u8],
    cancelled: bool,
) -> Claim {
    let (task, attempts, parents) = match codec::decode(queue, id, record) {
        Ok(record) => {
            let attempts = attempts_in(&record.history);
            let parents = parents_in(record.history, &record.task.terms.after);
            (Ok(Box::new(record.task)), attempts, parents)
        }
        Err(unreadable) => (Err(unreadable), 0, Vec::new()),
    };
    let (attempt, bytes) = (attempts.saturating_add(1), record.len() as u64);
    Claim { token, id, task, attempt, parents, cancelled, bytes }
}

pub(super) fn parse_id(text: &str) -> Result<TaskId, QueueError> {
    text.parse()
        .map_err(|_| QueueError::Protocol(format!("`{}` is no task id", text.escape_debug())))
}

/// A lease-set member's token and host; the member is `id:token:tenant:type:host`.
pub(super) fn parse_member(member: &str) -> Option<(u64, &str)> {
    let mut parts = member.get(ID_BYTES + 1..)?.splitn(4, ':');
    let token = parts.next()?.parse().ok()?;
    Some((token, parts.nth(2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_apart() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        assert_eq!(parse_member(&format!("{id}:17:acme:resize:web-1:x")), Some((17, "web-1:x")));
        assert_eq!(parse_member(id), None);
        assert_eq!(parse_member(&format!("{id}:x:acme:resize:h")), None);
    }
}
