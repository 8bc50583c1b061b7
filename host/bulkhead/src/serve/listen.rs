//! Hearing of new work: one blocking wait for all lines of the host, only while one of
//! them has room and nothing to do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bulkhead_queue::{Lines, Serves};

use super::line::Line;
use super::shared::Shared;
use crate::shutdown::Shutdown;

/// The longest single wait; a lost wake-up costs at most this.
const WAIT: Duration = Duration::from_secs(2);
/// The pause after a failed wait.
const PAUSE: Duration = Duration::from_millis(250);

/// Wake lines until shutdown.
pub(crate) async fn listen(shared: Arc<Shared>, lines: Vec<Arc<Line>>, mut shutdown: Shutdown) {
    let mut changes = shared.registry.changes();
    let mut turn = 0_usize;
    loop {
        if !lines.iter().any(|line| line.waiting.load(Ordering::Acquire)) {
            tokio::select! {
                () = shutdown.drained() => return,
                () = shared.hunger.notified() => {}
            }
            continue;
        }
        changes.mark_unchanged();
        // Of more than one wait may be for, each wait is for another part.
        let serves = Serves::window(shared.registry.table().serves(), turn);
        turn = turn.wrapping_add(1);
        let waits: Vec<Lines> =
            lines.iter().map(|line| (line.queue.name.clone(), serves.clone())).collect();
        tokio::select! {
            () = shutdown.drained() => return,
            _ = changes.changed() => {}
            heard = shared.broker.await_work(&waits, WAIT) => match heard {
                Ok(true) => {
                    for line in &lines {
                        line.waiting.store(false, Ordering::Release);
                        line.wake();
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot wait for work");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
