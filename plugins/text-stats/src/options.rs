//! What a producer may say about a text, read from the task's metadata.
//!
//! Unknown keys are left alone, since metadata also carries what other parties put
//! there; a known key with a bad value is refused with the values it could have.

use thiserror::Error;
use whatlang::Lang;

/// How a text is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// The text's language; without it, guessed.
    pub language: Option<Lang>,
    /// How fast the reader is, in words per minute; without it, an average.
    pub words_per_minute: Option<u32>,
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
        let refuse = |key, value: &str, expected| OptionError {
            key,
            value: value.chars().take(100).collect(),
            expected,
        };
        let language = match meta("language") {
            None | Some("auto") => None,
            Some(code) => Some(Lang::from_code(code).ok_or_else(|| {
                refuse("language", code, "`auto` or an ISO 639-3 code such as `eng` or `deu`")
            })?),
        };
        let words_per_minute = match meta("words-per-minute") {
            None => None,
            Some(text) => {
                let pace = text.parse().ok().filter(|pace| (50..=2_000).contains(pace));
                let expected = "a whole number from 50 to 2000";
                Some(pace.ok_or_else(|| refuse("words-per-minute", text, expected))?)
            }
        };
        Ok(Self { language, words_per_minute })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &'static str, value: &'static str) -> Result<Options, OptionError> {
        Options::read(|asked| (asked == key).then_some(value))
    }

    #[test]
    fn options_are_read() {
        assert_eq!(Options::read(|_| None), Ok(Options::default()));
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
            assert!(error.to_string().contains(error.expected), "{error}");
        }
    }
}
