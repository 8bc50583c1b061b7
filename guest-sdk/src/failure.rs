//! Why a handler did not produce an output, and how other errors become that.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Why a handler did not produce an output.
///
/// A *retryable* failure is one that another attempt may not meet; the task's retry
/// policy decides when that is. A *permanent* failure is one that every attempt
/// would meet: the task becomes a dead letter at once.
///
/// Every [`std::error::Error`] turns into a retryable failure, so that `?` works on
/// it; the message is the error's and those of its sources. Where the error is
/// permanent say so with [`OrFail::or_reject`].
///
/// ```
/// use std::time::Duration;
/// use bulkhead_guest::Failure;
///
/// let busy = Failure::retry("the printer is busy").after(Duration::from_secs(30));
/// assert!(busy.is_retryable());
/// let wrong = Failure::permanent("no such printer").details(["lp0", "lp1"]);
/// assert_eq!(wrong.details_json(), Some(r#"["lp0","lp1"]"#));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    details: Option<String>,
    retry: Option<Wait>,
}

/// When the next attempt may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    ByPolicy,
    AtLeast(Duration),
}

impl Failure {
    /// A failure that another attempt may not meet.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: None, retry: Some(Wait::ByPolicy) }
    }

    /// A failure that every attempt would meet.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: None, retry: None }
    }

    /// Wait at least this long before the next attempt. Means nothing for a
    /// permanent failure.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.retry = self.retry.map(|_| Wait::AtLeast(delay));
        self
    }

    /// Say more, for whoever looks into it. The details are kept as JSON; details
    /// that JSON cannot hold are replaced by a string that says so.
    #[must_use]
    pub fn details(mut self, details: impl Serialize) -> Self {
        self.details = Some(serde_json::to_string(&details).unwrap_or_else(|error| {
            serde_json::Value::String(format!("the details are no JSON: {error}")).to_string()
        }));
        self
    }

    /// Whether another attempt makes sense.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retry.is_some()
    }

    /// What went wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details, as JSON text.
    #[must_use]
    pub fn details_json(&self) -> Option<&str> {
        self.details.as_deref()
    }

    /// The shortest wait that the failure asks for.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        match self.retry {
            Some(Wait::AtLeast(delay)) => Some(delay),
            Some(Wait::ByPolicy) | None => None,
        }
    }

    /// The message and the details, to be handed to the host.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn into_texts(self) -> (String, Option<String>) {
        (self.message, self.details)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Retryable. `Failure` itself is no `Error`, or this could not exist.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(chain(&error))
    }
}

/// Say of an error or an absent value whether another attempt makes sense.
///
/// `why` goes before the error's own message. Works on every `Result` whose error
/// can become a boxed error (`anyhow::Error` and `String` too) and on `Option`.
///
/// ```
/// use bulkhead_guest::prelude::*;
///
/// fn page(text: &str) -> Result<u32, Failure> {
///     text.parse().or_reject("read the page number")
/// }
/// let failure = page("x").unwrap_err();
/// assert_eq!(failure.message(), "read the page number: invalid digit found in string");
/// assert!(!failure.is_retryable());
/// ```
pub trait OrFail<T> {
    /// Another attempt may not meet this.
    fn or_retry(self, why: &str) -> Result<T, Failure>;

    /// Every attempt would meet this.
    fn or_reject(self, why: &str) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error>>> OrFail<T> for Result<T, E> {
    fn or_retry(self, why: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::retry(format!("{why}: {}", chain(&*error.into()))))
    }

    fn or_reject(self, why: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::permanent(format!("{why}: {}", chain(&*error.into()))))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_retry(self, why: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::retry(why))
    }

    fn or_reject(self, why: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::permanent(why))
    }
}

/// The error's message and those of its sources. A source that the message before
/// it already ends with is not repeated.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|source| source as &dyn Error)
        }
    }

    fn layers(messages: &[&'static str]) -> Layer {
        let (first, rest) = messages.split_first().unwrap();
        Layer(first, (!rest.is_empty()).then(|| Box::new(layers(rest))))
    }

    #[test]
    fn the_message_of_an_error_names_its_sources_once() {
        for (messages, expected) in
            [(&["a"][..], "a"), (&["a", "b", "c"], "a: b: c"), (&["a: b", "b", "c"], "a: b: c")]
        {
            assert_eq!(Failure::from(layers(messages)).message(), expected);
        }
    }

    #[test]
    fn every_error_is_retryable_until_it_is_rejected() {
        fn open() -> Result<(), Failure> {
            Err(std::io::Error::other("the disk is gone"))?;
            Ok(())
        }
        assert_eq!(open(), Err(Failure::retry("the disk is gone")));
        let failed = Err::<(), _>("no digits");
        assert_eq!(failed.or_retry("parse"), Err(Failure::retry("parse: no digits")));
        assert_eq!(failed.or_reject("parse"), Err(Failure::permanent("parse: no digits")));
        let failed = Err::<(), _>(anyhow::anyhow!("inner").context("outer"));
        assert_eq!(failed.or_reject("parse"), Err(Failure::permanent("parse: outer: inner")));
        assert_eq!(None::<()>.or_reject("no key"), Err(Failure::permanent("no key")));
        assert_eq!(None::<()>.or_retry("no key"), Err(Failure::retry("no key")));
        assert_eq!(Some(1).or_reject("no key"), Ok(1));
    }

    #[test]
    fn only_a_retryable_failure_has_a_delay() {
        let second = Duration::from_secs(1);
        assert_eq!(Failure::retry("").after(second).delay(), Some(second));
        assert_eq!(Failure::retry("").delay(), None);
        let permanent = Failure::permanent("").after(second);
        assert_eq!((permanent.delay(), permanent.is_retryable()), (None, false));
    }

    #[test]
    fn details_that_are_no_json_say_so() {
        let details = std::collections::BTreeMap::from([((1, 2), 3)]);
        let failure = Failure::retry("").details(details);
        let text: String = serde_json::from_str(failure.details_json().unwrap()).unwrap();
        assert!(text.starts_with("the details are no JSON: "), "{text}");
    }
}
