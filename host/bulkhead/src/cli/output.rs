//! What commands print: one JSON document, or text and tables for people.
//!
//! Every write to standard output goes through here, so that a reader who leaves early
//! ends the command quietly, colours reach only terminals, and nobody else's text
//! reaches one unescaped.

use std::io::{self, IsTerminal, Write};

use bulkhead::core::State;
use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use super::escape;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On terminals, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorWhen {
    /// Make it the rule for everything that this process prints.
    pub(crate) fn install(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::AlwaysAnsi,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// Where a command's results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// JSON documents or text.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a JSON document is wanted.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Print a JSON document.
    pub(crate) fn document(self, document: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(document)?;
        text.push(b'\n');
        self.raw(&text)
    }

    /// Print text, colours included where they are wanted.
    pub(crate) fn text(self, text: &str) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Print bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Print a table, or `nothing` if it has no rows.
    pub(crate) fn table(self, mut table: Table, nothing: &str) -> io::Result<()> {
        if table.row_count() == 0 {
            return self.text(&format!("{nothing}\n"));
        }
        if io::stdout().is_terminal()
            && let Some((width, _)) = terminal_size::terminal_size()
        {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.0);
        }
        if anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
            table.force_no_tty();
        } else {
            table.enforce_styling();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        self.text(&lines)
    }
}

/// An empty table with a header.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    table
}

/// A cell of somebody else's text.
pub(crate) fn cell(text: &str) -> Cell {
    Cell::new(escape::line(text))
}

/// A cell with a number, to the right.
pub(crate) fn number(number: impl ToString) -> Cell {
    Cell::new(number).set_alignment(comfy_table::CellAlignment::Right)
}

/// A cell with a task's state.
pub(crate) fn state(state: State) -> Cell {
    let cell = Cell::new(state);
    match state {
        State::Completed => cell.fg(Color::Green),
        State::Failed => cell.fg(Color::Red),
        State::Running => cell.fg(Color::Cyan),
        State::Scheduled | State::Blocked | State::Cancelled | State::Expired => {
            cell.fg(Color::Yellow)
        }
        State::Pending => cell,
    }
}

/// Ask a question on the terminal. `None` if nobody is there to answer.
pub(crate) fn confirm(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let mut err = anstream::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// Say something beside the results.
pub(crate) fn note(text: &str) {
    // Results matter, remarks do not.
    let _ = writeln!(anstream::stderr(), "{text}");
}
