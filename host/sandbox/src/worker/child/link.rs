//! The worker's end of the socket: what it says, and the answers that it waits for.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::worker::frame;
use crate::worker::wire::{Answer, Ask, Up};

/// An answer, the descriptors that came with it, and what it lends: given back wherever it is
/// dropped, so that nothing is kept that nobody waits for any more.
pub(crate) type Answered = (Answer, Vec<OwnedFd>, Option<Lent>);

/// Something of the host's that a worker was lent. Dropping it gives it back.
pub(crate) struct Lent {
    link: Arc<Link>,
    what: LentWhat,
}

enum LentWhat {
    Connection(u64),
    Folder(u64),
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.link.say(&match self.what {
            LentWhat::Connection(connection) => Up::Closed { connection },
            LentWhat::Folder(folder) => Up::Left { folder },
        });
    }
}

/// Who waits for an answer.
enum Waiter {
    Task(oneshot::Sender<Answered>),
    Thread(mpsc::SyncSender<Answered>),
}

/// The way to the host.
pub(crate) struct Link {
    socket: Mutex<UnixStream>,
    waiting: Mutex<HashMap<u64, Waiter>>,
    next: AtomicU64,
}

impl Link {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket: Mutex::new(UnixStream::from(socket)),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Say something. Where the host is gone nobody is left to say anything to, and the thread
    /// that reads ends the process.
    pub(super) fn say(&self, what: &Up) -> usize {
        let Ok(frame) = frame::encode(what, 0) else { return 0 };
        let _ = self.socket.lock().write_all(&frame);
        frame.len()
    }

    /// Say something if it has at most so many bytes; whether it was said.
    pub(super) fn say_within(&self, what: &Up, most: u64) -> bool {
        let Ok(frame) = frame::encode(what, 0) else { return false };
        if frame.len() as u64 > most {
            return false;
        }
        let _ = self.socket.lock().write_all(&frame);
        true
    }

    /// Ask and wait for the answer; none if there will be none.
    pub(super) async fn ask(&self, attempt: u64, what: Ask) -> Option<Answered> {
        let (to, from) = oneshot::channel();
        let waits = Waits { link: self, ask: self.put(Waiter::Task(to)) };
        self.say(&Up::Ask { ask: waits.ask, attempt, what });
        from.await.ok().map(whole)
    }

    /// The same on a thread that can wait. The host answers from its memory.
    pub(super) fn ask_at_once(&self, attempt: u64, what: Ask) -> Option<Answered> {
        let (to, from) = mpsc::sync_channel(1);
        let ask = self.put(Waiter::Thread(to));
        self.say(&Up::Ask { ask, attempt, what });
        from.recv().ok().map(whole)
    }

    fn put(&self, waiter: Waiter) -> u64 {
        let ask = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().insert(ask, waiter);
        ask
    }

    /// The host answered.
    pub(super) fn answered(self: &Arc<Self>, ask: u64, answer: Answer, with: Vec<OwnedFd>) {
        let what = match &answer {
            Answer::Connected { connection, .. } => Some(LentWhat::Connection(*connection)),
            Answer::Folders { own: Some(folder) } => Some(LentWhat::Folder(*folder)),
            _ => None,
        };
        let lent = what.map(|what| Lent { link: self.clone(), what });
        let answered = (answer, with, lent);
        let waiter = self.waiting.lock().remove(&ask);
        // Nobody waits for what an attempt that ended has asked.
        match waiter {
            Some(Waiter::Task(to)) => drop(to.send(answered)),
            Some(Waiter::Thread(to)) => drop(to.try_send(answered)),
            None => drop(answered),
        }
    }
}

/// An answer, unless the host failed over it: then the attempt ends as it would have in the host.
fn whole(answered: Answered) -> Answered {
    if matches!(answered.0, Answer::Panicked) {
        std::panic::resume_unwind(Box::new("the host's own code panicked"));
    }
    answered
}

/// Forgets the waiter of an answer that nobody waits for any more.
struct Waits<'a> {
    link: &'a Link,
    ask: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.link.waiting.lock().remove(&self.ask);
    }
}
