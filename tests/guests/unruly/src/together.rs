//! Handlers that take several tasks at a time, and one that reads what others left.

use std::time::Duration;

use bulkhead_guest::prelude::*;

use crate::number;

/// Does what each payload says: `fail`, `flaky` (fails retryably the first time), `panic`, `spin`, `short` (one result too few for
/// all), `bytes N`, `sleep MS`, `wait` (until it is cancelled), `log X`, `parents`; of any
/// other text it says which of how many it was.
#[handler(batch = 16, memory = "32 MiB")]
pub(crate) fn together(commands: Vec<String>, tasks: &[Task]) -> Vec<Result<String, Failure>> {
    log::info!(tasks = tasks.len(); "together");
    let number = commands.len();
    let mut results = Vec::with_capacity(number);
    for (at, (command, task)) in commands.iter().zip(tasks).enumerate() {
        task.focus();
        progress(1.0, command);
        results.push(obey(command, task).map(|said| match said {
            Some(said) => said,
            None => format!("{command}: {} of {number}", at + 1),
        }));
    }
    if commands.iter().any(|command| command == "short") {
        results.pop();
    }
    results
}

fn obey(command: &str, task: &Task) -> Result<Option<String>, Failure> {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    match verb {
        "fail" => return Err(Failure::permanent("as it was told").details(task.attempt)),
        "flaky" if task.attempt == 1 => return Err(Failure::retry("not the first time")),
        "spin" => loop {
            std::hint::black_box(&task);
        },
        "bytes" => return Ok(Some("x".repeat(number(rest)?))),
        "sleep" => std::thread::sleep(Duration::from_millis(number(rest)?)),
        "wait" => {
            while !context::cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        "log" => log::info!("{rest}"),
        "parents" => return Ok(Some(task.parents().len().to_string())),
        #[allow(clippy::panic, reason = "what this handler is for")]
        "panic" => panic!("as it was told"),
        _ => {}
    }
    Ok(None)
}

/// A parent as the handler sees it.
#[derive(Serialize)]
pub(crate) struct Seen {
    queue: String,
    id: String,
    state: String,
    content_type: Option<String>,
    output: Option<String>,
}

/// Returns what it sees of the tasks that it waited for.
#[handler]
pub(crate) fn parents(_: Payload, task: &Task) -> Vec<Seen> {
    let seen = task.parents().map(|parent| Seen {
        queue: parent.queue,
        id: parent.id,
        state: format!("{:?}", parent.state),
        content_type: parent.payload.as_ref().map(|output| output.content_type.clone()),
        output: parent.payload.map(|output| String::from_utf8_lossy(&output.data).into_owned()),
    });
    seen.collect()
}
