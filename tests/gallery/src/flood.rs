//! What one tenant that has far more work than it may run costs another: the pick-up of a
//! neighbour's tasks while a tenant's backlog never ends.
//!
//! The attacker may have [`IN_FLIGHT`] attempts at once; the host runs a few more. What is
//! measured is the neighbour alone, so nothing here looks at what becomes of the backlog.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use bulkhead_core::{QueueName, State};

use crate::Rig;
use crate::measure::{Waits, neighbour};
use crate::rig::IN_FLIGHT;

/// Tasks that are submitted in one call.
const AT_ONCE: usize = 50;

/// Between two files of an attacker that has files to offer.
const FILE_EVERY: Duration = Duration::from_millis(200);

/// Longest time until what is left of a flood has gone.
const EBB: Duration = Duration::from_secs(60);

/// What a tenant floods the host with.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Its name in the table.
    pub name: &'static str,
    /// In a sentence.
    pub does: &'static str,
    /// Task types, the bytes of their payload, and how many.
    tasks: &'static [(&'static str, usize, usize)],
    /// Whether tasks of [`LARGE`] come all the while, so that there always are some.
    pours: bool,
    /// Whether new plugin files come all the while.
    files: bool,
}

const SPIN: (&str, usize, usize) = ("spin", 0, 500);
const SLEEP: (&str, usize, usize) = ("sleep", 0, 500);
const SMALL: (&str, usize, usize) = ("echo", 200, 40_000);
const LARGE: (&str, usize, usize) = ("echo", 4 << 20, 60);

/// Every flood.
pub const FLOODS: &[Flood] = &[
    Flood {
        name: "endless",
        does: "500 tasks that spin until they are stopped.",
        tasks: &[SPIN],
        pours: false,
        files: false,
    },
    Flood {
        name: "idle",
        does: "500 tasks that wait until they are stopped.",
        tasks: &[SLEEP],
        pours: false,
        files: false,
    },
    Flood {
        name: "small",
        does: "40,000 small tasks.",
        tasks: &[SMALL],
        pours: false,
        files: false,
    },
    Flood {
        name: "large",
        does: "Tasks of 4 MiB that answer with as much, submitted as fast as they run.",
        tasks: &[LARGE],
        pours: true,
        files: false,
    },
    Flood {
        name: "files",
        does: "Five new plugin files a second.",
        tasks: &[],
        pours: false,
        files: true,
    },
    Flood {
        name: "all",
        does: "All of these together.",
        tasks: &[SPIN, SLEEP, SMALL, LARGE],
        pours: true,
        files: true,
    },
];

/// What the neighbour waited during each flood, beside what it waited alone.
pub async fn flooded(rig: &Rig, time: Duration) -> Result<String> {
    let mut text = String::from(
        "| Flood | What the tenant does | p50 | p99 | p99 beyond the neighbour alone |\n\
         |---|---|---:|---:|---:|\n",
    );
    let quiet = during(rig, None, time).await?;
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
    // Writing to a string does not fail.
    let _ = writeln!(text, "| – | nothing | {} | {} | |", ms(quiet.p50), ms(quiet.p99));
    for flood in FLOODS {
        let waits = during(rig, Some(flood), time).await?;
        let beyond = waits.p99.saturating_sub(quiet.p99);
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            flood.name,
            flood.does,
            ms(waits.p50),
            ms(waits.p99),
            ms(beyond),
        );
    }
    let _ = writeln!(text, "\nThe tenant may have {IN_FLIGHT} attempts at once, of 8 of the host.");
    Ok(text)
}

/// What the neighbour waits for `time`, while a tenant floods the host.
async fn during(rig: &Rig, flood: Option<&Flood>, time: Duration) -> Result<Waits> {
    for &(task_type, bytes, tasks) in flood.map_or(&[][..], |flood| flood.tasks) {
        // Those that wait, wait longer than they may.
        let payload = if task_type == "sleep" { "60000".into() } else { "x".repeat(bytes) };
        let mut left = tasks;
        while left > 0 {
            let now = left.min(if bytes > 1 << 20 { 4 } else { AT_ONCE });
            rig.submit_many("attacker", task_type, &payload, now).await?;
            left -= now;
        }
    }
    let done = Cell::new(false);
    let files = async {
        let mut files = 0_u32;
        let until = Instant::now() + time;
        while Instant::now() < until {
            if flood.is_some_and(|flood| flood.files) {
                rig.offer("flood", "hostile", files)?;
                files += 1;
            }
            tokio::time::sleep(FILE_EVERY.min(until.saturating_duration_since(Instant::now())))
                .await;
        }
        done.set(true);
        rig.withdraw("flood")
    };
    let pouring = async {
        while flood.is_some_and(|flood| flood.pours) && !done.get() {
            pour(rig).await?;
        }
        anyhow::Ok(())
    };
    let (files, poured, waits) = tokio::join!(files, pouring, neighbour(rig, &done));
    files?;
    poured?;
    ebb(rig).await?;
    waits
}

/// Submit large tasks if few are left.
async fn pour(rig: &Rig) -> Result<()> {
    let (task_type, bytes, backlog) = LARGE;
    if rig.client.broker().stats(&QueueName::default()).await?.pending >= backlog as u64 / 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        return Ok(());
    }
    rig.submit_many("attacker", task_type, &"x".repeat(bytes), 4).await?;
    Ok(())
}

/// Take away what is left of a flood, and wait for what runs of it.
async fn ebb(rig: &Rig) -> Result<()> {
    let queue = QueueName::default();
    let broker = rig.client.broker();
    let began = Instant::now();
    while broker.purge(&queue, State::Pending).await? > 0 {}
    loop {
        let stats = broker.stats(&queue).await?;
        if stats.running == 0 || began.elapsed() > EBB {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
