//! Values from outside: a variable of the environment, a file, an input.
//!
//! What is read has bounds and is wiped where it is refused. No message repeats any of it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bulkhead_sandbox::SecretValue;
use zeroize::Zeroizing;

/// Shortest value, in bytes, white space around it not counted. A shorter one could not be told
/// from other text, and so not be kept out of logs.
pub const MIN_VALUE_BYTES: usize = 6;

/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 << 10;

/// What others than a file's owner may not do: read or write it.
const FOR_OTHERS: u32 = 0o066;

/// A place outside where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A variable of the environment, and what it held at the start.
    Env {
        /// Its name.
        variable: String,
        /// Its value, if it was set.
        value: Option<SecretValue>,
    },
    /// A file, as it is when it is read.
    File(PathBuf),
}

impl Given {
    /// The value of a secret, checked. It may block; the error says what is wrong and what to do.
    pub fn secret(&self) -> Result<SecretValue, String> {
        let value = self.text()?;
        check_value(&value).map(|()| value).map_err(|reason| format!("{}: {reason}", self.shown()))
    }

    /// What is there, without the line end at its end.
    pub(super) fn text(&self) -> Result<SecretValue, String> {
        match self {
            Self::Env { variable, value } => value.clone().ok_or_else(|| {
                format!(
                    "the variable `{}` is not set, or is no UTF-8 text; set it before the start",
                    variable.escape_debug()
                )
            }),
            Self::File(path) => read_file(path),
        }
    }

    /// What it is called in messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Env { variable, .. } => format!("the variable `{}`", variable.escape_debug()),
            Self::File(path) => format!("`{}`", path.display().to_string().escape_debug()),
        }
    }
}

fn read_file(path: &Path) -> Result<SecretValue, String> {
    let shown = path.display().to_string().escape_debug().to_string();
    let cannot = |error: io::Error| format!("cannot read `{shown}`: {error}");
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("`{shown}` is no regular file"));
    }
    let mut file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.mode() & 0o777;
    if mode & FOR_OTHERS != 0 {
        return Err(format!(
            "`{shown}` may be read or written by others than its owner (mode {mode:03o}); run \
             `chmod 600 {shown}`"
        ));
    }
    read_value(&mut file).map_err(|reason| format!("`{shown}`: {reason}"))
}

/// Read a value to the end of an input; a line end at its end is left out.
pub fn read_value(input: &mut dyn Read) -> Result<SecretValue, String> {
    // All at once: memory that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_VALUE_BYTES + 3));
    let most = MAX_VALUE_BYTES as u64 + 3;
    input.take(most).read_to_end(&mut bytes).map_err(|e| format!("cannot read it: {e}"))?;
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(format!("it has over {MAX_VALUE_BYTES} bytes, which is the most"));
    }
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        "it is no UTF-8 text; encode it, for example as base64"
    })?;
    Ok(SecretValue::new(text))
}

/// Refuse a value that could not be kept out of logs.
pub fn check_value(value: &SecretValue) -> Result<(), String> {
    let bytes = value.expose().trim().len();
    if bytes < MIN_VALUE_BYTES {
        return Err(format!(
            "the value has {bytes} bytes; at least {MIN_VALUE_BYTES} are needed, since a shorter \
             one could not be told from other text and taken out of it"
        ));
    }
    if value.expose().len() > MAX_VALUE_BYTES {
        return Err(format!("the value has over {MAX_VALUE_BYTES} bytes, which is the most"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn put(path: &Path, bytes: &[u8], mode: u32) -> Given {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        Given::File(path.to_owned())
    }

    #[test]
    fn a_file_is_read_without_its_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (written, value) in [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("s3cret\n\n", "s3cret\n"),
            ("two\nlines\n", "two\nlines"),
        ] {
            let read = put(&path, written.as_bytes(), 0o600).secret().unwrap();
            assert_eq!(read.expose(), value);
        }
        let most = vec![b'x'; MAX_VALUE_BYTES];
        assert_eq!(put(&path, &most, 0o400).secret().unwrap().expose().len(), MAX_VALUE_BYTES);
    }

    #[test]
    fn what_others_may_read_or_makes_no_sense_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
            let said = put(&path, b"s3cret", mode).secret().unwrap_err();
            assert!(said.contains("chmod 600") && said.contains(&format!("{mode:o}")), "{said}");
        }
        for (bytes, says) in [
            (&b"s3cre"[..], "has 5 bytes; at least 6"),
            (b"  s3cre   ", "has 5 bytes; at least 6"),
            (b"", "has 0 bytes"),
            (b"\xff\xfe s3cret", "no UTF-8 text"),
            (&[b'x'; MAX_VALUE_BYTES + 1], "over 65536 bytes"),
        ] {
            let said = put(&path, bytes, 0o600).secret().unwrap_err();
            assert!(said.contains(says) && said.contains("secret`"), "{said}");
            assert!(!said.contains("s3cre"), "{said}");
        }
        let said = Given::File(folder.path().to_owned()).secret().unwrap_err();
        assert!(said.contains("no regular file"), "{said}");
        let said = Given::File(folder.path().join("none")).secret().unwrap_err();
        assert!(said.contains("cannot read"), "{said}");
        let unset = Given::Env { variable: "TOKEN".into(), value: None };
        assert!(unset.secret().unwrap_err().contains("`TOKEN` is not set"));
    }
}
