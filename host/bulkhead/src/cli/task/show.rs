//! One task in full, and what its attempts logged.

use std::fmt::Write;

use anyhow::Result;
use bulkhead::core::{AttemptReport, Digest, Failure, LogLevel, LogLine, Outcome, Payload, State};
use bulkhead::queue::{CancelReason, Entry, TaskView};
use serde::Serialize;

use crate::cli::document::{TaskDocument, next_name};
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cli::{escape, figures};

/// Characters of a payload that are shown.
const SHOWN: usize = 2_000;

/// Show a task.
pub(super) fn show(session: &Session, view: &TaskView) -> Result<Exit> {
    if session.out.is_json() {
        session.out.document(&TaskDocument::from(view))?;
    } else {
        session.out.text(&described(view))?;
    }
    Ok(Exit::Done)
}

/// A text of `label  value` lines.
#[derive(Default)]
struct Sheet(String);

impl Sheet {
    fn row(&mut self, label: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{label:<12}{value}");
    }

    fn heading(&mut self, text: &str) {
        let bold = anstyle::Style::new().bold();
        let _ = writeln!(self.0, "\n{bold}{text}{bold:#}");
    }

    /// Somebody else's text, indented.
    fn quote(&mut self, text: &str) {
        for line in escape::block(text).lines() {
            let _ = writeln!(self.0, "  {line}");
        }
    }
}

fn described(view: &TaskView) -> String {
    let now = figures::now();
    let at = |ms: u64| format!("{} ({})", figures::time(ms), figures::relative(ms, now));
    let mut sheet = Sheet::default();
    sheet.row("id", view.id);
    sheet.row("queue", &view.queue);
    let asked = if view.cancel_requested { ", asked to stop" } else { "" };
    sheet.row("state", format!("{}{asked}", view.state));
    sheet.row("attempts", view.attempts());
    if let Some(due) = view.due_at {
        sheet.row("due", at(due));
    }
    if let Some(holder) = &view.holder {
        let until = figures::relative(holder.lease_until, now);
        sheet.row("lease", format!("{}, ends {until}", escape::line(&holder.host)));
    }
    if let Some(kept) = view.kept_until {
        sheet.row("kept until", at(kept));
    }
    match &view.task {
        Err(unreadable) => sheet.row("unreadable", escape::line(&unreadable.reason)),
        Ok(task) => {
            sheet.row("type", &task.task_type);
            sheet.row("tenant", &task.tenant);
            sheet.row("priority", task.priority);
            sheet.row("submitted", at(task.submitted_at));
            for (key, value) in &task.metadata {
                sheet.row("metadata", format!("{}={}", escape::line(key), escape::line(value)));
            }
            sheet.heading(&format!("Payload ({})", size(&task.payload)));
            payload(&mut sheet, &task.payload);
        }
    }
    for entry in &view.history {
        entry_lines(&mut sheet, entry);
    }
    if view.state == State::Completed
        && let Some(Outcome::Done(output)) = view.last_report().map(|report| &report.outcome)
    {
        sheet.heading(&format!("Output ({})", size(output)));
        payload(&mut sheet, output);
    }
    sheet.0
}

fn size(payload: &Payload) -> String {
    let bytes = figures::bytes(payload.data.len() as u64);
    format!("{}, {bytes}", escape::line(&payload.content_type))
}

fn payload(sheet: &mut Sheet, payload: &Payload) {
    match std::str::from_utf8(&payload.data) {
        Ok(text) => {
            let shown: String = text.chars().take(SHOWN).collect();
            sheet.quote(&shown);
            if shown.len() < text.len() {
                sheet.quote("… (all of it with --json)");
            }
        }
        Err(_) => sheet.quote("(not text)"),
    }
}

fn entry_lines(sheet: &mut Sheet, entry: &Entry) {
    match entry {
        Entry::Ended(next, report) => {
            sheet.heading(&format!("Attempt {}", report.attempt));
            attempt(sheet, report);
            sheet.row("next", next_name(*next).replace('_', " "));
        }
        Entry::LeaseLost { at, host } => {
            sheet.heading("Lease lost");
            sheet.row("noticed", figures::time(*at));
            sheet.row("host", escape::line(host));
        }
        Entry::Cancelled { at, reason } => {
            sheet.heading("Cancelled");
            sheet.row("at", figures::time(*at));
            match reason {
                Some(CancelReason::ReplacedBy(id)) => sheet.row("replaced by", id),
                Some(CancelReason::Parent(parent)) => sheet.row("did not complete", parent),
                None => {}
            }
        }
        Entry::Expired { at } => {
            sheet.heading("Expired");
            sheet.row("noticed", figures::time(*at));
        }
        Entry::Parent { parent, state, .. } => {
            sheet.heading("Parent ended");
            sheet.row("task", parent);
            sheet.row("state", state.map_or("unknown", State::as_str));
        }
        Entry::ParentFailed { at, parent } => {
            sheet.heading("Parent did not complete");
            sheet.row("task", parent);
            sheet.row("at", figures::time(*at));
        }
        Entry::Rerun { at } => {
            sheet.heading("Given fresh attempts");
            sheet.row("at", figures::time(*at));
        }
    }
}

fn attempt(sheet: &mut Sheet, report: &AttemptReport) {
    let used = &report.metering;
    sheet.row("started", figures::time(report.started_at));
    sheet.row("host", escape::line(&report.host));
    if report.plugin != Digest::default() {
        sheet.row("plugin", report.plugin.short());
    }
    match &report.outcome {
        Outcome::Done(output) => sheet.row("outcome", format!("done ({})", size(output))),
        Outcome::Failed(failure) => failed(sheet, failure),
    }
    sheet.row(
        "used",
        format!(
            "wall {}, cpu {}, fuel {}, memory {}",
            figures::micros(used.wall_us),
            figures::micros(used.cpu_us),
            figures::count(used.fuel),
            figures::bytes(used.peak_memory_bytes)
        ),
    );
    if !report.logs.is_empty() || used.log_lines_dropped > 0 {
        let dropped = match used.log_lines_dropped {
            0 => String::new(),
            lines => format!(", {lines} dropped over the limit"),
        };
        sheet.row("log", format!("{} lines{dropped}", report.logs.len()));
    }
}

fn failed(sheet: &mut Sheet, failure: &Failure) {
    sheet.row("outcome", failure.kind);
    sheet.quote(&failure.message);
    if let Some(details) = &failure.details {
        sheet.quote(&format!("details: {details}"));
    }
    for frame in &failure.backtrace {
        sheet.quote(&format!("at {frame}"));
    }
}

/// One logged line in JSON.
#[derive(Serialize)]
struct LogDocument<'a> {
    attempt: u32,
    #[serde(flatten)]
    line: &'a LogLine,
}

/// Print what attempts logged.
pub(super) fn logs(session: &Session, view: &TaskView, attempt: Option<u32>) -> Result<Exit> {
    let reports: Vec<&AttemptReport> = view
        .history
        .iter()
        .filter_map(|entry| match entry {
            Entry::Ended(_, report) => Some(report.as_ref()),
            _ => None,
        })
        .filter(|report| attempt.is_none_or(|wanted| report.attempt == wanted))
        .collect();
    if let Some(wanted) = attempt
        && reports.is_empty()
    {
        let message = format!("task {} has no ended attempt {wanted}", view.id);
        return Err(crate::cli::exit::not_found(message));
    }
    let lines = |report: &'_ AttemptReport| report.metering.log_lines_dropped;
    if session.out.is_json() {
        let documents: Vec<_> = reports
            .iter()
            .flat_map(|report| {
                report.logs.iter().map(|line| LogDocument { attempt: report.attempt, line })
            })
            .collect();
        session.out.document(&documents)?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for report in &reports {
        for line in &report.logs {
            text.push_str(&log_line(report.attempt, line));
        }
        if lines(report) > 0 {
            let dropped = lines(report);
            let _ = writeln!(text, "[{}] {dropped} lines dropped over the limit", report.attempt);
        }
    }
    session.out.text(&text)?;
    Ok(Exit::Done)
}

fn log_line(attempt: u32, line: &LogLine) -> String {
    use anstyle::AnsiColor::{Blue, Green, Magenta, Red, Yellow};
    let (color, level) = match line.level {
        LogLevel::Trace => (Magenta, "TRACE"),
        LogLevel::Debug => (Blue, "DEBUG"),
        LogLevel::Info => (Green, "INFO"),
        LogLevel::Warn => (Yellow, "WARN"),
        LogLevel::Error => (Red, "ERROR"),
    };
    let style = anstyle::Style::new().fg_color(Some(color.into()));
    let mut text = format!(
        "[{attempt}] {:>8} {style}{level:<5}{style:#} {}",
        format!("+{}ms", line.at_ms),
        escape::line(&line.message)
    );
    for (key, value) in &line.fields {
        let _ = write!(text, " {}={}", escape::line(key), escape::line(value));
    }
    text.push('\n');
    text
}
