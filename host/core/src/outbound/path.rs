//! Paths of URLs in one form, so that a prefix means one thing.

/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 8 << 10;

/// Servers behind servers decode again; this often is looked through.
const MAX_DECODINGS: usize = 4;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `/`.
    #[error("a path begins with `/`")]
    Relative,
    /// It is over 8 KiB.
    #[error("a path has at most 8192 bytes")]
    TooLong,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("a `%` must be followed by two hexadecimal digits")]
    BadPercent,
    /// It has a character that no path has.
    #[error("spaces, control characters, `\\`, `#` and what is not ASCII must be percent-encoded")]
    BadCharacter,
    /// A part of it is `..`, plain or encoded.
    #[error("`..`, however it is encoded, has no place in a path")]
    Climbs,
}

/// A path without its query in its one form: what needs no percent-encoding is decoded, other
/// encodings have capitals, parts that are `.` are gone. An empty one is `/`.
///
/// A path in which any decoder could find a part `..` is refused: servers disagree on what it
/// means, and a client that knows what it wants resolves it before it asks.
pub fn normalised_path(path: &str) -> Result<String, PathError> {
    if path.is_empty() {
        return Ok("/".to_owned());
    }
    if !path.starts_with('/') {
        return Err(PathError::Relative);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    let refused = |byte: u8| byte <= b' ' || byte >= 0x7f || matches!(byte, b'\\' | b'#' | b'?');
    if path.bytes().any(refused) {
        return Err(PathError::BadCharacter);
    }
    refuse_climbing(path)?;
    let mut plain = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let (high, low) = (bytes.next(), bytes.next());
        let (Some(high), Some(low)) = (high.and_then(digit), low.and_then(digit)) else {
            return Err(PathError::BadPercent);
        };
        let decoded = high << 4 | low;
        if decoded.is_ascii_alphanumeric() || matches!(decoded, b'-' | b'.' | b'_' | b'~') {
            plain.push(decoded);
        } else {
            plain.extend(format!("%{decoded:02X}").bytes());
        }
    }
    let plain = String::from_utf8(plain).map_err(|_| PathError::BadCharacter)?;
    Ok(without_dots(&plain))
}

/// The path without its parts `.`; one at the end leaves its slash.
fn without_dots(path: &str) -> String {
    let mut kept = String::with_capacity(path.len());
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        if *part == "." {
            if last {
                kept.push('/');
            }
            continue;
        }
        kept.push('/');
        kept.push_str(part);
    }
    kept
}

/// Whether no decoding of the path has a part `..`, whichever separators are believed in.
fn refuse_climbing(path: &str) -> Result<(), PathError> {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..MAX_DECODINGS {
        let mut parts = bytes.split(|byte| matches!(byte, b'/' | b'\\' | b';' | 0));
        if parts.any(|part| part == b"..") {
            return Err(PathError::Climbs);
        }
        let decoded = decoded_once(&bytes);
        if decoded == bytes {
            return Ok(());
        }
        bytes = decoded;
    }
    // What is encoded still deeper is encoded to hide something.
    Err(PathError::Climbs)
}

/// Every well-formed encoding in `bytes` decoded, the rest as it is.
fn decoded_once(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let encoded = (*byte == b'%').then(|| {
            let high = bytes.get(at + 1).copied().and_then(digit)?;
            let low = bytes.get(at + 2).copied().and_then(digit)?;
            Some(high << 4 | low)
        });
        match encoded.flatten() {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
