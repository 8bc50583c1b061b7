//! JSON Lines: one task a line.
//!
//! A file is checked as a whole before the first of its tasks is submitted; standard
//! input cannot be read twice, so there each line is checked as it comes. Lines are
//! bounded, and only one batch of tasks is in memory at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result};
use bulkhead::config::quantity::Size;
use bulkhead::queue::{Client, NewTask};
use bulkhead_api::asked::TaskRequest;
use bulkhead_api::document::Sent;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::exit::usage;
use crate::cli::session::BATCH;

/// Where lines come from.
pub(crate) struct Source {
    name: String,
    input: Input,
    max_line_bytes: usize,
}

enum Input {
    File(BufReader<File>, u64),
    Stdin,
}

impl Source {
    /// Open a file, or standard input if `path` is `-`. A payload may take six bytes of
    /// JSON for each of its own.
    pub(crate) fn open(path: &Path, payload_bytes: usize) -> Result<Self> {
        let max_line_bytes = payload_bytes.saturating_mul(6).saturating_add(64 << 10);
        if path == Path::new("-") {
            let name = "standard input".to_owned();
            return Ok(Self { name, input: Input::Stdin, max_line_bytes });
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|e| usage(format!("cannot read `{name}`: {e}")))?;
        let metadata = file.metadata().map_err(|e| usage(format!("cannot read `{name}`: {e}")))?;
        let input = if metadata.is_file() {
            Input::File(BufReader::new(file), metadata.len())
        } else {
            return Err(usage(format!("`{name}` is no file; use `-` for standard input")));
        };
        Ok(Self { name, input, max_line_bytes })
    }

    /// Submit a task for each line, made by `task`.
    pub(crate) async fn submit(
        self,
        client: &Client,
        task: impl Fn(TaskRequest<'_>) -> Result<NewTask, String>,
    ) -> Result<Vec<Sent>> {
        let Self { name, input, max_line_bytes } = self;
        match input {
            Input::Stdin => {
                let input = BufReader::new(io::stdin());
                let reader = Reader::new(&name, input, max_line_bytes);
                send(client, reader, task, bar(None)).await
            }
            Input::File(mut file, bytes) => {
                let mut check = Reader::new(&name, &mut file, max_line_bytes);
                while check.next(&task)?.is_some() {}
                file.rewind().with_context(|| format!("cannot read `{name}` again"))?;
                let reader = Reader::new(&name, file, max_line_bytes);
                send(client, reader, task, bar(Some(bytes))).await
            }
        }
    }
}

impl Source {
    /// The tasks of all lines, at most `at_most`.
    pub(crate) fn collect(
        self,
        at_most: usize,
        task: impl Fn(TaskRequest<'_>) -> Result<NewTask, String>,
    ) -> Result<Vec<NewTask>> {
        let Self { name, input, max_line_bytes } = self;
        let input: Box<dyn BufRead> = match input {
            Input::Stdin => Box::new(BufReader::new(io::stdin())),
            Input::File(file, _) => Box::new(file),
        };
        let mut reader = Reader::new(&name, input, max_line_bytes);
        let mut tasks = Vec::new();
        while let Some(task) = reader.next(&task)? {
            if tasks.len() == at_most {
                return Err(usage(format!(
                    "{name}:{}: these are over {at_most} tasks",
                    reader.line
                )));
            }
            tasks.push(task);
        }
        Ok(tasks)
    }
}

async fn send(
    client: &Client,
    mut reader: Reader<'_, impl BufRead>,
    task: impl Fn(TaskRequest<'_>) -> Result<NewTask, String>,
    bar: ProgressBar,
) -> Result<Vec<Sent>> {
    let mut sent: Vec<Sent> = Vec::new();
    loop {
        let first = reader.line + 1;
        let mut batch = Vec::with_capacity(BATCH);
        let mut refused = None;
        while batch.len() < BATCH {
            match reader.next(&task) {
                Ok(Some(task)) => batch.push(task),
                Ok(None) => break,
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let names: Vec<_> = batch.iter().map(Sent::name).collect();
        let done = batch.len() < BATCH;
        let so_far = sent.len();
        let answers = client.submit_many(batch).await.with_context(|| {
            format!(
                "lines {first} to {} of {} were not all submitted; the {so_far} tasks before \
                 them were",
                reader.line, reader.name
            )
        })?;
        sent.extend(names.into_iter().zip(answers).map(|(name, answer)| Sent::new(name, answer)));
        bar.set_position(reader.bytes);
        bar.set_message(format!("{} tasks", sent.len()));
        if let Some(error) = refused {
            bar.finish_and_clear();
            let context = format!("stopped after submitting {} tasks", sent.len());
            return Err(error.context(context));
        }
        if done {
            bar.finish_and_clear();
            return Ok(sent);
        }
    }
}

/// A progress bar by bytes on the terminal; invisible where there is none.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
    let template = match bytes {
        Some(_) => "{bar:40} {percent:>3}%  {msg}  {eta} left",
        None => "{spinner} {msg}  {elapsed}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

struct Reader<'a, R> {
    name: &'a str,
    input: R,
    max_line_bytes: usize,
    line: u64,
    bytes: u64,
    text: Vec<u8>,
}

impl<'a, R: BufRead> Reader<'a, R> {
    fn new(name: &'a str, input: R, max_line_bytes: usize) -> Self {
        Self { name, input, max_line_bytes, line: 0, bytes: 0, text: Vec::new() }
    }

    /// The task of the next line that is not blank.
    fn next(
        &mut self,
        task: &impl Fn(TaskRequest<'_>) -> Result<NewTask, String>,
    ) -> Result<Option<NewTask>> {
        loop {
            self.text.clear();
            let mut bounded = (&mut self.input).take(self.max_line_bytes as u64 + 1);
            let read = bounded
                .read_until(b'\n', &mut self.text)
                .with_context(|| format!("cannot read {}", self.name))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.bytes += read as u64;
            let at = |reason: &str| usage(format!("{}:{}: {reason}", self.name, self.line));
            if read > self.max_line_bytes {
                let bound = Size(self.max_line_bytes as u64);
                return Err(at(&format!("the line is longer than {bound}")));
            }
            if self.text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            // Without its end a line that stops in the middle is at fault, not the next one.
            let line = serde_json::from_slice::<TaskRequest<'_>>(self.text.trim_ascii_end())
                .map_err(|error| at(&format!("this is no task: {}", column(&error))))?;
            return task(line).map(Some).map_err(|reason| at(&reason));
        }
    }
}

/// serde_json counts lines too, and for us there is only one.
fn column(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

#[cfg(test)]
mod tests {
    use bulkhead::core::{Backoff, Conflict, OnFailedParent, Payload, Priority, QueueName};
    use bulkhead_api::asked::{Asked, Defaults, Manner};
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        manner: Manner,
        #[command(flatten)]
        asked: Asked,
    }

    fn tasks(text: &str) -> Result<Vec<NewTask>> {
        let mut reader = Reader::new("tasks.jsonl", text.as_bytes(), 1_500);
        let flags = Flags::parse_from(["flags", "--meta", "from=flags"]);
        let defaults = Defaults {
            task_type: None,
            queue: &QueueName::default(),
            content_type: None,
            manner: &flags.manner,
            asked: &flags.asked,
            now: 1_000,
        };
        let task = |line: TaskRequest<'_>| line.task(&defaults);
        let mut found = Vec::new();
        while let Some(task) = reader.next(&task)? {
            found.push(task);
        }
        Ok(found)
    }

    fn refused(line: &str) -> String {
        let text = format!("{{\"type\": \"a\", \"payload\": 1}}\n\n{line}\n");
        tasks(&text).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_full_line_is_a_task() {
        let found = tasks(
            r#"{"type": "resize", "payload": {"b": 1, "a": [2]}, "id": "018f0000-0000-7000-8000-000000000001", "queue": "q", "tenant": "t", "priority": "high", "metadata": {"k": "v"}, "at": "2030-01-01T00:00:00+01:00", "max_attempts": 2, "retention": "1h", "limits": {"fuel": 5, "memory": "1 MiB", "wall": "2s", "result": 10, "log": "1 KiB"}}"#,
        )
        .unwrap();
        let [task] = found.as_slice() else { panic!("one task") };
        assert_eq!(task.payload, Payload::new(Payload::JSON, r#"{"b": 1, "a": [2]}"#));
        assert_eq!((task.queue.as_str(), task.tenant.as_str()), ("q", "t"));
        assert_eq!(task.priority, Priority::HIGH);
        let pairs = [("from", "flags"), ("k", "v")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(task.metadata, pairs);
        assert_eq!(task.terms.not_before, Some(1_893_452_400_000));
        assert_eq!(task.terms.retry.as_ref().and_then(|retry| retry.max_attempts), Some(2));
        assert_eq!(task.terms.retention_ms, Some(3_600_000));
        assert_eq!(task.limits.memory_bytes, Some(1 << 20));
        assert_eq!(task.limits.wall_ms, Some(2_000));
        assert!(task.id.is_some());
    }

    #[test]
    fn a_line_has_every_term() {
        let found = tasks(
            r#"{"type": "a", "payload": 1, "expires_in": "1m", "deadline_at": "2030-01-01T00:00:00Z", "key": "smtp", "unique": "u:1", "unique_for": "1h", "on_conflict": "replace", "after": ["018f0000-0000-7000-8000-000000000001", "other/018f0000-0000-7000-8000-000000000002"], "on_failed_parent": "run", "max_age": "1d", "retry_delays": ["1s", "5s"], "retry_jitter": 0, "retry_on": ["retry", "trapped"]}"#,
        )
        .unwrap();
        let terms = &found[0].terms;
        assert!(terms.expires_at > Some(60_000));
        assert_eq!(terms.deadline_at, Some(1_893_456_000_000));
        assert_eq!(terms.key.as_ref().map(|key| key.as_str()), Some("smtp"));
        let unique = terms.unique.as_ref().unwrap();
        assert_eq!((unique.key.as_str(), unique.window_ms), ("u:1", Some(3_600_000)));
        assert_eq!(unique.conflict, Conflict::Replace);
        let queues: Vec<&str> = terms.after.iter().map(|after| after.queue.as_str()).collect();
        assert_eq!(queues, ["default", "other"]);
        assert_eq!(terms.on_failed_parent, OnFailedParent::Run);
        let retry = terms.retry.as_ref().unwrap();
        assert_eq!(retry.max_age_ms, Some(86_400_000));
        assert_eq!(retry.backoff, Some(Backoff::Delays { delays_ms: vec![1_000, 5_000] }));
        assert_eq!(retry.retry_on.as_ref().map(Vec::len), Some(2));
    }

    #[test]
    fn the_payload_is_what_it_looks_like_unless_told() {
        for (fields, content_type, data) in [
            (r#""payload": "hi\n""#, Payload::TEXT, "hi\n"),
            (r#""payload": [1,  2]"#, Payload::JSON, "[1,  2]"),
            (r#""payload": null"#, Payload::JSON, "null"),
            (r#""payload": "a,b", "content_type": "text/csv""#, "text/csv", "a,b"),
            (r#""payload": "s", "content_type": "application/json""#, Payload::JSON, "\"s\""),
            (r#""payload_base64": "aGk=""#, Payload::BINARY, "hi"),
            (r#""payload_base64": "aGk=", "content_type": "image/png""#, "image/png", "hi"),
        ] {
            let found = tasks(&format!("{{\"type\": \"a\", {fields}}}")).unwrap();
            assert_eq!(found[0].payload, Payload::new(content_type, data), "{fields}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (line, says) in [
            ("{", "EOF while parsing an object at column 1"),
            ("[]", "this is no task"),
            (r#"{"type": "a", "paylod": 1}"#, "unknown field `paylod`"),
            (r#"{"payload": 1}"#, "no `type`"),
            (r#"{"type": "a b", "payload": 1}"#, "a b"),
            (r#"{"type": "a"}"#, "neither `payload` nor"),
            (r#"{"type": "a", "payload": 1, "payload_base64": ""}"#, "both `payload` and"),
            (r#"{"type": "a", "payload_base64": "?"}"#, "not base64"),
            (r#"{"type": "a", "payload": 1, "priority": 101}"#, "101"),
            (r#"{"type": "a", "payload": 1, "priority": "urgent"}"#, "urgent"),
            (
                r#"{"type": "a", "payload": 1, "delay": "1s", "at": "2030-01-01T00:00:00Z"}"#,
                "both `delay` and `at`",
            ),
            (r#"{"type": "a", "payload": 1, "at": "tomorrow"}"#, "RFC 3339"),
            (r#"{"type": "a", "payload": 1, "delay": 5}"#, "duration"),
            (r#"{"type": "a", "payload": 1, "limits": {"cpu": 5}}"#, "cpu"),
            (r#"{"type": "a", "payload": 1} x"#, "column"),
            (r#"{"type": "a", "payload": 1, "unique": "a b"}"#, "leave out spaces"),
            (r#"{"type": "a", "payload": 1, "unique": "k", "unique_payload": true}"#, "both"),
            (r#"{"type": "a", "payload": 1, "unique_for": "1h"}"#, "add `unique`"),
            (r#"{"type": "a", "payload": 1, "after": ["mail/x"]}"#, "queue/id"),
            (r#"{"type": "a", "payload": 1, "backoff": "steep"}"#, "steep"),
            (r#"{"type": "a", "payload": 1, "retry_delay": "1s"}"#, "how the wait grows"),
            (&"x".repeat(1_501), "longer than"),
        ] {
            let error = refused(line);
            assert!(error.starts_with("tasks.jsonl:3: "), "{line}: {error}");
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
