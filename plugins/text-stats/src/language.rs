//! Which language a text is in, and what that means for counting words.

use serde::Serialize;
use whatlang::Lang;

/// Bytes of text that the guess looks at; more hardly change it.
const GUESSED_BYTES: usize = 64 << 10;

/// The language of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Language {
    /// ISO 639-3 code.
    pub code: &'static str,
    /// Its name in English.
    pub name: &'static str,
    /// The script that most of the text is in, if it has letters.
    pub script: Option<String>,
    /// How the language is known; absent if the producer named it.
    pub guess: Option<Guess>,
}

/// How far a guess can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Guess {
    /// From 0 to 1.
    pub confidence: f64,
    /// Whether the text is long and clear enough for the guess to be trusted.
    pub reliable: bool,
}

/// The language of `text`: the one that is named, or else a guess if it has letters.
pub(crate) fn identify(text: &str, named: Option<Lang>) -> Option<(Lang, Language)> {
    let mut end = text.len().min(GUESSED_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let sample = &text[..end];
    if let Some(lang) = named {
        let script = whatlang::detect_script(sample).map(|script| script.name().to_owned());
        return Some((lang, describe(lang, script, None)));
    }
    let info = whatlang::detect(sample)?;
    let confidence = info.confidence();
    let guess = Guess {
        confidence: if confidence.is_finite() { confidence.clamp(0.0, 1.0) } else { 0.0 },
        reliable: info.is_reliable(),
    };
    Some((info.lang(), describe(info.lang(), Some(info.script().name().to_owned()), Some(guess))))
}

fn describe(lang: Lang, script: Option<String>, guess: Option<Guess>) -> Language {
    Language { code: lang.code(), name: lang.eng_name(), script, guess }
}

/// Whether the language is written with spaces or the like between words. Where it is
/// not, finding words takes a dictionary, which this plugin does not have.
pub(crate) fn separates_words(lang: Lang) -> bool {
    !matches!(lang, Lang::Cmn | Lang::Jpn | Lang::Tha | Lang::Khm | Lang::Mya)
}
