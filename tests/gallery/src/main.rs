//! `bulkhead-attack`: do everything in the gallery to a real host and write one table.
//! `cargo xtask attack` builds what it needs and calls it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks on the terminal"
)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bulkhead_gallery::{BEHAVIOURS, Rig, flooded, measure, replace_between_markers, rows};
use clap::Parser;

/// A flood goes on for so many times the time of an attack.
const FLOOD_TIMES: u32 = 5;

/// Attack a host with every guest of the gallery.
#[derive(Debug, Parser)]
struct Arguments {
    /// The `bulkhead` binary.
    #[arg(long)]
    host: PathBuf,
    /// The folder of compiled guests.
    #[arg(long)]
    guests: PathBuf,
    /// Only attacks whose name contains this; `flood` for the floods alone.
    #[arg(long)]
    only: Option<String>,
    /// For how long each attack is repeated, in milliseconds.
    #[arg(long, default_value_t = 1_000)]
    time_ms: u64,
    /// A document into which the table goes, between its markers.
    #[arg(long)]
    into: Option<PathBuf>,
    /// A line above the table: when, where and by which command it was measured.
    #[arg(long, default_value = "")]
    heading: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    let rig = Rig::start(&arguments.host, &arguments.guests).await?;
    let time = Duration::from_millis(arguments.time_ms);
    let quiet = measure(&rig, None, time).await?;
    let only = arguments.only.as_deref().unwrap_or_default();
    let mut all = Vec::new();
    let wanted = BEHAVIOURS.iter().copied().flatten().filter(|it| it.name.contains(only));
    for behaviour in wanted {
        let measured = measure(&rig, Some(behaviour), time)
            .await
            .with_context(|| format!("attack `{}`", behaviour.name))?;
        let wrong = measured.seen.wrong.as_deref().unwrap_or("as promised");
        eprintln!("{}: {} ({wrong:?})", behaviour.name, measured.seen.outcome);
        all.push((behaviour, measured));
    }
    let mut table = format!("{}\n\n{}", arguments.heading, rows(&quiet, &all));
    if only.is_empty() || only == "flood" {
        table.push('\n');
        table.push_str(&flooded(&rig, time * FLOOD_TIMES).await.context("a flood")?);
    }
    match &arguments.into {
        Some(path) => {
            let document = fs::read_to_string(path)?;
            fs::write(path, replace_between_markers(&document, table.trim_start())?)?;
        }
        None => println!("{}", table.trim_start()),
    }
    let broken = all.iter().filter(|(_, measured)| measured.seen.wrong.is_some()).count();
    ensure!(broken == 0, "{broken} of {} attacks did not end as promised", all.len());
    Ok(())
}
