//! What a producer may say about a text, read from the task's metadata.
//!
//! Unknown keys are left alone, since metadata also carries what other parties put
//! there; a known key with a bad value is refused with the values it could have.

use bulkhead_guest::options::{OptionError, Reader};
use whatlang::Lang;

/// How a text is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// The text's language; without it, guessed.
    pub language: Option<Lang>,
    /// How fast the reader is, in words per minute; without it, an average.
    pub words_per_minute: Option<u32>,
}

impl Options {
    /// Read the options of a task.
    ///
    /// # Errors
    ///
    /// If a key that is known here has a value that it cannot have.
    pub fn read(given: Reader<'_>) -> Result<Self, OptionError> {
        let languages = "`auto` or an ISO 639-3 code such as `eng` or `deu`";
        let language = |text: &str| match text {
            "auto" => Some(None),
            code => Lang::from_code(code).map(Some),
        };
        Ok(Self {
            language: given.parsed("language", languages, language)?.flatten(),
            words_per_minute: given.number("words-per-minute", 50..=2_000)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &'static str, value: &'static str) -> Result<Options, OptionError> {
        Options::read(Reader::of(&[(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn options_are_read() {
        assert_eq!(Options::read(Reader::of(&[])), Ok(Options::default()));
        assert_eq!(read("language", "deu").unwrap().language, Some(Lang::Deu));
        assert_eq!(read("language", "auto").unwrap().language, None);
        assert_eq!(read("words-per-minute", "180").unwrap().words_per_minute, Some(180));
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        for (key, value) in [
            ("language", "english"),
            ("language", ""),
            ("words-per-minute", "49"),
            ("words-per-minute", "fast"),
        ] {
            let error = read(key, value).unwrap_err();
            assert_eq!(error.key, key);
            assert!(error.to_string().contains(&error.expected), "{error}");
        }
    }
}
