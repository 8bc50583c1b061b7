//! One task in full.

use std::fmt::Write;

use anyhow::Result;
use bulkhead::config::quantity::Span;
use bulkhead::core::{
    AttemptReport, Conflict, Digest, Failure, OnFailedParent, Outcome, Payload, State, Terms,
};
use bulkhead::queue::{CancelReason, Entry, TaskView};

use bulkhead_api::document::{TaskDocument, next_name};

use crate::cli::exit::Exit;
use crate::cli::queue::held_back;
use crate::cli::session::Session;
use crate::cli::{escape, figures};

/// Characters of a payload that are shown.
const SHOWN: usize = 2_000;

/// Show a task.
pub(crate) fn show(session: &Session, view: &TaskView) -> Result<Exit> {
    if session.out.is_json() {
        session.out.document(&TaskDocument::from(view))?;
    } else {
        session.out.text(&described(view))?;
    }
    Ok(Exit::Done)
}

/// Say which bound holds a pending task's tenant back, if one does.
pub(super) async fn why_held(session: &Session, view: &TaskView) -> Result<Exit> {
    let Ok(task) = &view.task else { return Ok(Exit::Done) };
    if session.out.is_json() || view.state != State::Pending {
        return Ok(Exit::Done);
    }
    let stats = session.broker().await?.stats(&view.queue).await?;
    let held = stats.held_tenants.iter().find(|held| held.tenant == task.tenant.as_str());
    if let Some(held) = held {
        session.out.text(&format!("\n{}\n", held_back(held)))?;
    }
    Ok(Exit::Done)
}

/// A text of `label  value` lines.
#[derive(Default)]
struct Sheet(String);

impl Sheet {
    fn row(&mut self, label: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{label:<11} {value}");
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
    if let Some(progress) = &view.progress {
        let said = match progress.message.as_str() {
            "" => String::new(),
            message => format!(", {}", escape::line(message)),
        };
        let when = figures::relative(progress.at, now);
        sheet.row("progress", format!("{:.0} %{said} ({when})", progress.fraction * 100.0));
    }
    for parent in &view.waits_for {
        sheet.row("waits for", parent);
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
            terms(&mut sheet, &task.terms, at);
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

fn terms(sheet: &mut Sheet, terms: &Terms, at: impl Fn(u64) -> String) {
    for (label, time) in [
        ("not before", terms.not_before),
        ("expires", terms.expires_at),
        ("deadline", terms.deadline_at),
    ] {
        if let Some(time) = time {
            sheet.row(label, at(time));
        }
    }
    if let Some(key) = &terms.key {
        sheet.row("key", escape::line(key.as_str()));
    }
    if let Some(unique) = &terms.unique {
        let window = unique.window_ms.map_or_else(
            || "until the task has ended".to_owned(),
            |ms| format!("for {}", Span::from_ms(ms)),
        );
        let conflict = match unique.conflict {
            Conflict::Reject => "rejects others",
            Conflict::Existing => "stands for others",
            Conflict::Replace => "replaces others",
        };
        sheet
            .row("unique", format!("{} ({window}, {conflict})", escape::line(unique.key.as_str())));
    }
    for parent in &terms.after {
        sheet.row("after", parent);
    }
    match terms.on_failed_parent {
        OnFailedParent::Fail => {}
        OnFailedParent::Cancel => sheet.row("if one fails", "cancelled"),
        OnFailedParent::Run => sheet.row("if one fails", "runs all the same"),
    }
    if let Some(most) = terms.retry.as_ref().and_then(|retry| retry.max_attempts) {
        sheet.row("at most", format!("{most} attempts"));
    }
    if let Some(retention) = terms.retention_ms {
        sheet.row("retention", Span::from_ms(retention));
    }
    if let Some(batch) = &terms.batch {
        sheet.row("batch", batch);
    }
    if let Some(schedule) = &terms.schedule {
        sheet.row("schedule", escape::line(schedule));
    }
    if terms.depth > 0 {
        sheet.row("depth", terms.depth);
    }
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
    if report.digest != Digest::default() {
        let version = report.digest.short();
        match &report.plugin {
            Some(plugin) => sheet.row("plugin", format!("{plugin} {version}")),
            None => sheet.row("plugin", version),
        }
    }
    match &report.outcome {
        Outcome::Done(output) => sheet.row("outcome", format!("done ({})", size(output))),
        Outcome::Failed(failure) => failed(sheet, failure),
    }
    let calls = match used.host_calls {
        0 => String::new(),
        calls => format!(
            ", {} calls ({} in, {} out)",
            figures::count(calls),
            figures::bytes(used.bytes_in),
            figures::bytes(used.bytes_out)
        ),
    };
    sheet.row(
        "used",
        format!(
            "wall {}, cpu {}, fuel {}, memory {}{calls}",
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
