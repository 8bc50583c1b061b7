//! Markdown to sanitised HTML.
//!
//! A plugin for the task type `markdown`. The rendering itself is ordinary Rust; this
//! file only ties it to tasks: metadata to options, errors to permanent failures,
//! since no later attempt would find the same document better.

mod options;
mod rendering;
mod sanitizer;

use bulkhead_guest::prelude::*;

pub use options::{Layout, Options, RawHtml};
pub use rendering::{MAX_DEPTH, MAX_DOCUMENT_BYTES, RenderError, render, render_bytes};

/// Renders Markdown (GitHub's dialect: tables, task lists, footnotes, alerts) as HTML
/// that is safe to show: scripts, styles, forms and event handlers are dropped.
#[handler(
    task_type = "markdown",
    fuel = 5_000_000_000,
    memory = "128 MiB",
    timeout = "10s",
    max_attempts = 2
)]
fn markdown(document: Payload, task: &Task) -> Result<Payload, Failure> {
    let options = Options::read(task.options())?;
    let html = render_bytes(&document.data, &options).map_err(reject)?;
    Ok(Payload::new("text/html; charset=utf-8", html))
}

fn reject(error: impl std::error::Error) -> Failure {
    Failure::permanent(error.to_string())
}

plugin!(markdown);

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_guest::testing::{Attempt, run};

    #[test]
    fn a_document_becomes_html() {
        let sample = Payload::new("text/markdown", include_str!("../samples/field-notes.md"));
        let output = run::<markdown>(Attempt::new(sample).meta("layout", "page")).output.unwrap();
        assert_eq!(output.content_type, "text/html; charset=utf-8");
        let html = String::from_utf8(output.data).unwrap();
        assert!(html.contains("<title>Field notes: the harbour gauge</title>"), "{html}");
        assert!(!html.contains("<script") && !html.contains("onclick"), "{html}");
    }

    #[test]
    fn bad_input_and_bad_options_are_permanent() {
        let failure = run::<markdown>(Payload::bytes(b"\xff".to_vec())).output.unwrap_err();
        assert!(!failure.is_retryable());
        assert!(failure.message().contains("not UTF-8"), "{failure}");
        let attempt = Attempt::new(Payload::text("a")).meta("layout", "book");
        let failure = run::<markdown>(attempt).output.unwrap_err();
        assert!(!failure.is_retryable() && failure.message().contains("layout"), "{failure}");
    }
}
