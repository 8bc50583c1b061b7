//! Secrets that were handed to an attempt, kept out of everything that it says.
//!
//! One place for all texts that leave the host: log lines, failures, backtraces, progress. An
//! attempt that read no secret pays nothing. A guest that means to tell a secret can encode it;
//! this keeps one from being told by accident.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bulkhead_core::{Failure, LogLine, Outcome};
use zeroize::Zeroizing;

use crate::secret::SecretValue;
use crate::text::{CUT, bounded};

/// Shortest piece of a secret that is looked for, in bytes.
const MIN_BYTES: usize = 6;

/// Shortest beginning of a secret that is taken out where a text was cut, in bytes.
const MIN_CUT_BYTES: usize = 3;

/// Shortest bound of a redacted text, in bytes: enough for a name.
const MIN_TEXT_BYTES: usize = 256;

/// Longest secret that is looked for in forms inside forms, in bytes: these are several times as
/// long, and the automaton takes memory for every byte of them.
const MAX_NESTED_BYTES: usize = 4 << 10;

/// The secrets that an attempt was handed.
#[derive(Default)]
pub(crate) struct Spoken {
    handed: Vec<(String, SecretValue)>,
    redactor: Option<Redactor>,
}

impl Spoken {
    /// The attempt was handed this value. Values too short to be told from other text are not
    /// looked for; no source has such.
    pub(crate) fn add(&mut self, name: &str, value: &SecretValue) {
        let known = |(_, known): &(String, SecretValue)| known == value;
        if value.expose().len() < MIN_BYTES || self.handed.iter().any(known) {
            return;
        }
        self.handed.push((name.to_owned(), value.clone()));
        self.redactor = Redactor::of(&self.handed);
    }

    /// What takes them out of texts; none if none was handed out.
    pub(crate) fn redactor(&self) -> Option<&Redactor> {
        self.redactor.as_ref()
    }
}

/// Takes secrets out of texts.
pub(crate) struct Redactor {
    automaton: AhoCorasick,
    patterns: Vec<Zeroizing<String>>,
    /// What stands for each pattern.
    replacements: Vec<String>,
}

impl Redactor {
    fn of(handed: &[(String, SecretValue)]) -> Option<Self> {
        let (mut patterns, mut replacements) = (Vec::new(), Vec::new());
        for (name, value) in handed {
            for form in forms(value.expose()) {
                patterns.push(Zeroizing::new(form));
                replacements.push(format!("[secret {name}]"));
            }
        }
        let built = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // A table for each byte of a long secret would take a thousand times as much.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns.iter().map(|pattern| pattern.as_bytes()));
        // The only errors are sizes far beyond what a secret may have.
        let automaton = built.ok()?;
        Some(Self { automaton, patterns, replacements })
    }

    /// Take every secret out of a text. It grows to at most 256 bytes or its own length.
    pub(crate) fn text(&self, text: &mut String) {
        if self.automaton.is_match(text.as_str()) {
            let longest = text.len().max(MIN_TEXT_BYTES);
            *text = bounded(self.automaton.replace_all(text, &self.replacements), longest);
        }
        if let Some(kept) = text.strip_suffix(CUT)
            && let Some((at, begun)) = self.begun(kept)
        {
            text.truncate(kept.len() - begun);
            text.push_str(&self.replacements[at]);
            text.push_str(CUT);
        }
    }

    /// Which pattern begins at the end of a text that was cut, and how many bytes of it.
    fn begun(&self, text: &str) -> Option<(usize, usize)> {
        let longest = |pattern: &str| {
            (MIN_CUT_BYTES..pattern.len().min(text.len() + 1)).rev().find(|length| {
                pattern.is_char_boundary(*length) && text.ends_with(&pattern[..*length])
            })
        };
        let begun = self.patterns.iter().enumerate();
        begun.filter_map(|(at, pattern)| Some((at, longest(pattern)?))).max_by_key(|(_, n)| *n)
    }

    /// Take every secret out of what an attempt failed with.
    pub(crate) fn outcome(&self, outcome: &mut Outcome) {
        let Outcome::Failed(Failure { message, details, backtrace, .. }) = outcome else { return };
        self.text(message);
        details.iter_mut().chain(backtrace).for_each(|text| self.text(text));
    }

    /// Take every secret out of what an attempt logged.
    pub(crate) fn logs(&self, logs: &mut [LogLine]) {
        for line in logs {
            self.text(&mut line.message);
            for (key, value) in &mut line.fields {
                self.text(key);
                self.text(value);
            }
        }
    }
}

/// The forms in which a value stands in texts: as it is, as a string of JSON and of Rust, as
/// either within another, and line by line.
fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    // JSON as the details of a failure is a string within JSON.
    let rounds = if value.len() <= MAX_NESTED_BYTES { 2 } else { 1 };
    for _ in 0..rounds {
        for at in 0..forms.len() {
            let json = serde_json::to_string(&forms[at]).unwrap_or_default();
            for quoted in [json, format!("{:?}", forms[at])] {
                // Without its own quotes, and no others.
                let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                forms.push(inner.unwrap_or_default().to_owned());
            }
            // Unlike the form above, with a backslash before `'`.
            forms.push(forms[at].escape_debug().to_string());
        }
        forms.sort();
        forms.dedup();
    }
    forms.extend(value.lines().map(|line| line.trim().to_owned()));
    forms.retain(|form| form.len() >= MIN_BYTES);
    forms.sort();
    forms.dedup();
    forms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(secrets: &[(&str, &str)], text: &str) -> String {
        let mut spoken = Spoken::default();
        let value = |text: &str| SecretValue::new(text.to_owned());
        secrets.iter().for_each(|(name, text)| spoken.add(name, &value(text)));
        let mut text = text.to_owned();
        if let Some(redactor) = spoken.redactor() {
            redactor.text(&mut text);
        }
        text
    }

    #[test]
    fn every_form_of_a_secret_is_replaced_by_its_name() {
        let token = [("token", "s3cret-value")];
        assert_eq!(redacted(&token, "a s3cret-value, b"), "a [secret token], b");
        assert_eq!(redacted(&token, "s3cret-values3cret-value"), "[secret token][secret token]");
        assert_eq!(redacted(&token, "s3cret-valu"), "s3cret-valu");
        let quoted = [("q", "say \"hello\"\tyou")];
        assert_eq!(redacted(&quoted, r#"{"x":"say \"hello\"\tyou"}"#), r#"{"x":"[secret q]"}"#);
        assert_eq!(redacted(&quoted, &format!("{:?}", quoted[0].1)), "\"[secret q]\"");
        let json = serde_json::to_string(quoted[0].1).unwrap();
        let nested = serde_json::to_string(&json).unwrap();
        assert_eq!(redacted(&quoted, &nested), r#""\"[secret q]\"""#);
        assert_eq!(redacted(&quoted, &format!("{json:?}")), r#""\"[secret q]\"""#);
        let single = [("q", "it's\u{5}a secret")];
        assert_eq!(redacted(&single, &format!("{:?}", single[0].1)), "\"[secret q]\"");
        assert_eq!(redacted(&single, &single[0].1.escape_debug().to_string()), "[secret q]");
        let key = [("key", "-----BEGIN-----\nMIIEow==\nxx\n-----END-----\n")];
        assert_eq!(redacted(&key, "MIIEow=="), "[secret key]");
        assert_eq!(redacted(&key, "xx"), "xx", "too short to be told from other text");
        assert_eq!(redacted(&[], "s3cret-value"), "s3cret-value");
    }

    #[test]
    fn the_longer_of_two_secrets_counts() {
        let both = [("short", "abcdef"), ("long", "abcdefgh")];
        assert_eq!(redacted(&both, "abcdefgh abcdef"), "[secret long] [secret short]");
    }

    #[test]
    fn what_a_cut_left_of_a_secret_goes_too() {
        let token = [("token", "s3cret-value")];
        assert_eq!(redacted(&token, "it is s3cret-va…"), "it is [secret token]…");
        assert_eq!(redacted(&token, "it is s3…"), "it is s3…");
        assert_eq!(redacted(&token, "it is s3cret-value…"), "it is [secret token]…");
    }

    #[test]
    fn a_text_does_not_grow_without_bound() {
        let name = "n".repeat(100);
        let text = "abcdef".repeat(1_000);
        assert!(redacted(&[(&name, "abcdef")], &text).len() <= text.len());
    }

    proptest! {
        #[test]
        fn no_secret_is_left(secret in "[a-e\"\\\\\n]{6,12}", before in "[a-e…]{0,9}", cut in any::<bool>()) {
            let text = format!("{before}{secret}{before}{}", if cut { "…" } else { "" });
            prop_assert!(!redacted(&[("x", &secret)], &text).contains(&secret));
        }
    }
}
