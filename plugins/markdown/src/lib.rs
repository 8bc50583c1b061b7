//! Markdown to sanitised HTML.

mod options;
mod rendering;
mod sanitizer;

pub use options::{Layout, OptionError, Options, RawHtml};
pub use rendering::{MAX_DEPTH, MAX_DOCUMENT_BYTES, RenderError, render, render_bytes};
