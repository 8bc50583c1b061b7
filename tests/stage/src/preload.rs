//! What a server has instead of the machine's: a library that is loaded before all others, and
//! a page of memory that it shares with the test.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tempfile::NamedTempFile;

/// The page's size: one of the machine's.
const PAGE_BYTES: u64 = 4_096;

/// A library, and the file that it finds named by an environment variable.
#[derive(Clone)]
pub(crate) struct Preload {
    pub(crate) library: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) page: Arc<NamedTempFile>,
}

impl Preload {
    pub(crate) fn new(library: &'static str, variable: &'static str) -> Self {
        let page = NamedTempFile::new().expect("a temporary file");
        page.as_file().set_len(PAGE_BYTES).expect("a page of it");
        Self { library, variable, page: Arc::new(page) }
    }

    /// Write the integer of this number.
    pub(crate) fn write(&self, number: u64, value: i64) {
        let written = self.page.as_file().write_all_at(&value.to_ne_bytes(), 8 * number);
        written.expect("the page is writable");
    }

    /// Read the integer of this number.
    pub(crate) fn read(&self, number: u64) -> i64 {
        let mut bytes = [0; 8];
        self.page.as_file().read_exact_at(&mut bytes, 8 * number).expect("the page is readable");
        i64::from_ne_bytes(bytes)
    }
}
