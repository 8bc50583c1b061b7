//! What is granted in one word, or by names.

use std::collections::BTreeSet;

use bulkhead_core::check_name;
use bulkhead_sandbox::{Clocks, Randomness};
use serde::de::{self, Deserialize, Deserializer};

use super::bounds::MAX_ITEMS;

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClocksWord {
    Exact,
    Coarse,
    Frozen,
}

impl From<ClocksWord> for Clocks {
    fn from(word: ClocksWord) -> Self {
        match word {
            ClocksWord::Exact => Self::Exact,
            ClocksWord::Coarse => Self::Coarse,
            ClocksWord::Frozen => Self::Frozen,
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RandomWord {
    System,
    Seeded,
}

impl From<RandomWord> for Randomness {
    fn from(word: RandomWord) -> Self {
        match word {
            RandomWord::System => Self::System,
            RandomWord::Seeded => Self::Seeded,
        }
    }
}

/// What a word means, if there is one.
pub(super) fn word<'de, W, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    W: Deserialize<'de> + Into<T>,
    D: Deserializer<'de>,
{
    Option::<W>::deserialize(from).map(|word| word.map(W::into))
}

/// The names of secrets, if any are said.
pub(super) fn secrets<'de, D>(from: D) -> Result<Option<BTreeSet<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    let Some(names) = Option::<Vec<String>>::deserialize(from)? else { return Ok(None) };
    if names.len() > MAX_ITEMS {
        let message = format!("`secrets` lists {} names; use at most {MAX_ITEMS}", names.len());
        return Err(de::Error::custom(message));
    }
    for name in &names {
        check_name("secret's name", name)
            .map_err(|error| de::Error::custom(format!("`secrets`: {error}")))?;
    }
    Ok(Some(names.into_iter().collect()))
}
