//! Counts that need no language, by the Unicode rules for segmenting text.

use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;

/// A word is long, for the formulas that ask, from this many characters on.
const LONG_WORD_CHARS: usize = 7;

/// How much of what a text has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Bytes of UTF-8, a byte order mark aside.
    pub bytes: u64,
    /// Unicode scalar values.
    pub chars: u64,
    /// What readers take for characters: grapheme clusters.
    pub graphemes: u64,
    /// Letters and digits.
    pub letters: u64,
    /// Words by the Unicode rules, numbers among them. In scripts without spaces these
    /// are single characters or whole phrases; see `words_are_reliable`.
    pub words: u64,
    /// Words of more than six characters.
    pub long_words: u64,
    /// Sentences by the Unicode rules that have a word; `e.g.` may end one too many.
    pub sentences: u64,
    /// Runs of lines that are not blank.
    pub paragraphs: u64,
    /// Lines, also blank ones.
    pub lines: u64,
}

impl Counts {
    /// Count `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut counts = Self { bytes: text.len() as u64, ..Self::default() };
        for c in text.chars() {
            counts.chars += 1;
            counts.letters += u64::from(c.is_alphanumeric());
        }
        counts.graphemes = text.graphemes(true).count() as u64;
        for word in text.unicode_words() {
            counts.words += 1;
            counts.long_words += u64::from(word.chars().count() >= LONG_WORD_CHARS);
        }
        let mut in_paragraph = false;
        for line in text.lines() {
            counts.lines += 1;
            let blank = line.trim().is_empty();
            counts.paragraphs += u64::from(!blank && !in_paragraph);
            in_paragraph = !blank;
        }
        counts.sentences = sentences(text);
        counts
    }
}

/// Sentences end at the Unicode boundaries and at blank lines, so that a heading is
/// one of its own; a line break within a paragraph ends none. Empty paragraphs are
/// never segmented: the iterator's size hint overflows on them.
fn sentences(text: &str) -> u64 {
    let mut total = 0;
    let mut paragraph = String::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() && !paragraph.is_empty() {
            total += paragraph
                .split_sentence_bounds()
                .filter(|sentence| sentence.chars().any(char::is_alphanumeric))
                .count() as u64;
            paragraph.clear();
        } else if !line.trim().is_empty() {
            paragraph.push_str(line.trim_end());
            paragraph.push(' ');
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_small_text() {
        let counts = Counts::of("Title\n\nOne fish, two fish.\nRed fish?\n\n  \nBlue e\u{301}!\n");
        assert_eq!(counts.lines, 7);
        assert_eq!(counts.paragraphs, 3);
        assert_eq!(counts.sentences, 4);
        assert_eq!(counts.words, 9);
        assert_eq!(counts.chars, counts.graphemes + 1);
        assert_eq!(Counts::of(""), Counts::default());
    }

    #[test]
    fn punctuation_alone_is_no_sentence() {
        assert_eq!(Counts::of("... !!! ---").sentences, 0);
        assert_eq!(Counts::of("It costs 3.50 a day. Or so.").sentences, 2);
    }

    #[test]
    fn a_long_word_has_more_than_six_characters() {
        assert_eq!(Counts::of("twelve harbour Übungen").long_words, 2);
    }
}
