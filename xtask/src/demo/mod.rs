//! `cargo xtask demo`: the whole way of a task, shown on this machine.
//!
//! Files go in, handlers compiled from source process them in sandboxes, results come
//! out; a plugin is replaced under load, a task waits for another one and others for their
//! time, limits stop what breaks them, and the host stops cleanly. Every step checks what it shows, and the first that does not hold
//! ends the demo with an error. Everything is done through the real command line.

mod console;
mod document;
mod errand;
mod limits;
mod progress;
mod service;
mod stage;
mod swap;
mod waits;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::figures::{Align, bytes, count, harmless, micros, short_digest, table};
use crate::guests;
use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::program::{cargo, run};
use crate::setup;
use document::{Plugin, Task};
use errand::Errand;
use stage::{MISBEHAVING, Stage};
use waits::Waits;

/// Runs the demo; what the tasks produce goes to `out` or the target directory.
pub(crate) fn show(layout: &Layout, out: Option<PathBuf>) -> Result<()> {
    let mut steps = Steps { start: Instant::now(), number: 0, now: "start" };
    // A failed build would otherwise lend the demo its own exit code.
    play(layout, out, &mut steps).map_err(|error| {
        anyhow!("the demo stopped at step {}, `{}`: {error:#}", steps.number, steps.now)
    })
}

fn play(layout: &Layout, out: Option<PathBuf>, steps: &mut Steps) -> Result<()> {
    let interrupt = Interrupt::listen()?;

    steps.next("set up");
    setup::install_to_build(layout)?;
    interrupt.check()?;

    steps.next("build plugins and host");
    guests::build_components(layout)?;
    interrupt.check()?;
    let host = ["build", "--release", "--package", "bulkhead", "--bin", "bulkhead"];
    run(&mut cargo(layout.root(), host))?;
    let built = steps.start.elapsed();

    steps.next("start a host");
    let mut stage = Stage::start(layout, &interrupt)?;
    let result = act(layout, out, steps, &mut stage);
    let out = result.with_context(|| format!("it did not hold{}", stage.host_log()))?;

    steps.next("stop");
    stage.stop()?;
    println!("  the host ended with success, no task is left");
    conclude(layout, &out, built, steps.start.elapsed());
    Ok(())
}

/// What is shown while the host runs; the folder of what was produced.
fn act(
    layout: &Layout,
    out: Option<PathBuf>,
    steps: &mut Steps,
    stage: &mut Stage,
) -> Result<PathBuf> {
    let names = guests::plugin_names(layout)?;
    let mut expected = names.clone();
    expected.push(MISBEHAVING.to_owned());
    list(&stage.serves(&expected)?);

    steps.next("real work for every plugin");
    let out = prepare(layout, out)?;
    work(layout, stage, &names, &out)?;

    steps.next("replace a plugin while its tasks run");
    // A host sees a new schedule within some seconds, which pass during this step.
    let waits = Waits::begin(stage)?;
    swap::show(stage, layout)?;

    steps.next("tasks that wait for each other and for their time");
    waits.show()?;

    steps.next("three tasks that a limit stops");
    limits::show(stage)?;
    Ok(out)
}

fn list(plugins: &[Plugin]) {
    for plugin in plugins {
        let Some(serving) = &plugin.serving else { continue };
        println!(
            "  serves {:<12} {} {}  {}",
            harmless(&plugin.name),
            harmless(&serving.version),
            short_digest(&serving.digest),
            abridged(&serving.task_types)
        );
    }
}

/// The first task types, and how many more there are.
fn abridged(types: &[String]) -> String {
    const SHOWN: usize = 4;
    let named: Vec<_> = types.iter().take(SHOWN).map(|name| harmless(name)).collect();
    match types.len().saturating_sub(SHOWN) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The folder for what is produced, without an earlier demo's files if it is ours.
fn prepare(layout: &Layout, out: Option<PathBuf>) -> Result<PathBuf> {
    let ours = layout.demo_output();
    if out.is_none() && ours.is_dir() {
        fs::remove_dir_all(&ours).with_context(|| format!("cannot empty {}", ours.display()))?;
    }
    let out = out.unwrap_or(ours);
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    Ok(out)
}

fn work(layout: &Layout, stage: &Stage, plugins: &[String], out: &Path) -> Result<()> {
    let errands = errand::plan(layout, plugins)?;
    let lines = errands.iter().map(Errand::line).collect::<Result<Vec<_>>>()?;
    let mut batch = stage.console.submit("work", &lines, Some(&stage.outputs()))?;
    let tasks = stage.follow("work", &mut batch, lines.len())?;

    print!("{}", results(layout, &errands, &tasks));
    for (errand, task) in errands.iter().zip(&tasks) {
        ensure!(
            task.is_completed(),
            "`{}` did not finish {}: {}",
            errand.task_type,
            layout.shown(&errand.file),
            harmless(&task.reason())
        );
    }
    println!("\n  produced in {}:", layout.shown(out));
    let produced = Produced::collect(&stage.outputs())?;
    for (errand, task) in errands.iter().zip(&tasks) {
        let file = produced.keep(errand, task, out)?;
        let size = fs::metadata(&file).map(|metadata| metadata.len()).unwrap_or(0);
        println!("    {} ({})", layout.shown(&file), bytes(size));
    }
    Ok(())
}

fn results(layout: &Layout, errands: &[Errand], tasks: &[Task]) -> String {
    let header = [
        ("TYPE", Align::Left),
        ("INPUT", Align::Left),
        ("STATE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("WALL", Align::Right),
        ("FUEL", Align::Right),
        ("MEMORY", Align::Right),
        ("PLUGIN", Align::Left),
    ];
    let rows = errands.iter().zip(tasks).map(|(errand, task)| {
        let input = layout.shown(&errand.file).to_string();
        let last = task.last_attempt();
        let used = |show: &dyn Fn(document::Metering) -> String| {
            last.map_or_else(String::new, |(_, metering)| show(metering))
        };
        [
            harmless(&task.task_type),
            input.rsplit_once("samples/").map_or(input.clone(), |(_, name)| name.to_owned()),
            harmless(&task.state),
            task.attempts.to_string(),
            used(&|used| micros(used.wall_us)),
            used(&|used| count(used.fuel)),
            used(&|used| bytes(used.peak_memory_bytes)),
            last.map_or_else(String::new, |(digest, _)| short_digest(digest).to_owned()),
        ]
    });
    table(header, rows)
}

/// Output files as the command line named them: by the task's id.
struct Produced(Vec<PathBuf>);

impl Produced {
    fn collect(folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder).context("no task produced anything")?;
        let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        Ok(Self(files))
    }

    /// Copies a task's output to `out`, named after the errand.
    fn keep(&self, errand: &Errand, task: &Task, out: &Path) -> Result<PathBuf> {
        let is_its =
            |file: &&PathBuf| file.file_stem().is_some_and(|stem| stem == task.id.as_str());
        let file = self.0.iter().find(is_its).with_context(|| {
            format!("`{}` produced nothing from {}", errand.task_type, errand.file.display())
        })?;
        let folder = out.join(&errand.task_type);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let extension = file.extension().unwrap_or_default().to_string_lossy();
        let kept = folder.join(format!("{}.{extension}", errand.name));
        stage::copy(file, &kept)?;
        Ok(kept)
    }
}

fn conclude(layout: &Layout, out: &Path, built: Duration, total: Duration) {
    let shown = total.saturating_sub(built);
    println!(
        "\nEverything held: built in {:.0} s, shown in {:.0} s.",
        built.as_secs_f64(),
        shown.as_secs_f64()
    );
    println!("Results: {}", layout.shown(out));
    println!(
        "Next, in two terminals:\n  \
         {host} run --broker embedded:data --plugins {plugins}\n  \
         {host} submit --broker embedded:data markdown \
         --file plugins/markdown/samples/field-notes.md --wait",
        host = layout.shown(&layout.release_binary("bulkhead")),
        plugins = layout.shown(&layout.plugins()),
    );
}

/// Headings with a number and the time since the start.
struct Steps {
    start: Instant,
    number: usize,
    now: &'static str,
}

impl Steps {
    fn next(&mut self, title: &'static str) {
        self.number += 1;
        self.now = title;
        println!("\n== {}. {title} [{:.0} s]", self.number, self.start.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(id: &str, state: &str) -> Task {
        serde_json::from_value(json!({
            "id": id, "type": "markdown", "state": state, "attempts": 2,
            "history": [{"digest": "0123456789abcdef", "metering":
                {"fuel": 2_500_000, "peak_memory_bytes": 1_572_864, "wall_us": 4_200}}],
        }))
        .unwrap()
    }

    fn errand() -> Errand {
        let layout = Layout::new(None);
        let plan = errand::plan(&layout, &["markdown".to_owned()]).unwrap();
        plan.into_iter().next().unwrap()
    }

    #[test]
    fn results_show_what_each_task_came_to_and_used() {
        let shown = results(&Layout::new(None), &[errand()], &[task("1", "completed")]);
        let lines: Vec<Vec<_>> = shown
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
            .collect();
        assert_eq!(
            lines[0],
            ["TYPE", "INPUT", "STATE", "ATTEMPTS", "WALL", "FUEL", "MEMORY", "PLUGIN"]
        );
        assert_eq!(
            lines[1],
            [
                "markdown",
                "field-notes.md",
                "completed",
                "2",
                "4.2 ms",
                "2.5 M",
                "1.5 MiB",
                "0123456789ab"
            ]
        );
    }

    #[test]
    fn outputs_are_named_after_their_input() {
        let folder = tempfile::tempdir().unwrap();
        let (outputs, out) = (folder.path().join("outputs"), folder.path().join("out"));
        fs::create_dir(&outputs).unwrap();
        fs::write(outputs.join("7.html"), "<p>").unwrap();
        let produced = Produced::collect(&outputs).unwrap();
        let kept = produced.keep(&errand(), &task("7", "completed"), &out).unwrap();
        assert_eq!(kept, out.join("markdown").join("field-notes.html"));
        assert_eq!(fs::read_to_string(kept).unwrap(), "<p>");
        let error = produced.keep(&errand(), &task("8", "completed"), &out).unwrap_err();
        assert!(error.to_string().contains("produced nothing"), "{error}");
    }

    #[test]
    fn only_the_demos_own_folder_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(Some(folder.path().into()));
        let ours = layout.demo_output();
        let theirs = folder.path().join("theirs");
        for out in [&ours, &theirs] {
            fs::create_dir_all(out).unwrap();
            fs::write(out.join("old"), "").unwrap();
        }
        assert_eq!(prepare(&layout, None).unwrap(), ours);
        assert!(!ours.join("old").exists());
        assert_eq!(prepare(&layout, Some(theirs.clone())).unwrap(), theirs);
        assert!(theirs.join("old").exists());
    }

    #[test]
    fn many_task_types_are_abridged() {
        let types = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(abridged(&types(2)), "0, 1");
        assert_eq!(abridged(&types(6)), "0, 1, 2, 3 and 2 more");
    }
}
