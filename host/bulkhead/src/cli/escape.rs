//! Text that somebody else wrote, made safe for a terminal.
//!
//! Control characters would let a guest move the cursor, recolour or retitle the
//! terminal; direction overrides and separators of lines would let it show what is not there.

use std::fmt::Write;

/// `text` on one line: every control character is escaped.
pub(crate) fn line(text: &str) -> String {
    escaped(text, |_| false)
}

/// `text` with its line breaks and tabs; every other control character is escaped.
pub(crate) fn block(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// At most `max` characters of `text` on one line.
pub(crate) fn brief(text: &str, max: usize) -> String {
    let mut shown: String = text.chars().take(max).collect();
    if shown.len() < text.len() {
        shown.pop();
        shown.push('…');
    }
    line(&shown)
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if !keep(c) && (c.is_control() || is_direction(c)) {
            // Writing to a string cannot fail.
            let _ = write!(safe, "{}", c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_survives() {
        let hostile = "\u{1b}[31mred\u{7}\u{9b}2J\r\u{202e}evil\u{7f} é日\n\tend";
        let safe = line(hostile);
        assert!(!safe.chars().any(|c| c.is_control() || is_direction(c)), "{safe}");
        assert_eq!(safe, "\\u{1b}[31mred\\u{7}\\u{9b}2J\\r\\u{202e}evil\\u{7f} é日\\n\\tend");
        assert!(block(hostile).ends_with(" é日\n\tend"));
    }

    #[test]
    fn brief_text_says_that_it_was_cut() {
        assert_eq!(brief("héllo", 5), "héllo");
        assert_eq!(brief("héllo!", 5), "héll…");
    }
}
