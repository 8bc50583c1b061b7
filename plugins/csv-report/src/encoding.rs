//! From bytes to text, in the encodings that spreadsheets write.
//!
//! UTF-8 and UTF-16 by byte order mark, then UTF-8 if the bytes are that, and
//! Windows-1252 otherwise. The last takes any bytes, so the name of the encoding is
//! part of the report and the reader can judge.

use std::borrow::Cow;

/// What Windows-1252 has at 0x80 to 0x9f; unassigned bytes become U+FFFD.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž',
    '\u{fffd}', '\u{fffd}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}',
    'ž', 'Ÿ',
];

/// The text of `bytes` and the name of its encoding.
pub(crate) fn decode(bytes: &[u8]) -> (Cow<'_, str>, &'static str) {
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return (utf_16(rest, u16::from_le_bytes).into(), "utf-16le");
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return (utf_16(rest, u16::from_be_bytes).into(), "utf-16be");
    }
    let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(rest) {
        Ok(text) => (Cow::Borrowed(text), "utf-8"),
        Err(_) => (rest.iter().copied().map(windows_1252).collect(), "windows-1252"),
    }
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_is_told() {
        for (bytes, text, encoding) in [
            (&b"a\xc3\xa4"[..], "aä", "utf-8"),
            (b"\xef\xbb\xbfa", "a", "utf-8"),
            (b"\xff\xfea\0\xe4\0", "aä", "utf-16le"),
            (b"\xfe\xff\0a\0\xe4\0", "aä", "utf-16be"),
            (b"a\xe4\x80", "aä€", "windows-1252"),
            (b"", "", "utf-8"),
        ] {
            assert_eq!(decode(bytes), (Cow::from(text), encoding));
        }
    }
}
