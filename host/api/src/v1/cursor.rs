//! Where a list goes on, as text that callers hand back unread.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_core::{QueueName, State};
use bulkhead_queue::Mark;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The queue and the state that were being listed, and the mark in them; without a mark, from
/// their beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) queue: QueueName,
    pub(super) state: State,
    pub(super) mark: Option<Mark>,
}

impl Cursor {
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes.and_then(|bytes| rmp_serde::from_slice(&bytes).ok()).ok_or_else(|| {
            Problem::malformed("the cursor is none that this API gave; start without one")
        })
    }

    pub(super) fn text(&self) -> String {
        // Names, numbers and ids can always be written.
        rmp_serde::to_vec(self).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_other_text_is_refused() {
        let cursor = Cursor { queue: QueueName::default(), state: State::Failed, mark: None };
        assert_eq!(Cursor::read(&cursor.text()).unwrap(), cursor);
        for text in ["", "x", "AAAA", "%%"] {
            assert_eq!(Cursor::read(text).unwrap_err().status, 400, "{text}");
        }
    }
}
