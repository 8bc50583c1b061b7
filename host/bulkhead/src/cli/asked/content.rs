//! What bytes are: guessed from a file's name or a look at them, and whether a terminal
//! can show them.

use std::path::Path;

use bulkhead::core::Payload;
use bulkhead_api::asked::is_json;

use crate::cli::escape;

/// The media type of a file by its extension.
pub(super) fn by_extension(path: &Path) -> Option<String> {
    let guess = mime_guess::from_path(path).first()?;
    let essence = guess.essence_str().to_owned();
    Some(if guess.type_() == mime_guess::mime::TEXT {
        format!("{essence}; charset=utf-8")
    } else {
        essence
    })
}

/// The media type of bytes without a name. A bare word or number is text: only objects,
/// lists and quoted strings are meant as JSON.
pub(super) fn by_look(data: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(data) else { return Payload::BINARY };
    let looks_like_json = text.trim_start().starts_with(['{', '[', '"']);
    if looks_like_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        Payload::JSON
    } else {
        Payload::TEXT
    }
}

/// The extension that a file of this media type has.
pub(crate) fn extension(content_type: &str) -> &'static str {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    // The well-known ones first: the list has several for each, by alphabet.
    match essence {
        "application/json" => "json",
        "text/plain" => "txt",
        "text/html" => "html",
        "text/markdown" => "md",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/webp" => "webp",
        _ if is_json(content_type) => "json",
        _ => mime_guess::get_mime_extensions_str(essence)
            .and_then(|extensions| extensions.first())
            .copied()
            .unwrap_or("bin"),
    }
}

/// `payload` as a terminal can show it; `None` if it is not text.
pub(crate) fn terminal_text(payload: &Payload) -> Option<String> {
    std::str::from_utf8(&payload.data).ok().map(escape::block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_names_the_type() {
        let of = |name: &str| by_extension(Path::new(name));
        assert_eq!(of("a.json").as_deref(), Some("application/json"));
        assert_eq!(of("a.md").as_deref(), Some("text/markdown; charset=utf-8"));
        assert_eq!(of("dir/a.CSV").as_deref(), Some("text/csv; charset=utf-8"));
        assert_eq!(of("a.webp").as_deref(), Some("image/webp"));
        assert_eq!(of("README"), None);
    }

    #[test]
    fn a_look_tells_json_from_text_from_bytes() {
        for json in ["{}", " [1, 2]", "\"quoted\"", "{\"a\": 1}\n"] {
            assert_eq!(by_look(json.as_bytes()), Payload::JSON, "{json}");
        }
        for text in ["", "hello", "42", "true", "{not json", "[x]", "{} {}"] {
            assert_eq!(by_look(text.as_bytes()), Payload::TEXT, "{text}");
        }
        assert_eq!(by_look(b"\xff\xfe"), Payload::BINARY);
    }

    #[test]
    fn every_type_has_an_extension() {
        assert_eq!(extension("text/html; charset=utf-8"), "html");
        assert_eq!(extension("application/problem+json"), "json");
        assert_eq!(extension("application/x-unheard-of"), "bin");
        assert_eq!(extension(""), "bin");
    }
}
