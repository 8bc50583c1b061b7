//! Everything that is said about a text.

use serde::Serialize;
use thiserror::Error;

use crate::counting::Counts;
use crate::language::{Language, identify, separates_words};
use crate::options::Options;
use crate::readability::{Readability, assess};

/// The longest text that is measured, in bytes.
pub const MAX_TEXT_BYTES: usize = 2 << 20;

/// Words that adults read silently in a minute: the mean for English non-fiction in
/// Brysbaert's review of 190 studies (2019).
const WORDS_PER_MINUTE: u32 = 238;

/// Characters read in a minute where words are not separated: a round figure.
const CHARS_PER_MINUTE: u32 = 300;

/// Why a text was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StatsError {
    /// The text is not UTF-8.
    #[error("the text is not UTF-8: byte {at} (line {line}) is invalid; convert it to UTF-8")]
    NotUtf8 {
        /// Offset of the first byte that is not part of a character.
        at: usize,
        /// The line it is on, from 1.
        line: usize,
    },
    /// The text is longer than [`MAX_TEXT_BYTES`].
    #[error("the text has {bytes} bytes; at most {MAX_TEXT_BYTES} are measured; split it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// What is known about a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextStats {
    /// Its language, if it has letters.
    pub language: Option<Language>,
    /// How much of what it has.
    pub counts: Counts,
    /// Whether `words` counts what readers would call words.
    pub words_are_reliable: bool,
    /// How long reading it takes.
    pub reading_time: ReadingTime,
    /// How hard it is to read.
    pub readability: Readability,
}

/// How long reading takes, and what the estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReadingTime {
    /// Seconds, rounded up.
    pub seconds: u64,
    /// Units read in a minute.
    pub per_minute: u32,
    /// What the units are.
    pub of: Pace,
}

/// What a reading speed counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Words.
    Words,
    /// Letters and digits, for languages that do not separate words.
    Letters,
}

/// Measure a text given as bytes; a byte order mark is skipped.
///
/// # Errors
///
/// If the text is not UTF-8 or too long.
pub fn measure(text: &[u8], options: &Options) -> Result<TextStats, StatsError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(StatsError::TooLong { bytes: text.len() });
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|error| {
        let at = error.valid_up_to();
        let line = 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
        StatsError::NotUtf8 { at, line }
    })?;
    let counts = Counts::of(text);
    let (lang, language) = identify(text, options.language).unzip();
    let is_sure =
        language.as_ref().is_some_and(|language| language.guess.is_none_or(|guess| guess.reliable));
    let words_are_reliable = lang.is_none_or(separates_words);
    Ok(TextStats {
        counts,
        words_are_reliable,
        reading_time: reading_time(&counts, words_are_reliable, options.words_per_minute),
        readability: assess(text, &counts, lang, is_sure),
        language,
    })
}

fn reading_time(counts: &Counts, by_words: bool, words_per_minute: Option<u32>) -> ReadingTime {
    let (amount, per_minute, of) = if by_words {
        (counts.words, words_per_minute.unwrap_or(WORDS_PER_MINUTE), Pace::Words)
    } else {
        (counts.letters, CHARS_PER_MINUTE, Pace::Letters)
    };
    let seconds = (amount * 60).div_ceil(u64::from(per_minute.max(1)));
    ReadingTime { seconds, per_minute, of }
}
