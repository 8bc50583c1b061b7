//! Texts to language, counts and readability.
