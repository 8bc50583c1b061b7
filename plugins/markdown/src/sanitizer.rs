//! Which HTML may leave.
//!
//! Everything that is not listed here or in ammonia's defaults is dropped: scripts,
//! styles, event handlers, forms, frames, `javascript:` and `data:` addresses. Ids
//! get a prefix, so that a document cannot take the names that the page around it
//! uses. Knows no Markdown beyond the classes and styles that its renderer writes.

use std::borrow::Cow;

use ammonia::{Builder, Url, UrlRelative, UrlRelativeEvaluate};

/// What every id starts with, and so every link to one.
const ID_PREFIX: &str = "user-content-";

/// Elements of headings, footnotes and their like that may carry an id.
const WITH_ID: [&str; 7] = ["h1", "h2", "h3", "h4", "h5", "h6", "div"];

/// Elements whose class is checked by [`keep_class`].
const WITH_CLASS: [&str; 5] = ["blockquote", "code", "div", "pre", "sup"];

/// Drop from `html` whatever could harm the reader; resolve relative addresses
/// against `base` if there is one.
#[must_use]
pub(crate) fn sanitize(html: &str, base: Option<&Url>) -> String {
    let mut policy = Builder::default();
    policy
        .add_tags(["input"])
        .add_tag_attributes("input", ["checked"])
        .set_tag_attribute_value("input", "type", "checkbox")
        .set_tag_attribute_value("input", "disabled", "")
        .add_tag_attributes("th", ["style"])
        .add_tag_attributes("td", ["style"])
        .link_rel(Some("noopener noreferrer nofollow"))
        .id_prefix(Some(ID_PREFIX))
        .attribute_filter(keep_attribute);
    for tag in WITH_ID {
        policy.add_tag_attributes(tag, ["id"]);
    }
    for tag in WITH_CLASS {
        policy.add_tag_attributes(tag, ["class"]);
    }
    if let Some(base) = base {
        policy.url_relative(UrlRelative::Custom(Box::new(Base(base.clone()))));
    }
    policy.clean(html).to_string()
}

fn keep_attribute<'v>(element: &str, attribute: &str, value: &'v str) -> Option<Cow<'v, str>> {
    match (element, attribute) {
        ("a", "href") => Some(match value.strip_prefix('#') {
            Some(id) if !id.is_empty() && !id.starts_with(ID_PREFIX) => {
                Cow::Owned(format!("#{ID_PREFIX}{id}"))
            }
            _ => Cow::Borrowed(value),
        }),
        (_, "class") => keep_class(element, value).then_some(Cow::Borrowed(value)),
        ("th" | "td", "style") => {
            matches!(value, "text-align: left" | "text-align: center" | "text-align: right")
                .then_some(Cow::Borrowed(value))
        }
        _ => Some(Cow::Borrowed(value)),
    }
}

/// Whether a class is one that the renderer writes, rather than one that could make
/// the document look like a part of the page around it.
fn keep_class(element: &str, class: &str) -> bool {
    match element {
        "code" => class.strip_prefix("language-").is_some_and(|name| {
            !name.is_empty()
                && name.len() <= 40
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_.#".contains(&b))
        }),
        "blockquote" => matches!(
            class,
            "markdown-alert-note"
                | "markdown-alert-tip"
                | "markdown-alert-important"
                | "markdown-alert-warning"
                | "markdown-alert-caution"
        ),
        "div" => class == "footnote-definition",
        "sup" => matches!(class, "footnote-reference" | "footnote-definition-label"),
        _ => false,
    }
}

/// What relative addresses are resolved against; links within the document stay.
struct Base(Url);

impl UrlRelativeEvaluate<'_> for Base {
    fn evaluate<'a>(&self, address: &'a str) -> Option<Cow<'a, str>> {
        if address.starts_with('#') {
            return Some(Cow::Borrowed(address));
        }
        self.0.join(address).ok().map(|resolved| Cow::Owned(String::from(resolved)))
    }
}
