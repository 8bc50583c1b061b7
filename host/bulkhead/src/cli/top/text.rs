//! Text in columns of a terminal: how wide it is, and what of it fits.
//!
//! Whatever comes in may be of a guest's making; nothing that goes out moves a cursor or piles
//! up marks over other lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::escape;

/// Marks without a width of their own that one character may carry.
const MARKS: usize = 2;

/// Eighths of a line, lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Somebody else's text on one line, harmless.
pub(super) fn safe(text: &str) -> String {
    let mut marks = 0;
    let mut shown = escape::line(text);
    shown.retain(|c| {
        marks = if c.width() == Some(0) { marks + 1 } else { 0 };
        marks <= MARKS
    });
    shown
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// What of a text fits into so many columns; `…` says that it was cut.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if taken + wide + 1 > columns {
            break;
        }
        taken += wide;
        cut.push(c);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// A text in exactly so many columns.
pub(super) fn pad(text: &str, columns: usize, right: bool) -> String {
    let text = cut(text, columns);
    let gap = " ".repeat(columns.saturating_sub(width(&text)));
    if right { gap + &text } else { text + &gap }
}

/// As many of these as fit into so many columns, the first ones before all others.
pub(super) fn joined(parts: &[String], columns: usize) -> String {
    let mut line = String::new();
    for part in parts {
        let gap = if line.is_empty() { 0 } else { 3 };
        if width(&line) + gap + width(part) > columns {
            continue;
        }
        line.push_str(&" ".repeat(gap));
        line.push_str(part);
    }
    line
}

/// The newest of these values as bars, the highest of them a full one.
pub(super) fn bars<'a>(
    values: impl DoubleEndedIterator<Item = &'a f64> + Clone,
    columns: usize,
) -> String {
    let shown = values.rev().take(columns);
    let most = shown.clone().copied().fold(0.0, f64::max);
    let bar = |value: &f64| match most > 0.0 {
        true => {
            let eighths = (value / most * 8.0).ceil().clamp(1.0, 8.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 8")]
            let at = eighths as usize - 1;
            BARS[at]
        }
        false => BARS[0],
    };
    let bars: Vec<char> = shown.map(bar).collect();
    bars.into_iter().rev().collect()
}

/// Text of several lines, each at most so many columns wide, at most so many of them.
pub(super) fn wrapped(text: &str, columns: usize, lines: usize) -> Vec<String> {
    let mut wrapped = vec![String::new()];
    let mut taken = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if taken + wide > columns.max(2) {
            if wrapped.len() == lines {
                break;
            }
            wrapped.push(String::new());
            taken = 0;
        }
        taken += wide;
        if let Some(line) = wrapped.last_mut() {
            line.push(c);
        }
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_text_is_cut_where_it_fits() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), String::new()));
        assert_eq!((pad("日", 4, true), pad("é", 3, false)), ("  日".into(), "é  ".into()));
    }

    #[test]
    fn marks_do_not_pile_up_and_nothing_steers() {
        let hostile = format!("a{}b\u{1b}[2J\u{202e}c\u{2028}d", "\u{301}".repeat(50));
        let safe = safe(&hostile);
        assert_eq!(safe, "a\u{301}\u{301}b\\u{1b}[2J\\u{202e}c\\u{2028}d");
    }

    #[test]
    fn the_highest_of_what_is_shown_is_a_full_bar() {
        let values = [100.0, 0.0, 1.0, 4.0, 8.0];
        assert_eq!(bars(values.iter(), 4), "▁▁▄█");
        assert_eq!(bars([0.0, 0.0].iter(), 9), "▁▁");
        assert_eq!(bars([].iter(), 9), "");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let parts = ["hosts 1", "a very long part", "end"].map(str::to_owned);
        assert_eq!(joined(&parts, 15), "hosts 1   end");
        assert_eq!(joined(&parts, 2), "");
        assert_eq!(wrapped("日本語", 4, 9), ["日本", "語"]);
        assert_eq!(wrapped("abcdef", 2, 2), ["ab", "cd"]);
    }
}
