//! What a behaviour costs others: it is repeated for a while, several at a time, beside a
//! neighbour whose tasks come at a steady pace.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bulkhead_core::{Outcome, TaskId};

use crate::{Behaviour, Rig, Seen};

/// Tasks of the attacker that are submitted together.
const AT_ONCE: usize = 4;

/// Between two tasks of the neighbour.
const PACE: Duration = Duration::from_millis(5);

/// Between two looks at the host's memory.
const LOOK: Duration = Duration::from_millis(10);

/// What was measured of a behaviour.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What came of it, and when; the longest of all times that it was done.
    pub seen: Seen,
    /// How far the host's resident memory rose above where it stood before.
    pub growth_bytes: u64,
    /// What the neighbour waited meanwhile.
    pub waits: Waits,
}

/// From the neighbour's submissions to its handler's first statement.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// Half of all waited no longer.
    pub p50: Duration,
    /// 99 of 100 waited no longer.
    pub p99: Duration,
}

/// Repeat a behaviour for about `time`; without one, measure the neighbour alone.
pub async fn measure(rig: &Rig, behaviour: Option<&Behaviour>, time: Duration) -> Result<Measured> {
    let before = rig.resident_bytes()?;
    let until = Instant::now() + time;
    let done = Cell::new(false);
    let attack = async {
        let seen = match behaviour {
            Some(behaviour) => repeat(rig, behaviour, until).await,
            None => {
                tokio::time::sleep(time).await;
                let outcome = String::new();
                Ok(Seen { outcome, stopped_after: Duration::ZERO, wrong: None })
            }
        };
        done.set(true);
        seen
    };
    let memory = async {
        let mut most = before;
        while !done.get() {
            most = most.max(rig.resident_bytes()?);
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(most)
    };
    let (seen, waits, most) = tokio::join!(attack, neighbour(rig, &done), memory);
    let growth_bytes = most?.saturating_sub(before);
    Ok(Measured { seen: seen?, growth_bytes, waits: waits? })
}

/// Submit the neighbour's tasks until it is done, and see how long each waited.
pub(crate) async fn neighbour(rig: &Rig, done: &Cell<bool>) -> Result<Waits> {
    let mut submitted = Vec::new();
    let mut ticks = tokio::time::interval(PACE);
    while !done.get() {
        ticks.tick().await;
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?;
        submitted.push((rig.submit_as("neighbour", "clock", "").await?, at));
    }
    let mut waits = Vec::new();
    for (id, at) in submitted {
        waits.push(began(rig, id).await?.saturating_sub(at));
    }
    waits.sort();
    let share = |percent: usize| {
        waits.get(waits.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    };
    Ok(Waits { p50: share(50), p99: share(99) })
}

async fn repeat(rig: &Rig, behaviour: &Behaviour, until: Instant) -> Result<Seen> {
    let mut all = rig.attack(behaviour).await?;
    while Instant::now() < until {
        let rounds = if behaviour.is_refused() { 1 } else { AT_ONCE };
        let mut ids = Vec::new();
        for _ in 1..rounds {
            ids.push(rig.submit(behaviour).await?);
        }
        let seen = rig.attack(behaviour).await?;
        for id in ids {
            rig.ended(id).await?;
        }
        all.stopped_after = all.stopped_after.max(seen.stopped_after);
        all.wrong = all.wrong.or(seen.wrong);
    }
    Ok(all)
}

/// When a neighbour's handler began, by its own clock.
async fn began(rig: &Rig, id: TaskId) -> Result<Duration> {
    let view = rig.ended(id).await?;
    let report = view.last_report().with_context(|| format!("a report of {view:?}"))?;
    let Outcome::Done(output) = &report.outcome else {
        anyhow::bail!("the neighbour failed: {:?}", report.outcome)
    };
    Ok(Duration::from_nanos(std::str::from_utf8(&output.data)?.parse()?))
}
