//! What a worker was lent: connections, folders of attempts, sets of roots.
//!
//! A connection ends with its attempt, whatever the worker still has of it. A folder stays until
//! the worker says that the last work in it has ended; one that keeps a folder for too long is
//! overdue.

use std::collections::{HashMap, HashSet};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::outbound::Place;
use crate::scratch::Scratch;

/// How long a worker may keep an attempt's folder when the attempt is over.
const KEEP_FOLDER: Duration = Duration::from_secs(10);

/// What a worker was lent.
#[derive(Default)]
pub(super) struct Lendings {
    pub(super) connections: Mutex<HashMap<u64, Connection>>,
    pub(super) folders: Mutex<HashMap<u64, Folder>>,
    /// The sets of roots that it was told of.
    pub(super) roots: Mutex<HashSet<u64>>,
}

/// A connection that a worker uses. It is closed here, whatever the worker has of it.
pub(super) struct Connection {
    pub(super) attempt: u64,
    pub(super) socket: TcpStream,
    pub(super) _place: Place,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// An attempt's own folder.
pub(super) struct Folder {
    pub(super) attempt: u64,
    pub(super) _scratch: Scratch,
    /// When the attempt was over.
    pub(super) since: Option<Instant>,
}

impl Lendings {
    /// An attempt is over: its connections go now, its folder when the last work in it ended.
    pub(super) fn over(&self, attempt: u64) {
        self.connections.lock().retain(|_, connection| connection.attempt != attempt);
        for folder in self.folders.lock().values_mut() {
            if folder.attempt == attempt {
                folder.since = Some(Instant::now());
            }
        }
    }

    pub(super) fn clear(&self) {
        self.connections.lock().clear();
        self.folders.lock().clear();
    }

    /// Whether it keeps a folder of an attempt that has long been over.
    pub(super) fn overdue(&self) -> bool {
        let late = |since: Instant| since.elapsed() >= KEEP_FOLDER;
        self.folders.lock().values().any(|folder| folder.since.is_some_and(late))
    }
}
