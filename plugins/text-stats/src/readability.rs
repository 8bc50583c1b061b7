//! How hard a text is to read, by the formulas made for its language.
//!
//! A formula is applied only to a language it was fitted to; LIX, which compares only
//! word and sentence lengths, to every language that separates words. For the rest
//! there is no score but a note that says why.
//!
//! The coefficients were checked against public descriptions: LIX (Björnsson, 1968) at
//! `github.com/lindehaven/lix` and in koRpus, Gulpease (GULP, 1988) at
//! `okpedia.it/indice_di_gulpease`, and the national versions of Flesch's formula in
//! issue 267 of `github.com/Yoast/YoastSEO.js`.

use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;
use whatlang::Lang;

use crate::counting::Counts;
use crate::language::separates_words;
use crate::syllables;

/// Below this many words a score says little.
const ENOUGH_WORDS: u64 = 100;

/// What the formulas say of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readability {
    /// Syllables, estimated from the spelling, where the language allows it.
    pub syllables: Option<u64>,
    /// The scores, of the formulas that apply.
    pub scores: Vec<Formula>,
    /// Whether the text is long enough, and its language sure enough, for the scores
    /// to mean much.
    pub reliable: bool,
    /// Why scores are missing or unreliable.
    pub note: Option<String>,
}

/// The score of one formula.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Formula {
    /// Its name.
    pub name: &'static str,
    /// The score, to two decimals.
    pub score: f64,
    /// How to read the score.
    pub scale: &'static str,
}

const EASE: &str = "0 (very hard) to 100 (very easy)";
const GRADE: &str = "years of school in the USA";
const LIX: &str = "below 30 easy, 40 medium, above 50 hard";

/// Apply the formulas that fit the language. `is_sure` is whether the language is named
/// by the producer or reliably guessed.
pub(crate) fn assess(
    text: &str,
    counts: &Counts,
    lang: Option<Lang>,
    is_sure: bool,
) -> Readability {
    let none = |note: &str| Readability {
        syllables: None,
        scores: Vec::new(),
        reliable: false,
        note: Some(note.to_owned()),
    };
    if counts.words == 0 || counts.sentences == 0 {
        return none("the text has no words");
    }
    let Some(lang) = lang else {
        return none("the language is unknown, and every formula is made for some languages");
    };
    if !separates_words(lang) {
        let name = lang.eng_name();
        return none(&format!(
            "{name} does not separate words, so no formula based on word lengths applies"
        ));
    }
    let syllables = syllables::are_countable(lang)
        .then(|| text.unicode_words().map(|word| syllables::count(word, lang)).sum::<u64>());
    let mut scores = syllables.map(|syllables| fitted(lang, counts, syllables)).unwrap_or_default();
    // Words per sentence, and words of more than six letters in a hundred.
    let lix = per(counts.words, counts.sentences) + 100.0 * per(counts.long_words, counts.words);
    scores.push(formula("LIX", lix, LIX));

    let note = if counts.words < ENOUGH_WORDS {
        Some(format!("scores of fewer than {ENOUGH_WORDS} words vary widely"))
    } else if !is_sure {
        Some("the language is not sure, and the formulas depend on it".to_owned())
    } else if syllables.is_none() {
        Some(format!("no formula is known here for {}; LIX fits most languages", lang.eng_name()))
    } else {
        None
    };
    Readability { syllables, scores, reliable: is_sure && counts.words >= ENOUGH_WORDS, note }
}

/// The formulas fitted to a language.
fn fitted(lang: Lang, counts: &Counts, syllables: u64) -> Vec<Formula> {
    let sentence_words = per(counts.words, counts.sentences);
    let word_syllables = per(syllables, counts.words);
    let word_letters = per(counts.letters, counts.words);
    let ease = |base: f64, sentence: f64, word: f64| {
        base - sentence * sentence_words - word * word_syllables
    };
    match lang {
        Lang::Eng => {
            let grade = 0.39 * sentence_words + 11.8 * word_syllables - 15.59;
            let automated = 4.71 * word_letters + 0.5 * sentence_words - 21.43;
            let coleman = 5.88 * word_letters - 29.6 / sentence_words - 15.8;
            vec![
                formula("Flesch reading ease", ease(206.835, 1.015, 84.6), EASE),
                formula("Flesch-Kincaid grade", grade, GRADE),
                formula("Automated readability index", automated, GRADE),
                formula("Coleman-Liau index", coleman, GRADE),
            ]
        }
        Lang::Deu => vec![formula("Flesch-Amstad", ease(180.0, 1.0, 58.5), EASE)],
        Lang::Spa => vec![formula("Fernández Huerta", ease(206.84, 1.02, 60.0), EASE)],
        Lang::Fra => vec![formula("Kandel-Moles", ease(207.0, 1.015, 73.6), EASE)],
        Lang::Ita => {
            // 89 + (300 × sentences − 10 × letters) / words.
            let gulpease = 89.0 + (300.0 / sentence_words) - 10.0 * word_letters;
            vec![
                formula("Gulpease", gulpease, EASE),
                formula("Franchina-Vacca", ease(217.0, 1.3, 60.0), EASE),
            ]
        }
        Lang::Rus => vec![formula("Flesch-Oborneva", ease(206.835, 1.3, 60.1), EASE)],
        _ => Vec::new(),
    }
}

fn formula(name: &'static str, score: f64, scale: &'static str) -> Formula {
    Formula { name, score: (score * 100.0).round() / 100.0, scale }
}

fn per(amount: u64, of: u64) -> f64 {
    amount as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(text: &str, lang: Lang, name: &str) -> f64 {
        let found = assess(text, &Counts::of(text), Some(lang), true);
        found.scores.iter().find(|formula| formula.name == name).unwrap().score
    }

    #[test]
    fn scores_follow_the_published_formulas() {
        // 6 words, 1 sentence, 6 syllables, 17 letters.
        let text = "The cat sat on the mat.";
        for (name, expected) in [
            ("Flesch reading ease", 206.835 - 1.015 * 6.0 - 84.6),
            ("Flesch-Kincaid grade", 0.39 * 6.0 + 11.8 - 15.59),
            ("Automated readability index", 4.71 * 17.0 / 6.0 + 3.0 - 21.43),
            ("Coleman-Liau index", 5.88 * 17.0 / 6.0 - 29.6 / 6.0 - 15.8),
            ("LIX", 6.0),
        ] {
            assert!((score(text, Lang::Eng, name) - expected).abs() < 0.01, "{name}");
        }
        // 7 words, 2 sentences, 41 letters, 2 words of more than six letters.
        let italian = "La biblioteca era chiusa. Torniamo domani presto.";
        let gulpease = 89.0 + (300.0 * 2.0 - 10.0 * 41.0) / 7.0;
        assert!((score(italian, Lang::Ita, "Gulpease") - gulpease).abs() < 0.01);
        let lix = 7.0 / 2.0 + 100.0 * 2.0 / 7.0;
        assert!((score(italian, Lang::Ita, "LIX") - lix).abs() < 0.01);
        let german = "Das Haus steht am Fluss.";
        assert_eq!(score(german, Lang::Deu, "Flesch-Amstad"), 180.0 - 5.0 - 58.5);
    }

    #[test]
    fn without_a_fitting_formula_there_is_a_note() {
        let text = "Talo on punainen ja se seisoo joen rannalla.";
        let finnish = assess(text, &Counts::of(text), Some(Lang::Fin), true);
        assert_eq!(finnish.scores.len(), 1);
        assert_eq!((finnish.scores[0].name, finnish.syllables), ("LIX", None));
        for (text, lang, words) in [
            ("今日は良い天気です。", Some(Lang::Jpn), "does not separate words"),
            ("One. Two.", None, "unknown"),
            ("...", Some(Lang::Eng), "no words"),
        ] {
            let none = assess(text, &Counts::of(text), lang, true);
            assert!(none.scores.is_empty() && !none.reliable);
            assert!(none.note.as_deref().unwrap().contains(words), "{none:?}");
        }
    }
}
