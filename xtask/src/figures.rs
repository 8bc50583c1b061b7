//! Numbers and tables for people. Guest text is made harmless for a terminal here.

/// A size with a binary unit.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB"])
}

/// A count such as fuel.
pub(crate) fn count(count: u64) -> String {
    scaled(count as f64, 1000.0, &["", "k", "M", "G"]).trim_end().to_owned()
}

/// A duration given in microseconds.
pub(crate) fn micros(us: u64) -> String {
    scaled(us as f64, 1000.0, &["µs", "ms", "s"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut at = 0;
    // What would be rounded up to a whole step is shown in the next unit.
    while value >= step - 0.5 && at + 1 < units.len() {
        value /= step;
        at += 1;
    }
    let digits = usize::from(at > 0 && value < 99.95);
    format!("{value:.digits$} {}", units[at])
}

/// The first characters of a digest, enough to tell versions apart.
pub(crate) fn short_digest(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// `text` without anything that steers a terminal.
pub(crate) fn harmless(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown = |c: char| if steers(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// On which side a column's cells are filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table: each column as wide as its widest cell, two spaces between, indented.
pub(crate) fn table<const N: usize>(
    header: [(&str, Align); N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let titles = header.map(|(title, _)| title.to_owned());
    let lines: Vec<_> = std::iter::once(titles).chain(rows).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::from(" ");
        for (at, cell) in line.iter().enumerate() {
            let filler = " ".repeat(widths[at] - cell.chars().count());
            let (before, after) = match header[at].1 {
                Align::Left => ("", filler.as_str()),
                Align::Right => (filler.as_str(), ""),
            };
            shown.extend([" ", before, cell, after, " "]);
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits_and_a_unit() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(300 << 20)].join(" | "),
            "0 B | 1023 B | 1.5 KiB | 300 MiB"
        );
        assert_eq!(
            [count(999), count(12_345_678), count(999_999)].join(" | "),
            "999 | 12.3 M | 1.0 M"
        );
        assert_eq!(
            [micros(15), micros(1_500), micros(125_000_000)].join(" | "),
            "15 µs | 1.5 ms | 125 s"
        );
    }

    #[test]
    fn guest_text_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31m\u{202e}é\n"), "a\\u{1b}[31m\\u{202e}é\\n");
    }

    #[test]
    fn digests_are_cut_and_short_ones_stay() {
        assert_eq!(short_digest("0123456789abcdef"), "0123456789ab");
        assert_eq!(short_digest("01"), "01");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let shown = table(
            [("NAME", Align::Left), ("N", Align::Right)],
            [["é".to_owned(), "1".to_owned()], ["longer".to_owned(), "100".to_owned()]],
        );
        assert_eq!(shown, "  NAME      N\n  é         1\n  longer  100\n");
    }
}
