//! What a producer may ask of a rendering, read from the task's metadata.
//!
//! Unknown keys are left alone, since metadata also carries what other parties put
//! there; a known key with a bad value is refused with the values it could have.

use ammonia::Url;
use bulkhead_guest::options::{OptionError, Reader};

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

impl Options {
    /// Read the options of a task.
    ///
    /// # Errors
    ///
    /// If a key that is known here has a value that it cannot have.
    pub fn read(given: Reader<'_>) -> Result<Self, OptionError> {
        let title = given.text("title").map(str::to_owned);
        let layouts = [("fragment", Layout::Fragment), ("page", Layout::Page { title })];
        let raw_htmls = [("sanitize", RawHtml::Sanitize), ("escape", RawHtml::Escape)];
        let urls = "an absolute http or https URL";
        Ok(Self {
            layout: given.choice("layout", &layouts)?.unwrap_or_default(),
            raw_html: given.choice("raw-html", &raw_htmls)?.unwrap_or_default(),
            smart_punctuation: given.flag("smart-punctuation")?.unwrap_or(false),
            hard_breaks: given.flag("hard-breaks")?.unwrap_or(false),
            base_url: given.parsed("base-url", urls, web_address)?,
        })
    }
}

fn web_address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
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
            assert!(error.to_string().contains(&error.expected), "{error}");
        }
    }
}
