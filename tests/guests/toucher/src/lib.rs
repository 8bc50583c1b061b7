//! A handler that touches whatever it is told to: every capability by commands in its payload,
//! one a line, so that every quota can be obeyed and violated on real guest code. Its output has
//! one line for each command. Nothing here is an example to follow.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant, SystemTime};

use bulkhead_guest::enqueue::Child;
use bulkhead_guest::prelude::*;
use bulkhead_guest::{config, enqueue, kv, secrets};

plugin!(touch, touch_together);

/// Follows commands, one a line.
#[handler]
fn touch(commands: String, task: &Task) -> Result<String, Failure> {
    let answers: Result<Vec<String>, Failure> =
        commands.lines().map(|command| follow(command, task)).collect();
    Ok(answers?.join("\n"))
}

/// Submits a child for each task, without focus if its payload says so.
#[handler(batch = 8)]
fn touch_together(commands: Vec<String>, tasks: &[Task]) -> Vec<Result<String, Failure>> {
    let answer = |(command, task): (&String, &Task)| {
        let (how, task_type) = command.split_once(' ').or_reject("two words")?;
        let child = || Child::new(task_type, Payload::text(task.id.clone()));
        match how {
            "focus" => Ok(told(task.submit(child()))),
            "nobody" => Ok(told(enqueue::submit(child()))),
            "fail" => {
                task.submit(child())?;
                Err(Failure::permanent("as asked"))
            }
            other => Err(Failure::permanent(format!("no such way: {other}"))),
        }
    };
    commands.iter().zip(tasks).map(answer).collect()
}

fn told<T: ToString, E: std::fmt::Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("ok {}", value.to_string()),
        Err(error) => format!("error {error:?}"),
    }
}

fn number<T: std::str::FromStr<Err: std::error::Error + 'static>>(
    text: &str,
) -> Result<T, Failure> {
    text.parse().or_reject("a number is wanted")
}

fn follow(command: &str, task: &Task) -> Result<String, Failure> {
    let words: Vec<&str> = command.split(' ').collect();
    Ok(match words[..] {
        ["kv", ..] => of_kv(&words[1..])?,
        ["config", key] => format!("{:?}", config::get(key)),
        ["secret", name] => told(secrets::get(name)),
        ["spill", name, how] => spill(name, how)?,
        ["child", task_type, payload] => {
            told(task.submit(Child::new(task_type, Payload::text(payload))))
        }
        ["child-of", task_type, bytes] => {
            let payload = Payload::bytes(vec![0; number(bytes)?]);
            told(task.submit(Child::new(task_type, payload)))
        }
        ["child-in", queue, task_type] => {
            let child = Child::new(task_type, Payload::text("x")).queue(queue);
            told(
                task.submit(
                    child.meta("a", "b").priority(75).delay(Duration::from_secs(5)).key("k"),
                ),
            )
        }
        ["child-odd", what, value] => {
            let child = Child::new("thumbnail", Payload::text("x"));
            told(task.submit(match what {
                "priority" => child.priority(number(value)?),
                "delay" => child.delay(Duration::from_millis(number(value)?)),
                "key" => child.key(value.repeat(300)),
                "meta" => child.meta("m", "x".repeat(number(value)?)),
                _ => child.queue("no such queue name"),
            }))
        }
        ["wall"] => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.or_reject("a clock after 1970")?.as_nanos().to_string()
        }
        ["steps", wanted] => steps(number(wanted)?),
        ["sleep", ms] => {
            let began = Instant::now();
            std::thread::sleep(Duration::from_millis(number(ms)?));
            began.elapsed().as_nanos().to_string()
        }
        ["remaining"] => context::remaining().as_millis().to_string(),
        ["deadline"] => task.deadline_ms.to_string(),
        ["random"] => format!("{:016x}", RandomState::new().build_hasher().finish()),
        ["fail", ref message @ ..] => return Err(Failure::permanent(message.join(" "))),
        _ => return Err(Failure::permanent(format!("no such command: {command}"))),
    })
}

fn of_kv(words: &[&str]) -> Result<String, Failure> {
    Ok(match *words {
        ["get", key] => match kv::get(key) {
            Ok(None) => "none".to_owned(),
            Ok(Some(entry)) => {
                let text = String::from_utf8_lossy(&entry.value).into_owned();
                format!("{text} v{} {:?}", entry.version, entry.ttl)
            }
            Err(error) => format!("error {error:?}"),
        },
        ["set", key, value] => told(kv::set(key, value)),
        ["set-for", key, ms, value] => {
            told(kv::set_for(key, value, Duration::from_millis(number(ms)?)))
        }
        ["fill", key, bytes] => told(kv::set(key, vec![b'x'; number(bytes)?])),
        ["set-long", bytes] => told(kv::set(&"k".repeat(number(bytes)?), "x")),
        ["delete", key] => told(kv::delete(key)),
        ["keys", prefix] => {
            let keys: Result<Vec<String>, kv::Error> = kv::keys(prefix).collect();
            told(keys.map(|keys| keys.join(",")))
        }
        ["list", prefix, limit] => {
            let page = kv::list(prefix, None, number(limit)?);
            told(page.map(|page| format!("{} then {:?}", page.keys.join(","), page.next)))
        }
        ["add", key, by] => told(kv::increment(key, number(by)?)),
        ["swap", key, "-", value] => format!("{:?}", kv::compare_and_set(key, None, value)),
        ["swap", key, version, value] => {
            format!("{:?}", kv::compare_and_set(key, Some(number(version)?), value))
        }
        _ => return Err(Failure::permanent("no such command of kv")),
    })
}

/// Say a secret aloud.
fn spill(name: &str, how: &str) -> Result<String, Failure> {
    let secret = secrets::get(name)?;
    match how {
        "log" => log::info!(field = secret.as_str(); "the secret is {secret}"),
        "print" => print(&secret),
        "progress" => progress(0.5, &secret),
        "fail" => {
            let failure = Failure::permanent(format!("the secret is {secret}"));
            return Err(failure.details([secret]));
        }
        "panic" => spill_by_panic(&secret),
        "cut" => log::info!("{}{secret}", "x".repeat((8 << 10) - secret.len() / 2 - 3)),
        _ => return Ok(secret),
    }
    Ok("said".to_owned())
}

#[allow(clippy::print_stdout, reason = "this is what it is for")]
fn print(secret: &str) {
    println!("the secret is {secret}");
}

#[allow(clippy::panic, reason = "this is what it is for")]
fn spill_by_panic(secret: &str) {
    panic!("the secret is {secret}");
}

/// The steps that the monotonic clock makes, in nanoseconds, until so many were seen.
fn steps(wanted: usize) -> String {
    let mut seen = Vec::new();
    let began = Instant::now();
    let mut last = Duration::ZERO;
    while seen.len() < wanted {
        let now = began.elapsed();
        if now != last {
            seen.push((now - last).as_nanos().to_string());
            last = now;
        }
    }
    seen.join(" ")
}
