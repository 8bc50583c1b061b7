//! How many syllables a word has, where spelling tells.
//!
//! Syllables are counted as groups of vowels, corrected for what each language does
//! with them. That is right for most words and wrong for some, which evens out over
//! a text and is why the formulas ask for a hundred words.

use whatlang::Lang;

/// Whether syllables of this language can be counted.
pub(crate) fn are_countable(lang: Lang) -> bool {
    vowels(lang).is_some()
}

/// The syllables of `word`: at least one; 0 if the language is not known here.
pub(crate) fn count(word: &str, lang: Lang) -> u64 {
    let Some(vowels) = vowels(lang) else { return 0 };
    let letters: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    let mut count: i64 = 0;
    let mut before: Option<char> = None;
    for letter in &letters {
        let is_vowel = vowels.contains(*letter);
        let starts = match before.filter(|before| vowels.contains(*before)) {
            _ if !is_vowel => false,
            None => true,
            Some(before) => splits(before, *letter, lang),
        };
        count += i64::from(starts);
        before = Some(*letter);
    }
    match lang {
        Lang::Eng => count -= silent_in_english(&letters),
        Lang::Fra => count -= silent_in_french(&letters),
        _ => {}
    }
    count.max(1).unsigned_abs()
}

fn vowels(lang: Lang) -> Option<&'static str> {
    match lang {
        Lang::Eng => Some("aeiouyàâäéèêëïîôöùûü"),
        Lang::Deu => Some("aeiouyäöüé"),
        Lang::Spa => Some("aeiouáéíóúü"),
        Lang::Fra => Some("aeiouyàâéèêëîïôùûüœæ"),
        Lang::Ita => Some("aeiouàèéìíòóùú"),
        Lang::Rus => Some("аеёиоуыэюя"),
        _ => None,
    }
}

/// Whether two neighbouring vowels belong to two syllables.
fn splits(before: char, vowel: char, lang: Lang) -> bool {
    match lang {
        Lang::Rus => true,
        Lang::Spa | Lang::Ita => {
            let strong = |c: char| "aeoáéóàèò".contains(c);
            let stressed_weak = |c: char| "íúìù".contains(c);
            (strong(before) && strong(vowel)) || stressed_weak(before) || stressed_weak(vowel)
        }
        Lang::Deu => !matches!(
            (before, vowel),
            ('a' | 'e', 'i' | 'u' | 'y')
                | ('ä', 'u')
                | ('i', 'e')
                | ('a', 'a')
                | ('e', 'e')
                | ('o', 'o')
        ),
        Lang::Eng => matches!((before, vowel), ('i', 'a' | 'o' | 'u') | ('e', 'o') | ('u', 'a')),
        _ => matches!((before, vowel), ('é', _) | (_, 'ë' | 'ï')),
    }
}

/// Vowel groups that English writes and does not speak.
fn silent_in_english(letters: &[char]) -> i64 {
    let is_vowel = |c: char| "aeiouy".contains(c);
    let silent = match letters {
        // `table`, `acre`: the consonant before makes the syllable.
        [.., consonant, 'l' | 'r', 'e'] if !is_vowel(*consonant) => false,
        [.., consonant, 'e'] => !is_vowel(*consonant),
        [.., 't' | 'd', 'e', 'd'] => false,
        [.., consonant, 'e', 'd'] => !is_vowel(*consonant),
        // `boxes`, `places`, `houses`.
        [.., 's' | 'x' | 'z' | 'c' | 'g' | 'h', 'e', 's'] => false,
        [.., consonant, 'l' | 'r', 'e', 's'] if !is_vowel(*consonant) => false,
        [.., consonant, 'e', 's'] => !is_vowel(*consonant),
        _ => false,
    };
    let fused = letters
        .windows(4)
        .filter(|window| matches!(window, ['t' | 's' | 'c', 'i', 'o' | 'a', 'n' | 'l']))
        .count();
    i64::from(silent) + i64::try_from(fused).unwrap_or(0)
}

/// The `e` that French leaves silent at the end.
fn silent_in_french(letters: &[char]) -> i64 {
    let is_vowel = |c: char| "aeiouyàâéèêëîïôùûüœæ".contains(c);
    let silent = match letters {
        [.., consonant, 'e'] | [.., consonant, 'e', 's'] => !is_vowel(*consonant),
        [.., consonant, 'e', 'n', 't'] => !is_vowel(*consonant) && letters.len() > 6,
        _ => false,
    };
    i64::from(silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_words_are_counted_right() {
        for (lang, words) in [
            (
                Lang::Eng,
                &[
                    ("cat", 1),
                    ("table", 2),
                    ("harbour", 2),
                    ("make", 1),
                    ("makes", 1),
                    ("houses", 2),
                    ("walked", 1),
                    ("wanted", 2),
                    ("nation", 2),
                    ("video", 3),
                    ("readability", 5),
                    ("the", 1),
                    ("you", 1),
                    ("radio", 3),
                    ("rhythm", 1),
                    ("special", 2),
                    ("tree", 1),
                    ("42", 1),
                ][..],
            ),
            (
                Lang::Deu,
                &[
                    ("Haus", 1),
                    ("Häuser", 2),
                    ("Boot", 1),
                    ("Theater", 3),
                    ("schwierig", 2),
                    ("Freiheit", 2),
                ],
            ),
            (Lang::Spa, &[("casa", 2), ("ciudad", 2), ("poeta", 3), ("día", 2), ("leer", 2)]),
            (Lang::Fra, &[("maison", 2), ("porte", 1), ("océan", 3), ("eau", 1), ("portes", 1)]),
            (Lang::Ita, &[("casa", 2), ("aereo", 4), ("città", 2)]),
            (Lang::Rus, &[("молоко", 3), ("Россия", 3), ("в", 1)]),
        ] {
            for (word, syllables) in words {
                assert_eq!(count(word, lang), *syllables, "{word}");
            }
        }
    }

    #[test]
    fn other_languages_are_left_alone() {
        assert!(!are_countable(Lang::Fin));
        assert_eq!(count("talo", Lang::Fin), 0);
    }
}
