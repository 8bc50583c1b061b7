//! Stored secrets, of no queue: sealed bytes by id. The machine cannot open them.

use bytes::Bytes;

use super::Machine;
use super::journal::Row;
use super::rows::tag;
use crate::error::QueueError;
use crate::secret::{MAX_SECRETS, Sealed, SecretId, check_looked_up, too_many};

impl Machine {
    /// Store a secret; if `over` is given, only in place of exactly that. Whether it was.
    pub fn put_secret(
        &mut self,
        id: &SecretId,
        sealed: &Sealed,
        over: Option<&Sealed>,
    ) -> Result<bool, QueueError> {
        sealed.check()?;
        let held = self.secrets.get(id);
        if over.is_some() && held != over {
            return Ok(false);
        }
        if held.is_none() && self.secrets.len() >= MAX_SECRETS {
            return Err(too_many());
        }
        self.secrets.insert(id.clone(), sealed.clone());
        self.note_secret(id);
        Ok(true)
    }

    /// Forget a secret; `false` if it was unknown.
    pub fn delete_secret(&mut self, id: &SecretId) -> bool {
        let known = self.secrets.remove(id).is_some();
        if known {
            self.note_secret(id);
        }
        known
    }

    /// The stored secrets, sorted.
    #[must_use]
    pub fn secret_ids(&self) -> Vec<SecretId> {
        self.secrets.keys().cloned().collect()
    }

    /// Stored secrets, one answer each, at most 500.
    pub fn secrets(&self, ids: &[SecretId]) -> Result<Vec<Option<Sealed>>, QueueError> {
        check_looked_up(ids)?;
        Ok(ids.iter().map(|id| self.secrets.get(id).cloned()).collect())
    }

    fn note_secret(&mut self, id: &SecretId) {
        if self.journaling {
            self.changed_secrets.insert(id.clone());
        }
    }

    /// The rows of secrets that changed since they were last taken.
    pub(super) fn take_secret_rows(&mut self, rows: &mut Vec<Row>) {
        for id in std::mem::take(&mut self.changed_secrets) {
            rows.push(self.secret_row(&id));
        }
    }

    pub(super) fn secret_row(&self, id: &SecretId) -> Row {
        let mut key = vec![tag::SECRET];
        key.extend_from_slice(id.to_string().as_bytes());
        let value = self.secrets.get(id).map(|sealed| Bytes::copy_from_slice(&sealed.0));
        Row { key, value }
    }
}
