//! Three tasks that a limit stops: one by fuel, one by memory, one by time.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::document::Task;
use super::stage::Stage;
use crate::figures::{bytes, count, harmless, micros};

const QUEUE: &str = "limits";
const FRAMES_SHOWN: usize = 2;

/// A task that must be stopped.
struct Offence {
    /// What it does.
    title: &'static str,
    line: Value,
    /// The kind of failure that it must come to.
    stopped_as: &'static str,
}

fn offences() -> [Offence; 3] {
    [
        Offence {
            title: "fuel: `markdown` gets 50,000 nested elements, which take quadratic time",
            line: json!({
                "type": "markdown", "payload": "<div>".repeat(50_000),
                "limits": {"fuel": 500_000_000},
            }),
            stopped_as: "out_of_fuel",
        },
        Offence {
            title: "memory: `alloc` fills 512 MiB where a host allows 128",
            line: json!({"type": "alloc", "payload": (512_u64 << 20).to_string()}),
            stopped_as: "out_of_memory",
        },
        Offence {
            title: "time: `spin` loops for ever, with 300 ms to live",
            line: json!({
                "type": "spin", "payload": "", "max_attempts": 1, "limits": {"wall": "300ms"},
            }),
            stopped_as: "timed_out",
        },
    ]
}

/// Submits the three and shows how each ended.
pub(super) fn show(stage: &Stage) -> Result<()> {
    let offences = offences();
    let lines: Vec<_> = offences.iter().map(|offence| offence.line.clone()).collect();
    let mut batch = stage.console.submit(QUEUE, &lines, None)?;
    let tasks = stage.follow(QUEUE, &mut batch, lines.len())?;
    for (offence, task) in offences.iter().zip(&tasks) {
        print!("{}", described(offence.title, task));
    }
    for (offence, task) in offences.iter().zip(&tasks) {
        judge(offence.stopped_as, task)?;
    }
    Ok(())
}

fn judge(stopped_as: &str, task: &Task) -> Result<()> {
    let kind = task.failure.as_ref().map(|failure| failure.kind.as_str());
    ensure!(
        task.state == "failed" && kind == Some(stopped_as),
        "a `{}` task should be stopped as {stopped_as}, but it is {}: {}",
        task.task_type,
        task.state,
        harmless(&task.reason())
    );
    Ok(())
}

fn described(title: &str, task: &Task) -> String {
    let mut text = format!("  {title}\n    {}: {}\n", task.state, harmless(&task.reason()));
    if let Some((_, used)) = task.last_attempt() {
        text.push_str(&format!(
            "    used {} wall, {} fuel, {} memory\n",
            micros(used.wall_us),
            count(used.fuel),
            bytes(used.peak_memory_bytes)
        ));
    }
    let frames = task.failure.iter().flat_map(|failure| &failure.backtrace).take(FRAMES_SHOWN);
    for frame in frames {
        text.push_str(&format!("    at {}\n", harmless(frame)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(state: &str, kind: &str) -> Task {
        serde_json::from_value(json!({
            "id": "1", "type": "spin", "state": state, "attempts": 1,
            "failure": {"kind": kind, "message": "too\u{1b}long", "backtrace": ["a", "b", "c"]},
            "history": [{"digest": "d", "metering":
                {"fuel": 1_000, "peak_memory_bytes": 2_048, "wall_us": 300_000}}],
        }))
        .unwrap()
    }

    #[test]
    fn every_limit_is_broken_once() {
        let kinds = offences().map(|offence| offence.stopped_as);
        assert_eq!(kinds, ["out_of_fuel", "out_of_memory", "timed_out"]);
    }

    #[test]
    fn only_the_right_end_passes() {
        judge("timed_out", &task("failed", "timed_out")).unwrap();
        let error = judge("timed_out", &task("failed", "trapped")).unwrap_err().to_string();
        assert!(error.contains("stopped as timed_out") && error.contains("trapped: "), "{error}");
        assert!(judge("timed_out", &task("cancelled", "timed_out")).is_err());
    }

    #[test]
    fn the_reason_is_shown_with_what_was_used_and_where() {
        assert_eq!(
            described("time", &task("failed", "timed_out")),
            "  time\n    failed: timed_out: too\\u{1b}long\n    \
             used 300 ms wall, 1.0 k fuel, 2.0 KiB memory\n    at a\n    at b\n"
        );
    }
}
