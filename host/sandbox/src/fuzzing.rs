//! Doors for the fuzz targets in `tests/fuzz`, open with the feature `fuzzing` only.
//!
//! Each leads straight to code that reads what a guest, a file or a worker said. None does
//! anything of its own, and no promise is made about any of them.

use std::time::Instant;

use bulkhead_core::{LogLevel, LogLine};

use crate::journal::{SharedJournal, Stream};
use crate::redact::Spoken;
use crate::secret::SecretValue;
use crate::text;

pub use crate::capability::fuzzing::{
    Folder, Said, asked, child, forbidden_header, kv_key, kv_text, kv_ttl, told_length,
};
pub use crate::load::fuzzing::{Header, check_plugin, check_plugin_name, worker_header};

/// Cut a text.
pub fn bounded(text: String, max_bytes: usize) -> String {
    text::bounded(text, max_bytes)
}

/// Take these secrets, by name and value, out of a text.
pub fn redacted(secrets: &[(String, String)], mut text: String) -> String {
    let mut spoken = Spoken::default();
    for (name, value) in secrets {
        spoken.add(name, &SecretValue::new(value.clone()));
    }
    if let Some(redactor) = spoken.redactor() {
        redactor.text(&mut text);
    }
    text
}

/// What a log of so many bytes keeps of lines and of what is written to the standard streams.
pub fn logged(
    limit_bytes: u64,
    lines: Vec<(String, Vec<(String, String)>)>,
    streams: &[(bool, &[u8])],
) -> Vec<LogLine> {
    let journal = SharedJournal::new(Instant::now(), limit_bytes);
    for (message, fields) in lines {
        journal.write(LogLevel::Info, message, fields);
    }
    for (out, bytes) in streams {
        journal.capture(if *out { Stream::Out } else { Stream::Err }, bytes);
    }
    let _ = journal.last_error();
    journal.close().lines
}
