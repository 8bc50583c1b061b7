//! What is said about real texts, and about texts that are none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]

use proptest::prelude::*;
use text_stats::{Options, Pace, StatsError, TextStats, measure};
use whatlang::Lang;

fn read(text: &str) -> TextStats {
    measure(text.as_bytes(), &Options::default()).unwrap()
}

fn names(stats: &TextStats) -> Vec<&str> {
    stats.readability.scores.iter().map(|formula| formula.name).collect()
}

#[test]
fn an_english_text() {
    let stats = read(include_str!("../samples/english.txt"));
    let language = stats.language.as_ref().unwrap();
    assert_eq!(
        (language.code, language.name, language.script.as_deref()),
        ("eng", "English", Some("Latin"))
    );
    assert!(language.guess.unwrap().reliable);
    assert_eq!((stats.counts.paragraphs, stats.counts.sentences), (4, 11));
    assert!(stats.words_are_reliable && stats.readability.reliable);
    assert_eq!(stats.readability.note, None);
    let ease = &stats.readability.scores[0];
    assert_eq!(ease.name, "Flesch reading ease");
    assert!((70.0..95.0).contains(&ease.score), "{}", ease.score);
    assert_eq!(stats.reading_time.seconds, (stats.counts.words * 60).div_ceil(238));
}

#[test]
fn a_german_text() {
    let stats = read(include_str!("../samples/deutsch.txt"));
    assert_eq!(stats.language.as_ref().unwrap().code, "deu");
    assert_eq!(names(&stats), ["Flesch-Amstad", "LIX"]);
    assert!((55.0..85.0).contains(&stats.readability.scores[0].score));
}

#[test]
fn a_japanese_text_gets_no_score_that_would_mislead() {
    let stats = read(include_str!("../samples/nihongo.txt"));
    let language = stats.language.as_ref().unwrap();
    assert_eq!(language.code, "jpn");
    assert!(!stats.words_are_reliable);
    assert_eq!(stats.reading_time.of, Pace::Letters);
    assert!(names(&stats).is_empty() && stats.readability.note.is_some());
    assert_eq!(stats.counts.sentences, 8);
}

#[test]
fn the_producer_knows_better() {
    let options = Options { language: Some(Lang::Fra), words_per_minute: Some(60) };
    let stats = measure("Le chat dort.".as_bytes(), &options).unwrap();
    let language = stats.language.as_ref().unwrap();
    assert_eq!((language.code, language.guess), ("fra", None));
    assert_eq!(names(&stats), ["Kandel-Moles", "LIX"]);
    assert_eq!(stats.reading_time.seconds, 3);
    assert!(!stats.readability.reliable);
    assert!(stats.readability.note.unwrap().contains("fewer than 100 words"));
}

#[test]
fn nothing_is_measured_as_nothing() {
    for text in ["", "\n\n", "... 42 !"] {
        let stats = read(text);
        assert_eq!(stats.language, None, "{text:?}");
        assert!(names(&stats).is_empty());
    }
    assert_eq!(read("").reading_time.seconds, 0);
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let refused = measure(b"a\nb\xff", &Options::default());
    assert_eq!(refused, Err(StatsError::NotUtf8 { at: 3, line: 2 }));
    let long = vec![b'a'; text_stats::MAX_TEXT_BYTES + 1];
    assert!(matches!(measure(&long, &Options::default()), Err(StatsError::TooLong { .. })));
    assert_eq!(measure(b"\xef\xbb\xbfa", &Options::default()).unwrap().counts.bytes, 1);
}

proptest! {
    #[test]
    fn any_bytes_give_stats_or_an_error(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = measure(&text, &Options::default());
    }

    #[test]
    fn any_text_in_any_language_has_finite_scores(
        text in "(\\PC|[a-z .\n]){0,200}",
        lang in proptest::sample::select(Lang::all()),
    ) {
        let options = Options { language: Some(lang), words_per_minute: None };
        let stats = measure(text.as_bytes(), &options).unwrap();
        prop_assert!(stats.counts.graphemes <= stats.counts.chars);
        prop_assert!(stats.counts.long_words <= stats.counts.words);
        for formula in &stats.readability.scores {
            prop_assert!(formula.score.is_finite(), "{:?}", formula);
        }
    }
}
