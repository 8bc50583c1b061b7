//! Documents, of no queue: small values by kind and key.
//!
//! The bytes of a kind are those of its documents at every moment, and one that goes stands in
//! `expiring` under the time that it has itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::journal::Row;
use super::rows::tag;
use super::{FOREVER_MS, Machine, Now};
use crate::document::{
    Document, DocumentId, DocumentKind, Expected, MAX_DOCUMENTS, MAX_KIND_BYTES, SWEPT_AT_MOST,
    too_many,
};
use crate::error::QueueError;

/// All documents.
#[derive(Debug, Default)]
pub(super) struct Documents {
    kinds: BTreeMap<DocumentKind, Kind>,
    pub(super) journaling: bool,
    changed: BTreeSet<DocumentId>,
}

#[derive(Debug, Default)]
struct Kind {
    kept: BTreeMap<String, Kept>,
    bytes: u64,
    expiring: BTreeSet<(u64, String)>,
}

#[derive(Debug)]
struct Kept {
    document: Document,
    until_ms: Option<u64>,
}

impl Kept {
    fn lives(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until_ms| until_ms > now_ms)
    }
}

impl Machine {
    /// Store a document in place of what is expected there; whether it was.
    pub fn put_document(
        &mut self,
        id: &DocumentId,
        document: &Document,
        expected: &Expected,
        ttl_ms: Option<u64>,
        now_us: u64,
    ) -> Result<bool, QueueError> {
        id.check()?;
        document.check()?;
        let now_ms = Now(now_us).ms();
        self.documents.sweep(id.kind, now_ms);
        let kind = self.documents.kinds.entry(id.kind).or_default();
        let held = kind.kept.get(&id.key).filter(|kept| kept.lives(now_ms));
        let stands = match expected {
            Expected::Anything => true,
            Expected::Nothing => held.is_none(),
            Expected::Exactly(document) => held.is_some_and(|held| held.document == *document),
        };
        if !stands {
            return Ok(false);
        }
        let old = kind.kept.get(&id.key).map_or(0, |kept| kept.document.0.len() as u64);
        let bytes = kind.bytes - old + document.0.len() as u64;
        let is_new = !kind.kept.contains_key(&id.key);
        if (is_new && kind.kept.len() >= MAX_DOCUMENTS) || bytes > MAX_KIND_BYTES {
            return Err(too_many(id.kind));
        }
        let until_ms = ttl_ms.map(|ms| now_ms + ms.min(FOREVER_MS));
        kind.forget(&id.key);
        kind.keep(&id.key, Kept { document: document.clone(), until_ms });
        self.documents.note(id);
        Ok(true)
    }

    /// A document, if it is there.
    pub fn document(&self, id: &DocumentId, now_us: u64) -> Result<Option<Document>, QueueError> {
        id.check()?;
        let kept = self.documents.kinds.get(&id.kind).and_then(|kind| kind.kept.get(&id.key));
        let kept = kept.filter(|kept| kept.lives(Now(now_us).ms()));
        Ok(kept.map(|kept| kept.document.clone()))
    }

    /// All documents of a kind, by key.
    #[must_use]
    pub fn documents(&self, kind: DocumentKind, now_us: u64) -> Vec<(String, Document)> {
        let now_ms = Now(now_us).ms();
        let kept = self.documents.kinds.get(&kind).into_iter().flat_map(|kind| &kind.kept);
        let living = kept.filter(|(_, kept)| kept.lives(now_ms));
        living.map(|(key, kept)| (key.clone(), kept.document.clone())).collect()
    }

    /// Forget a document; `false` if there is none.
    pub fn delete_document(&mut self, id: &DocumentId, now_us: u64) -> Result<bool, QueueError> {
        id.check()?;
        self.documents.sweep(id.kind, Now(now_us).ms());
        let known = self.document(id, now_us)?.is_some();
        if let Some(kind) = self.documents.kinds.get_mut(&id.kind)
            && kind.forget(&id.key)
        {
            self.documents.note(id);
        }
        Ok(known)
    }
}

impl Kind {
    fn keep(&mut self, key: &str, kept: Kept) {
        self.bytes += kept.document.0.len() as u64;
        if let Some(until_ms) = kept.until_ms {
            self.expiring.insert((until_ms, key.to_owned()));
        }
        self.kept.insert(key.to_owned(), kept);
    }

    fn forget(&mut self, key: &str) -> bool {
        let Some(kept) = self.kept.remove(key) else { return false };
        self.bytes -= kept.document.0.len() as u64;
        if let Some(until_ms) = kept.until_ms {
            self.expiring.remove(&(until_ms, key.to_owned()));
        }
        true
    }
}

/// The rows. A key is the kind's name, a slash and the document's key.
impl Documents {
    fn note(&mut self, id: &DocumentId) {
        if self.journaling {
            self.changed.insert(id.clone());
        }
    }

    fn sweep(&mut self, of: DocumentKind, now_ms: u64) {
        for _ in 0..SWEPT_AT_MOST {
            let Some(kind) = self.kinds.get_mut(&of) else { return };
            let key = match kind.expiring.first() {
                Some((until_ms, key)) if *until_ms <= now_ms => key.clone(),
                _ => return,
            };
            kind.forget(&key);
            self.note(&DocumentId::new(of, key));
        }
    }

    pub(super) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for id in std::mem::take(&mut self.changed) {
            rows.push(self.row(&id));
        }
    }

    pub(super) fn all_rows(&self, rows: &mut Vec<Row>) {
        for (kind, of) in &self.kinds {
            rows.extend(of.kept.keys().map(|key| self.row(&DocumentId::new(*kind, key.clone()))));
        }
    }

    fn row(&self, id: &DocumentId) -> Row {
        let key = [&[tag::DOCUMENT], id.kind.as_str().as_bytes(), b"/", id.key.as_bytes()].concat();
        let kept = self.kinds.get(&id.kind).and_then(|kind| kind.kept.get(&id.key));
        let value = kept.map(|kept| {
            let until_ms = kept.until_ms.unwrap_or(0).to_be_bytes();
            Bytes::from([&until_ms[..], &kept.document.0].concat())
        });
        Row { key, value }
    }

    /// Take a row back.
    pub(super) fn restore(&mut self, rest: &[u8], value: &[u8]) -> Result<(), String> {
        let rest = std::str::from_utf8(rest).map_err(|e| e.to_string())?;
        let (kind, key) = rest.split_once('/').ok_or("its key names no kind")?;
        let kind = DocumentKind::named(kind).ok_or("its kind is unknown")?;
        let (until_ms, document) = value.split_first_chunk::<8>().ok_or("it is too short")?;
        let until_ms = u64::from_be_bytes(*until_ms);
        let until_ms = (until_ms > 0).then_some(until_ms);
        let kept = Kept { document: Document(document.to_vec()), until_ms };
        self.kinds.entry(kind).or_default().keep(key, kept);
        Ok(())
    }
}
