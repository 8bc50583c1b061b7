//! One line on the terminal that changes while tasks run.

use std::io::{IsTerminal, Write};

use super::document::Queue;

const BAR_CELLS: usize = 24;

/// A line that is written over; where there is no terminal, nothing is shown but the
/// results that follow it.
#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal() }
    }

    /// Shows how far `queue` has come with `total` tasks.
    pub(super) fn show(&self, queue: &Queue, total: usize) {
        if self.is_terminal {
            self.write(&format!("\r\x1b[K  {}", line(queue, total)));
        }
    }

    fn write(&self, text: &str) {
        // Progress that cannot be shown must not stop the work.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            self.write("\r\x1b[K");
        }
    }
}

fn line(queue: &Queue, total: usize) -> String {
    let ended = usize::try_from(queue.ended()).unwrap_or(total).min(total);
    let full = (ended * BAR_CELLS).checked_div(total).unwrap_or(0);
    format!(
        "[{}{}] {ended} of {total} ended, {} running, {} waiting",
        "#".repeat(full),
        "-".repeat(BAR_CELLS - full),
        queue.running,
        queue.pending + queue.scheduled
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_what_has_ended_and_never_overflows() {
        let mut queue = Queue { pending: 3, running: 2, scheduled: 1, ..Queue::default() };
        let bar = |full: usize| format!("[{}{}]", "#".repeat(full), "-".repeat(24 - full));
        let shown = line(&queue, 12);
        assert_eq!(shown, format!("{} 0 of 12 ended, 2 running, 4 waiting", bar(0)));
        queue.totals.insert("completed".into(), 5);
        queue.totals.insert("failed".into(), 1);
        assert!(line(&queue, 12).starts_with(&format!("{} 6 of 12", bar(12))));
        assert!(line(&queue, 4).starts_with(&format!("{} 4 of 4", bar(24))));
        assert!(line(&queue, 0).starts_with(&bar(0)));
    }
}
