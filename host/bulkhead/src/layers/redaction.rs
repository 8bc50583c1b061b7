//! `redaction`: what stands after a key that is secret is taken out of what is kept of an
//! attempt: log lines and their fields, the failure's message, details and backtrace.
//!
//! It is a net for mistakes, by names of keys. Secrets that the host hands out are replaced by
//! their values, with or without it; outputs are data and stay as they are.

use async_trait::async_trait;
use bulkhead_core::Outcome;

use super::{AttemptLayer, AttemptReply, AttemptRequest, Next};

/// What stands in for a value.
const REDACTED: &str = "[redacted]";

/// Takes out the values of these keys.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// In lower case; `-` and `_` are alike.
    keys: Vec<String>,
}

impl Redaction {
    /// The keys whose values are secret by default.
    pub const KEYS: [&str; 9] = [
        "authorization",
        "api_key",
        "apikey",
        "cookie",
        "passwd",
        "password",
        "private_key",
        "secret",
        "token",
    ];

    /// The values of these keys, whatever their case. Part of a longer word they count too:
    /// `token` takes `access_token` and `Token-2`.
    #[must_use]
    pub fn of(keys: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let keys = keys.into_iter().map(|key| key.as_ref().to_ascii_lowercase().replace('-', "_"));
        Self { keys: keys.filter(|key| !key.is_empty()).collect() }
    }

    fn is_secret(&self, word: &str) -> bool {
        let word = word.to_ascii_lowercase().replace('-', "_");
        self.keys.iter().any(|key| word.contains(key))
    }

    /// A text without the values of secret keys.
    fn text(&self, text: &mut String) {
        let mut clean = String::new();
        let mut rest = text.as_str();
        while let Some(separator) = rest.find([':', '=']) {
            let (before, after) = rest.split_at(separator);
            let (mark, value) = after.split_at(1);
            let length = match self.is_secret(last_word(before)) {
                true => value_length(value, mark == "="),
                false => None,
            };
            clean.push_str(before);
            clean.push_str(mark);
            rest = value;
            if let Some((from, to)) = length {
                clean.push_str(&value[..from]);
                clean.push_str(REDACTED);
                rest = &value[to..];
            }
        }
        if !clean.is_empty() {
            clean.push_str(rest);
            *text = clean;
        }
    }
}

/// The word at the end of a text, without quotes around it.
fn last_word(before: &str) -> &str {
    let before = before.trim_end().trim_end_matches(['"', '\'', '\\']);
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let from = before.char_indices().rev().take_while(|(_, c)| is_part(*c)).last();
    from.map_or("", |(at, _)| &before[at..])
}

/// Where a value begins and ends; none if there is none. In quotes up to their end; else up to
/// the end of its line or to what parts it from the next one. After `=` a space does that, too.
fn value_length(value: &str, ends_at_space: bool) -> Option<(usize, usize)> {
    let lead = value.len() - value.trim_start_matches([' ', '\t', '\\']).len();
    let trimmed = &value[lead..];
    let first = trimmed.chars().next()?;
    if matches!(first, '"' | '\'') {
        let inner = &trimmed[1..];
        // In a document inside of a text the quotes are escaped themselves.
        let length = match value[..lead].ends_with('\\') {
            true => inner.find(&format!("\\{first}")),
            false => closing(inner, first),
        };
        let from = lead + 1;
        return Some((from, from + length.unwrap_or(inner.len())));
    }
    let ends = |c: char| {
        matches!(c, ',' | ';' | '&' | '\n' | '\r' | '}' | ')' | '"' | '\'')
            || ends_at_space && c.is_whitespace()
    };
    let end = trimmed.find(ends).unwrap_or(trimmed.len());
    (end > 0).then_some((lead, lead + end))
}

/// Where the quote is that ends a text.
fn closing(inner: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    inner.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

#[async_trait]
impl AttemptLayer for Redaction {
    async fn around<'a>(&'a self, request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        let mut reply = next.run(request).await;
        let AttemptReply::Ended(end) = &mut reply else { return reply };
        for line in &mut end.logs {
            self.text(&mut line.message);
            for (key, value) in &mut line.fields {
                match self.is_secret(key) {
                    true => *value = REDACTED.to_owned(),
                    false => self.text(value),
                }
            }
        }
        if let Outcome::Failed(failure) = &mut end.outcome {
            self.text(&mut failure.message);
            failure.details.iter_mut().for_each(|details| self.text(details));
            failure.backtrace.iter_mut().for_each(|frame| self.text(frame));
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(text: &str) -> String {
        let mut text = text.to_owned();
        Redaction::of(Redaction::KEYS).text(&mut text);
        text
    }

    #[test]
    fn values_of_secret_keys_are_taken_out_in_the_forms_that_they_have() {
        for (text, expected) in [
            ("password=hunter2 user=ada", "password=[redacted] user=ada"),
            ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
            (
                "{\"access_token\": \"a b\", \"n\": 1}",
                "{\"access_token\": \"[redacted]\", \"n\": 1}",
            ),
            ("{\\\"token\\\": \\\"a\\\"}", "{\\\"token\\\": \\\"[redacted]\\\"}"),
            ("x-api-key='k', next", "x-api-key='[redacted]', next"),
            ("?a=1&token=t&b=2", "?a=1&token=[redacted]&b=2"),
            ("secret: s\nplain: p", "secret: [redacted]\nplain: p"),
            ("password = \"un\\\"closed", "password = \"[redacted]"),
            ("time: 12:30, ratio=0.5", "time: 12:30, ratio=0.5"),
            ("password:", "password:"),
            ("no keys at all", "no keys at all"),
        ] {
            assert_eq!(clean(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_text_it_is_cleaned_without_harm(text in "[a-z\"'\\\\:= ,é\n]{0,60}") {
            let once = clean(&text);
            prop_assert!(once.len() <= text.len() + REDACTED.len() * text.len());
        }

        #[test]
        fn a_plain_secret_never_stays(
            before in "[ a-z,\n]{0,10}", key in "(password|API-KEY|my_token)",
            mark in "( ?= ?|: ?)", value in "[A-Z0-9]{6,12}", after in "[ ,;\n][a-z]{0,5}",
        ) {
            let text = format!("{before} {key}{mark}{value}{after}");
            prop_assert!(!clean(&text).contains(&value), "{}", clean(&text));
        }
    }
}
