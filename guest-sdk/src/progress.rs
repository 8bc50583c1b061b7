//! Progress that waiting clients can see.

use crate::host;

/// Report how much is done, from 0.0 to 1.0, and what is going on.
///
/// The latest report wins, and the host may forward fewer than it is given.
pub fn progress(fraction: f32, message: impl AsRef<str>) {
    host::report_progress(fraction, message.as_ref());
}
