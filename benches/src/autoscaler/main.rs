//! The autoscaler on a simulated load, drawn: `cargo xtask figure` writes
//! `docs/images/autoscaler.svg`. The same policy gives the same picture, byte by byte, and a
//! test holds the one in the documents against it.

#![allow(clippy::print_stdout, reason = "a command-line program talks on the terminal")]

mod plant;
mod plot;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

/// Draw a simulated run of the autoscaler.
#[derive(Debug, Parser)]
struct Arguments {
    /// The file that it goes to; without one every change is printed.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

fn main() -> Result<()> {
    let moments = plant::run(plant::policy(), &plant::PHASES);
    let Some(file) = Arguments::parse().into else {
        for moment in moments.iter().filter(|moment| moment.verdict.is_change()) {
            let phase = plant::PHASES.get(moment.phase).map_or("", |phase| phase.name);
            println!("{:>5} s  {phase}: {}", moment.at_ms / 1_000, moment.verdict);
        }
        return Ok(());
    };
    let picture = plot::draw(&moments, &plant::PHASES);
    std::fs::write(&file, picture).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{Direction, Reason, Signal};

    use super::*;
    use plant::{CPUS, Moment, PHASES};

    fn run() -> Vec<Moment> {
        plant::run(plant::policy(), &PHASES)
    }

    /// The moments of the last phase of this name.
    fn phase<'a>(moments: &'a [Moment], name: &str) -> Vec<&'a Moment> {
        let number = PHASES.iter().rposition(|phase| phase.name == name).unwrap();
        moments.iter().filter(|moment| moment.phase == number).collect()
    }

    fn changes<'a>(moments: &[&'a Moment]) -> Vec<&'a Moment> {
        moments.iter().filter(|moment| moment.verdict.is_change()).copied().collect()
    }

    fn ends_at(moments: &[&Moment]) -> u32 {
        moments.last().unwrap().verdict.to
    }

    #[test]
    fn the_picture_in_the_documents_is_this_run() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/images/autoscaler.svg");
        let shown = std::fs::read_to_string(path).unwrap();
        assert!(shown == plot::draw(&run(), &PHASES), "run `cargo xtask figure`");
    }

    #[test]
    fn a_burst_and_a_ramp_are_served() {
        let moments = run();
        for name in ["burst", "ramp"] {
            let phase = phase(&moments, name);
            assert!(phase.last().unwrap().backlog < 100.0, "{name}");
            let reasons: Vec<Reason> = changes(&phase).iter().map(|m| m.verdict.reason).collect();
            assert!(reasons.iter().all(|r| matches!(r, Reason::Backlog | Reason::Late)), "{name}");
            assert!(!reasons.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_waits_gets_slots_and_what_computes_gets_the_cpus() {
        let moments = run();
        // 60 tasks a second of 0.7 s each.
        assert!(ends_at(&phase(&moments, "slow upstream")) >= 42);
        let computes = phase(&moments, "CPU-bound");
        assert!(ends_at(&computes) <= CPUS + 2, "{}", ends_at(&computes));
        let signals = changes(&computes);
        assert!(signals.iter().any(|m| m.verdict.reason.signal() == Signal::TaskCost));
    }

    #[test]
    fn it_backs_off_from_an_upstream_that_fails_and_from_full_memory() {
        let moments = run();
        let overloaded = phase(&moments, "overloaded upstream");
        assert!(changes(&overloaded).iter().any(|m| m.verdict.reason == Reason::Failing));
        // Twice what it serves is where half of it fails.
        assert!(ends_at(&overloaded) <= 24);
        let memory = phase(&moments, "memory");
        // 0.4 and 0.03 for each attempt.
        assert!((10..=18).contains(&ends_at(&memory)), "{}", ends_at(&memory));
    }

    #[test]
    fn it_rests_at_the_least_and_each_phase_turns_it_round_at_most_twice() {
        let moments = run();
        assert_eq!(ends_at(&phase(&moments, "idle")), plant::policy().min);
        for (number, played) in PHASES.iter().enumerate() {
            let phase: Vec<&Moment> = moments.iter().filter(|m| m.phase == number).collect();
            let ways: Vec<Direction> =
                changes(&phase).iter().map(|m| m.verdict.direction).collect();
            let turns = ways.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(turns <= 2, "{}: {ways:?}", played.name);
        }
    }
}
