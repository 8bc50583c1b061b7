//! Texts to language, counts and readability.
//!
//! A plugin for the task type `text-stats`. The measuring is done by ordinary Rust;
//! this file only ties it to tasks: metadata to options, errors to permanent failures,
//! since no later attempt would find the same text better.

mod counting;
mod language;
mod options;
mod readability;
mod stats;
mod syllables;

use bulkhead_guest::prelude::*;

pub use counting::Counts;
pub use language::{Guess, Language};
pub use options::Options;
pub use readability::{Formula, Readability};
pub use stats::{MAX_TEXT_BYTES, Pace, ReadingTime, StatsError, TextStats, measure};

/// Guesses the language of a text, counts its words, sentences and paragraphs, and
/// scores its readability by the formulas made for that language.
#[handler(
    task_type = "text-stats",
    fuel = 10_000_000_000,
    memory = "64 MiB",
    timeout = "20s",
    max_attempts = 2
)]
fn text_stats(text: Payload, task: &Task) -> Result<Payload, Failure> {
    let options = Options::read(task.options())?;
    Payload::json(&measure(&text.data, &options).map_err(reject)?)
}

fn reject(error: impl std::error::Error) -> Failure {
    Failure::permanent(error.to_string())
}

plugin!(text_stats);

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_guest::serde_json::{Value, json};
    use bulkhead_guest::testing::{Attempt, run};

    #[test]
    fn the_shape_of_the_stats() {
        let text = Payload::text("Das Haus steht am Fluss.");
        let output = run::<text_stats>(Attempt::new(text).meta("language", "deu"));
        assert_eq!(output.output.as_ref().unwrap().content_type, "application/json");
        let expected = json!({
            "language": {"code": "deu", "name": "German", "script": "Latin", "guess": null},
            "counts": {"bytes": 24, "chars": 24, "graphemes": 24, "letters": 19, "words": 5,
                       "long_words": 0, "sentences": 1, "paragraphs": 1, "lines": 1},
            "words_are_reliable": true,
            "reading_time": {"seconds": 2, "per_minute": 238, "of": "words"},
            "readability": {
                "syllables": 5,
                "scores": [
                    {"name": "Flesch-Amstad", "score": 116.5,
                     "scale": "0 (very hard) to 100 (very easy)"},
                    {"name": "LIX", "score": 5.0,
                     "scale": "below 30 easy, 40 medium, above 50 hard"},
                ],
                "reliable": false,
                "note": "scores of fewer than 100 words vary widely",
            },
        });
        assert_eq!(output.json::<Value>(), Ok(expected));
    }

    #[test]
    fn bad_input_and_bad_options_are_permanent() {
        let failure = run::<text_stats>(Payload::bytes(b"\xff".to_vec())).output.unwrap_err();
        assert!(!failure.is_retryable() && failure.message().contains("UTF-8"), "{failure}");
        let attempt = Attempt::new(Payload::text("a")).meta("language", "klingon");
        let failure = run::<text_stats>(attempt).output.unwrap_err();
        assert!(!failure.is_retryable() && failure.message().contains("language"), "{failure}");
    }
}
