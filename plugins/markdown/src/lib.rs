//! Markdown to sanitised HTML.
