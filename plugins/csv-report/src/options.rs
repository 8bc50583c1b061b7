//! What a producer may ask of a report, read from the task's metadata.
//!
//! Unknown keys are left alone, since metadata also carries what other parties put
//! there; a known key with a bad value is refused with the values it could have.

use thiserror::Error;

/// The most frequent values that may be listed per column.
const MAX_TOP: usize = 100;

/// How a file is read and how much is said about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What separates the fields; without it, guessed.
    pub delimiter: Option<u8>,
    /// Whether the first row names the columns.
    pub header: Header,
    /// What separates a number's fraction.
    pub decimal: Decimal,
    /// How many of the most frequent values are listed per column.
    pub top: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { delimiter: None, header: Header::Guess, decimal: Decimal::Guess, top: 5 }
    }
}

/// Whether the first row names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// It does unless one of its fields is a number, a boolean, a date or a time.
    Guess,
    /// It does.
    Present,
    /// It is data.
    Absent,
}

/// What separates a number's fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimal {
    /// A point; in files separated by semicolons a comma too.
    Guess,
    /// A point.
    Point,
    /// A comma or a point.
    Comma,
}

/// An option with a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("metadata `{key}` is {value:?}; use {expected}")]
pub struct OptionError {
    /// The metadata key.
    pub key: &'static str,
    /// The value it had, at most 100 characters of it.
    pub value: String,
    /// The values it could have.
    pub expected: &'static str,
}

impl Options {
    /// Read the options through `meta`, which looks up a metadata key.
    ///
    /// # Errors
    ///
    /// If a key that is known here has a value that it cannot have.
    pub fn read<'m>(meta: impl Fn(&'static str) -> Option<&'m str>) -> Result<Self, OptionError> {
        let refuse = |key, value: &str, expected| {
            Err(OptionError { key, value: value.chars().take(100).collect(), expected })
        };
        let mut options = Self::default();
        match meta("delimiter") {
            None | Some("auto") => {}
            Some("tab") => options.delimiter = Some(b'\t'),
            Some(other) => match other.as_bytes() {
                [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => {
                    options.delimiter = Some(*byte);
                }
                _ => return refuse("delimiter", other, "`auto`, `tab` or one ASCII character"),
            },
        }
        options.header = match meta("header") {
            None | Some("auto") => Header::Guess,
            Some("true") => Header::Present,
            Some("false") => Header::Absent,
            Some(other) => return refuse("header", other, "`auto`, `true` or `false`"),
        };
        options.decimal = match meta("decimal") {
            None | Some("auto") => Decimal::Guess,
            Some("point") => Decimal::Point,
            Some("comma") => Decimal::Comma,
            Some(other) => return refuse("decimal", other, "`auto`, `point` or `comma`"),
        };
        if let Some(text) = meta("top") {
            match text.parse() {
                Ok(top) if top <= MAX_TOP => options.top = top,
                _ => return refuse("top", text, "a whole number from 0 to 100"),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &'static str, value: &'static str) -> Result<Options, OptionError> {
        Options::read(|asked| (asked == key).then_some(value))
    }

    #[test]
    fn nothing_asked_gives_the_defaults() {
        assert_eq!(Options::read(|_| None), Ok(Options::default()));
    }

    #[test]
    fn each_option_is_read() {
        assert_eq!(read("delimiter", "tab").unwrap().delimiter, Some(b'\t'));
        assert_eq!(read("delimiter", "~").unwrap().delimiter, Some(b'~'));
        assert_eq!(read("delimiter", "auto").unwrap().delimiter, None);
        assert_eq!(read("header", "true").unwrap().header, Header::Present);
        assert_eq!(read("header", "false").unwrap().header, Header::Absent);
        assert_eq!(read("decimal", "comma").unwrap().decimal, Decimal::Comma);
        assert_eq!(read("top", "0").unwrap().top, 0);
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        for (key, value) in [
            ("delimiter", ""),
            ("delimiter", "||"),
            ("delimiter", "\""),
            ("delimiter", "ä"),
            ("header", "yes"),
            ("decimal", "dot"),
            ("top", "101"),
            ("top", "-1"),
        ] {
            let error = read(key, value).unwrap_err();
            assert_eq!(error.key, key);
            assert!(error.to_string().contains(error.expected), "{error}");
        }
    }
}
