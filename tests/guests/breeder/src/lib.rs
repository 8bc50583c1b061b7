//! Handlers that submit tasks, as they are told. Nothing here is an example to follow.

use bulkhead_guest::enqueue::Child;
use bulkhead_guest::prelude::*;

plugin!(bear, multiply, bear_together);

/// Follows commands, one a line; its output has one line for each child.
#[handler]
fn bear(commands: String, task: &Task) -> Result<String, Failure> {
    let mut answers = Vec::new();
    for command in commands.lines() {
        let words: Vec<&str> = command.split(' ').collect();
        let child = match words[..] {
            ["child", task_type, payload] => Child::new(task_type, Payload::text(payload)),
            ["child-in", queue, task_type] => {
                Child::new(task_type, Payload::text("x")).queue(queue)
            }
            ["fail"] => return Err(Failure::permanent("as asked")),
            ["fail-once"] if task.attempt == 1 => return Err(Failure::retry("as asked")),
            ["fail-once"] => continue,
            _ => return Err(Failure::permanent(format!("no such command: {command}"))),
        };
        answers.push(told(task, child));
    }
    Ok(answers.join("\n"))
}

/// Submits two like itself, as long as it may.
#[handler]
fn multiply(_: Payload, task: &Task) -> String {
    let again = || told(task, Child::new("multiply", Payload::text("")));
    [again(), again()].join("\n")
}

/// Submits a child for each task, and fails those whose payload is `fail`.
#[handler(batch = 8)]
fn bear_together(payloads: Vec<String>, tasks: &[Task]) -> Vec<Result<String, Failure>> {
    let answer = |(payload, task): (&String, &Task)| {
        let answer = told(task, Child::new("echo", Payload::text(payload.clone())));
        if payload == "fail" { Err(Failure::permanent("as asked")) } else { Ok(answer) }
    };
    payloads.iter().zip(tasks).map(answer).collect()
}

fn told(task: &Task, child: Child) -> String {
    match task.submit(child) {
        Ok(id) => format!("ok {id}"),
        Err(error) => format!("error {error:?}"),
    }
}
