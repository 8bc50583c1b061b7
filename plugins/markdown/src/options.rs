//! What a producer may ask of a rendering, read from the task's metadata.
//!
//! Unknown keys are left alone, since metadata also carries what other parties put
//! there; a known key with a bad value is refused with the values it could have.

use ammonia::Url;
use thiserror::Error;

/// How a document is rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// What comes out: a fragment or a page.
    pub layout: Layout,
    /// What becomes of HTML written in the Markdown.
    pub raw_html: RawHtml,
    /// Whether straight quotes, `--` and `...` become typographic ones.
    pub smart_punctuation: bool,
    /// Whether a line break in a paragraph becomes `<br>`.
    pub hard_breaks: bool,
    /// What relative links and image addresses are resolved against.
    pub base_url: Option<Url>,
}

/// What a rendering consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Layout {
    /// The elements of the body, to be placed in somebody's page.
    #[default]
    Fragment,
    /// A whole HTML page.
    Page {
        /// The page's title; without it, the text of the first heading.
        title: Option<String>,
    },
}

/// What becomes of HTML written in the Markdown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RawHtml {
    /// Harmless elements stay, the others go.
    #[default]
    Sanitize,
    /// It is shown as text.
    Escape,
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

impl OptionError {
    fn new(key: &'static str, value: &str, expected: &'static str) -> Self {
        Self { key, value: value.chars().take(100).collect(), expected }
    }
}

impl Options {
    /// Read the options through `meta`, which looks up a metadata key.
    ///
    /// # Errors
    ///
    /// If a key that is known here has a value that it cannot have.
    pub fn read<'m>(meta: impl Fn(&'static str) -> Option<&'m str>) -> Result<Self, OptionError> {
        let switch = |key| match meta(key) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(OptionError::new(key, other, "`true` or `false`")),
        };
        let layout = match meta("layout") {
            None | Some("fragment") => Layout::Fragment,
            Some("page") => Layout::Page { title: meta("title").map(str::to_owned) },
            Some(other) => {
                return Err(OptionError::new("layout", other, "`fragment` or `page`"));
            }
        };
        let raw_html = match meta("raw-html") {
            None | Some("sanitize") => RawHtml::Sanitize,
            Some("escape") => RawHtml::Escape,
            Some(other) => {
                return Err(OptionError::new("raw-html", other, "`sanitize` or `escape`"));
            }
        };
        let base_url = match meta("base-url") {
            None => None,
            Some(text) => Some(web_address(text)?),
        };
        Ok(Self {
            layout,
            raw_html,
            smart_punctuation: switch("smart-punctuation")?,
            hard_breaks: switch("hard-breaks")?,
            base_url,
        })
    }
}

fn web_address(text: &str) -> Result<Url, OptionError> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| OptionError::new("base-url", text, "an absolute http or https URL"))
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
        assert!(read("smart-punctuation", "true").unwrap().smart_punctuation);
        assert!(read("hard-breaks", "true").unwrap().hard_breaks);
        assert_eq!(read("raw-html", "escape").unwrap().raw_html, RawHtml::Escape);
        assert_eq!(read("layout", "page").unwrap().layout, Layout::Page { title: None });
        let base = read("base-url", "https://example.com/docs/").unwrap().base_url;
        assert_eq!(base.unwrap().as_str(), "https://example.com/docs/");
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        for (key, value) in [
            ("smart-punctuation", "yes"),
            ("hard-breaks", ""),
            ("layout", "book"),
            ("raw-html", "keep"),
            ("base-url", "docs/"),
            ("base-url", "javascript:alert(1)"),
        ] {
            let error = read(key, value).unwrap_err();
            assert_eq!(error.key, key);
            assert!(error.to_string().contains(error.expected), "{error}");
        }
    }
}
