//! What a task's attempts logged.

use std::fmt::Write;

use anyhow::Result;
use bulkhead::core::{AttemptReport, LogLevel, LogLine};
use bulkhead::queue::{Entry, TaskView};
use serde::Serialize;

use crate::cli::escape;
use crate::cli::exit::{Exit, not_found};
use crate::cli::session::Session;

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
        return Err(not_found(message));
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
