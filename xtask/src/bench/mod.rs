//! `cargo xtask bench`: the figures that the project is held to, as medians.
//!
//! Every round measures everything once, so that what is compared was measured within
//! the same minute: absolute figures on a shared machine say little. The measuring is
//! done by two programs, criterion's for one attempt and the load benchmark for the
//! rest; this module builds them, runs them and merges what they say.

mod figure;
mod report;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::guests;
use crate::layout::Layout;
use crate::program::{cargo, run};
use crate::setup;
use figure::Selection;
use report::{Report, Sample};

/// The criterion benchmark of one attempt.
const ATTEMPT: &str = "attempt_overhead";
const MICROSECOND_NS: f64 = 1_000.0;

/// What to measure and how to show it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Measure other task queues in the same rounds and print the ratios.
    #[arg(long)]
    peers: bool,
    /// Measure only the figure of this name, or those whose names contain it.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Builds what is needed, measures and prints.
pub(crate) fn measure(layout: &Layout, options: &Options) -> Result<()> {
    let selection = Selection::new(options.only.as_deref(), options.peers)?;
    eprintln!("== set up");
    setup::install_to_measure(layout)?;
    eprintln!("== build");
    guests::build_components(layout)?;
    let programs = Programs::build(layout, &selection, options.peers)?;

    let mut report = Report::default();
    for round in 1..=options.runs {
        eprintln!("== round {round} of {}", options.runs);
        for sample in programs.round(layout, &selection)? {
            if selection.includes(&sample.bench) {
                report.add(sample);
            }
        }
    }
    selection.check(|name| report.has(name))?;
    if options.json {
        print!("{}", report.json_lines());
    } else {
        println!("\nMedians of {} rounds:", options.runs);
        print!("{}", report.table());
    }
    Ok(())
}

/// The programs that measure.
struct Programs {
    host: PathBuf,
    load: PathBuf,
    peers: Option<PathBuf>,
}

impl Programs {
    fn build(layout: &Layout, selection: &Selection, peers: bool) -> Result<Self> {
        let root = layout.root();
        if selection.needs_load() {
            let packages = ["--package", "bulkhead", "--package", "bulkhead-benches", "--bins"];
            run(&mut cargo(root, ["build", "--release"].iter().chain(&packages)))?;
        }
        if selection.needs_attempt() {
            run(&mut attempt(layout, &["--no-run"]))?;
        }
        let folder = layout.peers();
        let target = folder.join("target");
        if peers {
            let mut build = cargo(root, ["build", "--release", "--manifest-path"]);
            build.arg(folder.join("Cargo.toml")).arg("--target-dir").arg(&target);
            run(&mut build)?;
        }
        Ok(Self {
            host: layout.release_binary("bulkhead"),
            load: layout.release_binary("bulkhead-bench"),
            peers: peers.then(|| target.join("release").join("peers")),
        })
    }

    fn round(&self, layout: &Layout, selection: &Selection) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        if selection.needs_attempt() {
            samples.push(attempt_sample(layout)?);
        }
        for group in selection.load_groups() {
            samples.extend(self.load_samples(group)?);
        }
        Ok(samples)
    }

    /// One round of the load benchmark, of one group or of all.
    fn load_samples(&self, group: Option<&str>) -> Result<Vec<Sample>> {
        eprintln!("  {}", group.unwrap_or("load benchmarks"));
        let mut command = Command::new(&self.load);
        command.args(["--json", "--runs", "1", "--host"]).arg(&self.host);
        command.args(self.peers.iter().flat_map(|peers| [Path::new("--peers"), peers]));
        command.args(group.iter().flat_map(|group| ["--only", group]));
        Sample::parse(&answer("bulkhead-bench", &mut command)?)
    }
}

/// `cargo bench` of one attempt; `arguments` are cargo's own.
fn attempt(layout: &Layout, arguments: &[&str]) -> Command {
    let bench = ["bench", "--package", "bulkhead-sandbox", "--bench", "attempt"];
    let mut command = cargo(layout.root(), bench.iter().chain(arguments));
    // Results alone belong to the standard output.
    command.env("RUST_LIB_BACKTRACE", "0").stdout(io::stderr());
    command
}

fn attempt_sample(layout: &Layout) -> Result<Sample> {
    eprintln!("  {ATTEMPT}");
    let only = format!("^{ATTEMPT}$");
    let times = ["--warm-up-time", "1", "--measurement-time", "3", "--noplot"];
    let mut command = attempt(layout, &["--quiet", "--", &only]);
    answer("cargo bench", command.args(times))?;
    let file = layout.criterion_estimates(ATTEMPT);
    let estimates = fs::read_to_string(&file)
        .with_context(|| format!("criterion left no {}", layout.shown(&file)))?;
    let median_ns = median_ns(&estimates)
        .with_context(|| format!("{} holds no median", layout.shown(&file)))?;
    Ok(Sample { bench: ATTEMPT.into(), value: median_ns / MICROSECOND_NS, unit: "µs".into() })
}

/// The median in criterion's `estimates.json`.
fn median_ns(estimates: &str) -> Result<f64> {
    #[derive(Deserialize)]
    struct Estimates {
        median: Estimate,
    }
    #[derive(Deserialize)]
    struct Estimate {
        point_estimate: f64,
    }
    Ok(serde_json::from_str::<Estimates>(estimates)?.median.point_estimate)
}

/// What a measuring program prints; its complaints only if it fails.
fn answer(name: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot start `{name}`"))?;
    ensure!(
        output.status.success(),
        "`{name}` ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criterions_median_is_read() {
        let estimates = r#"{
            "mean": {"point_estimate": 1.0, "standard_error": 0.1},
            "median": {"point_estimate": 11234.5, "standard_error": 0.1}
        }"#;
        assert_eq!(median_ns(estimates).unwrap().to_string(), "11234.5");
        assert!(median_ns("{}").is_err());
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let shell = |script: &str| answer("it", Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo 1; echo noise >&2").unwrap(), "1\n");
        let error = shell("echo why >&2; exit 2").unwrap_err().to_string();
        assert_eq!(error, "`it` ended with exit status: 2:\nwhy");
    }
}
