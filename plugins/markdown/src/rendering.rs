//! From Markdown to HTML that is safe to show.
//!
//! Whatever goes in, what comes out has passed the sanitiser: nothing reaches the
//! output around it except the fixed frame of a page and its escaped title. Knows
//! nothing of tasks.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, Parser, Tag, TagEnd, html};
use thiserror::Error;

use crate::options::{Layout, Options, RawHtml};
use crate::sanitizer::sanitize;

/// The longest document that is rendered, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 2 << 20;

/// How deep blocks and inlines may nest. Deeper ones are not written by people, and
/// the HTML parser's work grows with the depth.
pub const MAX_DEPTH: usize = 200;

/// How much of a heading goes into its anchor.
const MAX_SLUG_CHARS: usize = 80;

/// Why a document was not rendered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    /// The document is not UTF-8.
    #[error("the document is not UTF-8: byte {at} (line {line}) is invalid; convert it to UTF-8")]
    NotUtf8 {
        /// Offset of the first byte that is not part of a character.
        at: usize,
        /// The line it is on, from 1.
        line: usize,
    },
    /// The document is longer than [`MAX_DOCUMENT_BYTES`].
    #[error("the document has {bytes} bytes; at most {MAX_DOCUMENT_BYTES} are rendered; split it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The document nests deeper than [`MAX_DEPTH`].
    #[error("line {line} nests more than {MAX_DEPTH} elements deep; flatten its quotes or lists")]
    TooDeep {
        /// The line where the depth is reached, from 1.
        line: usize,
    },
}

/// Render a document given as bytes; a byte order mark is skipped.
///
/// # Errors
///
/// If the document is not UTF-8, too long or nested too deep.
pub fn render_bytes(document: &[u8], options: &Options) -> Result<String, RenderError> {
    let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    let text = std::str::from_utf8(document).map_err(|error| {
        let at = error.valid_up_to();
        RenderError::NotUtf8 { at, line: line_of(document, at) }
    })?;
    render(text, options)
}

/// Render a document.
///
/// # Errors
///
/// If the document is too long or nested too deep.
pub fn render(document: &str, options: &Options) -> Result<String, RenderError> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(RenderError::TooLong { bytes: document.len() });
    }
    let mut events = parse(document, options)?;
    let first_heading = anchor_headings(&mut events);

    let mut unsafe_html = String::with_capacity(document.len() + document.len() / 2);
    html::push_html(&mut unsafe_html, events.into_iter());
    let body = sanitize(&unsafe_html, options.base_url.as_ref());
    Ok(match &options.layout {
        Layout::Fragment => body,
        Layout::Page { title } => {
            let title = title.as_deref().or(first_heading.as_deref()).unwrap_or("Document");
            frame_page(title, &body)
        }
    })
}

fn parse<'d>(document: &'d str, options: &Options) -> Result<Vec<Event<'d>>, RenderError> {
    use pulldown_cmark::Options as Syntax;
    let mut syntax = Syntax::ENABLE_TABLES
        | Syntax::ENABLE_FOOTNOTES
        | Syntax::ENABLE_STRIKETHROUGH
        | Syntax::ENABLE_TASKLISTS
        | Syntax::ENABLE_GFM;
    syntax.set(Syntax::ENABLE_SMART_PUNCTUATION, options.smart_punctuation);

    let mut depth = 0_usize;
    let mut events = Vec::new();
    for (event, span) in Parser::new_ext(document, syntax).into_offset_iter() {
        match &event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(RenderError::TooDeep { line: line_of(document.as_bytes(), span.start) });
        }
        events.push(match event {
            Event::Html(html) | Event::InlineHtml(html) if options.raw_html == RawHtml::Escape => {
                Event::Text(html)
            }
            Event::SoftBreak if options.hard_breaks => Event::HardBreak,
            event => event,
        });
    }
    Ok(events)
}

/// Give every heading an id made of its text, so that sections can be linked to, and
/// return the text of the first heading.
fn anchor_headings(events: &mut [Event<'_>]) -> Option<String> {
    let mut slugs = BTreeMap::<String, u32>::new();
    let mut first_heading = None;
    let mut at = 0;
    while at < events.len() {
        if matches!(events[at], Event::Start(Tag::Heading { .. })) {
            let text = heading_text(&events[at + 1..]);
            let slug = unique_slug(&text, &mut slugs);
            if let Event::Start(Tag::Heading { id, .. }) = &mut events[at] {
                *id = Some(CowStr::from(slug));
            }
            if first_heading.is_none() && !text.trim().is_empty() {
                first_heading = Some(text);
            }
        }
        at += 1;
    }
    first_heading
}

fn heading_text(events: &[Event<'_>]) -> String {
    let mut text = String::new();
    for event in events {
        match event {
            Event::End(TagEnd::Heading(_)) => break,
            Event::Text(part) | Event::Code(part) => text.push_str(part),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            _ => {}
        }
    }
    text
}

fn unique_slug(text: &str, slugs: &mut BTreeMap<String, u32>) -> String {
    let mut slug = String::new();
    for c in text.trim().chars().flat_map(char::to_lowercase).take(MAX_SLUG_CHARS) {
        if c.is_alphanumeric() || c == '_' {
            slug.push(c);
        } else if (c.is_whitespace() || c == '-') && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    if slug.is_empty() {
        slug.push_str("section");
    }
    let uses = slugs.entry(slug.clone()).or_default();
    *uses += 1;
    if *uses == 1 { slug } else { format!("{slug}-{}", *uses - 1) }
}

fn frame_page(title: &str, body: &str) -> String {
    let title = title.trim().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!doctype html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn line_of(document: &[u8], at: usize) -> usize {
    1 + document.iter().take(at).filter(|byte| **byte == b'\n').count()
}
