//! Options that a producer gives in a task's metadata, read with their types.
//!
//! Metadata also carries what other parties put there, so unknown keys are left alone. A
//! known key with a value that it cannot have is a permanent failure that names the values
//! it could have: no later attempt would find another.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::Failure;

/// How much of a bad value an error repeats.
const MAX_SHOWN_CHARS: usize = 100;

/// Reads options from metadata; of a key that is given twice, the first value.
///
/// ```
/// use bulkhead_guest::prelude::*;
///
/// #[derive(Clone, Copy)]
/// enum Fit { Contain, Cover }
///
/// #[handler]
/// fn shrink(image: Vec<u8>, task: &Task) -> Result<Vec<u8>, Failure> {
///     let options = task.options();
///     let width: u32 = options.number("width", 1..=4096)?.unwrap_or(320);
///     let fits = [("contain", Fit::Contain), ("cover", Fit::Cover)];
///     let fit = options.choice("fit", &fits)?.unwrap_or(Fit::Contain);
///     let upright = options.flag("upright")?.unwrap_or(true);
/// #   let _ = (width, fit, upright);
///     Ok(image)
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Reader<'m>(&'m [(String, String)]);

/// An option with a value that it cannot have. It becomes a permanent failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// The metadata key.
    pub key: &'static str,
    /// The value it had, at most 100 characters of it.
    pub value: String,
    /// The values it could have.
    pub expected: String,
}

impl<'m> Reader<'m> {
    /// Read from these pairs.
    #[must_use]
    pub fn of(metadata: &'m [(String, String)]) -> Self {
        Self(metadata)
    }

    /// The text of an option that may be anything.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'m str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &'static str) -> Result<Option<bool>, OptionError> {
        self.choice(key, &[("true", true), ("false", false)])
    }

    /// One of several words and what it stands for.
    pub fn choice<T: Clone>(
        &self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, OptionError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, meant)) => Ok(Some(meant.clone())),
            None => Err(OptionError::new(key, text, listed(choices))),
        }
    }

    /// A whole number within bounds.
    pub fn number<N: FromStr + PartialOrd + Display>(
        &self,
        key: &'static str,
        bounds: RangeInclusive<N>,
    ) -> Result<Option<N>, OptionError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.parse() {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => {
                let (least, most) = (bounds.start(), bounds.end());
                let expected = format!("a whole number from {least} to {most}");
                Err(OptionError::new(key, text, expected))
            }
        }
    }

    /// Whatever `parse` makes of it; `expected` says what it takes.
    pub fn parsed<T>(
        &self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&'m str) -> Option<T>,
    ) -> Result<Option<T>, OptionError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(OptionError::new(key, text, expected.to_owned())),
        }
    }
}

/// The words of a choice, as a sentence lists them.
fn listed<T>(choices: &[(&str, T)]) -> String {
    let mut list = String::new();
    for (at, (word, _)) in choices.iter().enumerate() {
        let before = match at {
            0 => "",
            _ if at + 1 == choices.len() => " or ",
            _ => ", ",
        };
        list.extend([before, "`", word, "`"]);
    }
    list
}

impl OptionError {
    fn new(key: &'static str, value: &str, expected: String) -> Self {
        Self { key, value: value.chars().take(MAX_SHOWN_CHARS).collect(), expected }
    }
}

impl Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata `{}` is {:?}; use {}", self.key, self.value, self.expected)
    }
}

/// Permanent. It is no `Error`, since those become retryable failures.
impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Self {
        Self::permanent(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Vec<(String, String)> {
        let pairs = [("width", "64"), ("fit", "cover"), ("width", "1"), ("flat", "true")];
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn options_have_types_and_the_first_value_counts() {
        let metadata = metadata();
        let options = Reader::of(&metadata);
        assert_eq!(options.number("width", 1..=64), Ok(Some(64)));
        assert_eq!(options.number("height", 1..=64), Ok(None));
        assert_eq!(options.choice("fit", &[("contain", 1), ("cover", 2)]), Ok(Some(2)));
        assert_eq!((options.flag("flat"), options.flag("round")), (Ok(Some(true)), Ok(None)));
        assert_eq!(options.text("fit"), Some("cover"));
        assert_eq!(options.parsed("fit", "a letter", |text| text.chars().next()), Ok(Some('c')));
    }

    #[test]
    fn a_bad_value_is_refused_for_good_with_the_values_it_could_have() {
        let metadata = metadata();
        let options = Reader::of(&metadata);
        let refused = |error: OptionError| {
            let failure = Failure::from(error);
            assert!(!failure.is_retryable());
            failure.message().to_owned()
        };
        assert_eq!(
            refused(options.number("width", 65..=99).unwrap_err()),
            "metadata `width` is \"64\"; use a whole number from 65 to 99"
        );
        let choices = [("a", ()), ("b", ()), ("c", ())];
        assert_eq!(
            refused(options.choice("fit", &choices).unwrap_err()),
            "metadata `fit` is \"cover\"; use `a`, `b` or `c`"
        );
        assert!(refused(options.flag("fit").unwrap_err()).ends_with("use `true` or `false`"));
        let error = options.parsed("fit", "a URL", |_| None::<()>).unwrap_err();
        assert!(refused(error).ends_with("use a URL"));

        let long = [("key".to_owned(), "ü".repeat(1_000))];
        let error = Reader::of(&long).flag("key").unwrap_err();
        assert_eq!(error.value.chars().count(), MAX_SHOWN_CHARS);
    }
}
