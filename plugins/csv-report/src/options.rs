//! What a producer may ask of a report, read from the task's metadata.
//!
//! Unknown keys are left alone, since metadata also carries what other parties put
//! there; a known key with a bad value is refused with the values it could have.

use bulkhead_guest::options::{OptionError, Reader};

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

impl Options {
    /// Read the options of a task.
    ///
    /// # Errors
    ///
    /// If a key that is known here has a value that it cannot have.
    pub fn read(given: Reader<'_>) -> Result<Self, OptionError> {
        let default = Self::default();
        let headers =
            [("auto", Header::Guess), ("true", Header::Present), ("false", Header::Absent)];
        let decimals =
            [("auto", Decimal::Guess), ("point", Decimal::Point), ("comma", Decimal::Comma)];
        let delimiters = "`auto`, `tab` or one ASCII character";
        Ok(Self {
            delimiter: given.parsed("delimiter", delimiters, delimiter)?.flatten(),
            header: given.choice("header", &headers)?.unwrap_or(default.header),
            decimal: given.choice("decimal", &decimals)?.unwrap_or(default.decimal),
            top: given.number("top", 0..=MAX_TOP)?.unwrap_or(default.top),
        })
    }
}

/// The delimiter that `text` names; nothing inside if it is to be guessed.
fn delimiter(text: &str) -> Option<Option<u8>> {
    match (text, text.as_bytes()) {
        ("auto", _) => Some(None),
        ("tab", _) => Some(Some(b'\t')),
        (_, [byte]) if byte.is_ascii() && !b"\"\r\n".contains(byte) => Some(Some(*byte)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &'static str, value: &'static str) -> Result<Options, OptionError> {
        Options::read(Reader::of(&[(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn nothing_asked_gives_the_defaults() {
        assert_eq!(Options::read(Reader::of(&[])), Ok(Options::default()));
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
            assert!(error.to_string().contains(&error.expected), "{error}");
        }
    }
}
