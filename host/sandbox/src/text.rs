//! Bounds for text that came from a guest. It is cut, never refused, and stays UTF-8.

/// What ends a text that was cut.
pub(crate) const CUT: &str = "…";

/// `text`, cut to at most `max_bytes`.
pub(crate) fn bounded(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        let mut end = max_bytes.saturating_sub(CUT.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(CUT);
        text.shrink_to_fit();
    }
    text
}

/// `bytes` as text, cut to at most `max_bytes`.
pub(crate) fn bounded_lossy(bytes: &[u8], max_bytes: usize) -> String {
    bounded(String::from_utf8_lossy(bytes).into_owned(), max_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(bounded("short".into(), 5), "short");
        assert_eq!(bounded("éééé".into(), 7), "éé…");
        assert_eq!(bounded_lossy(b"a\xffb", 64), "a\u{fffd}b");
        for max in 3..20 {
            assert!(bounded("日本語のとても長い文字列".into(), max).len() <= max);
        }
    }
}
