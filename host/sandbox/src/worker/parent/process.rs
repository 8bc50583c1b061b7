//! One worker process: starting it, talking with it, and seeing to its end.
//!
//! Two tasks of the workers' runtime belong to each: one writes, one reads, checks and waits for
//! the end. When a worker is over, whatever it was at is over with it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use super::hand::Running;
use super::lendings::Lendings;
use crate::last_words::last_words;
use crate::load::WorkerProgram;
use crate::scratch::Room;
use crate::worker::frame::{self, HEAD_BYTES};
use crate::worker::harden::Layer;
use crate::worker::wire::{Down, Hello, Up};

/// How long a worker may take to give up its rights.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long the end of a worker is waited for before it is killed, once it hung up.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The signal of a system call that is not let through.
const SIGSYS: i32 = 31;

/// Read at once.
const BUFFER_BYTES: usize = 64 << 10;

type Reader = BufReader<OwnedReadHalf>;

/// A frame on its way down.
struct Outgoing {
    frame: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    about: About,
}

/// What is to be known of a frame when it has been written. What is not written the worker
/// cannot have heard, and what is fits into the socket. The one who writes and the one who reads
/// share a thread, so that no worker hears anything before that is known.
enum About {
    Nothing,
    /// It answers an attempt that asks nothing else before it has heard it.
    Answer(#[allow(dead_code, reason = "counted until it is dropped")] Unheard),
    /// An attempt begins.
    Begin(Arc<AtomicBool>),
}

/// One answer that a worker has not heard yet.
struct Unheard(Arc<AtomicUsize>);

impl Unheard {
    fn count(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all.clone())
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A worker that gave up its rights and waits.
pub(super) struct Worker {
    pub(super) pid: u32,
    pub(super) layers: Vec<Layer>,
    /// The folders that it may reach.
    pub(super) reach: super::pool::Reach,
    pub(super) room: Option<Arc<Room>>,
    /// What it runs, by the numbers of attempts.
    pub(super) running: Mutex<HashMap<u64, Running>>,
    pub(super) lendings: Lendings,
    pub(super) describing: Mutex<HashMap<u64, super::hand::Describing>>,
    state: Mutex<State>,
    /// Plugins that it was given.
    plugins: Mutex<HashSet<u64>>,
    /// Bounded by what runs: each attempt has one frame to begin, one for each answer, and one
    /// for each cancelled task. A worker that asks on, or ends attempts, without hearing is killed.
    out: mpsc::UnboundedSender<Outgoing>,
    unheard: Arc<AtomicUsize>,
    ended: Notify,
    next: AtomicU64,
}

struct State {
    in_flight: usize,
    /// Takes no more attempts.
    retired: bool,
    /// It is over.
    gone: bool,
    used_at: Instant,
    /// Why it is killed, if it is.
    why: Option<String>,
}

/// What a worker is started with.
pub(super) struct Start<'a> {
    pub(super) program: &'a WorkerProgram,
    pub(super) hello: Hello,
    pub(super) reach: super::pool::Reach,
    pub(super) folders: Vec<OwnedFd>,
    pub(super) room: Option<Arc<Room>>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) most_up: u64,
    pub(super) on_end: Box<dyn FnOnce() + Send>,
}

impl Worker {
    /// Start a worker; what is wrong, if it cannot be. Called on the workers' runtime.
    pub(super) async fn start(start: Start<'_>) -> Result<Arc<Self>, String> {
        let name = start.program.program.display().to_string();
        let unable = |what: String| format!("the guest worker `{name}` {what}");
        let spawned = spawn(start.program).map_err(|e| unable(format!("cannot be started: {e}")));
        let (mut child, socket) = spawned?;
        let words = child.stderr.take();
        let words = tokio::spawn(async move {
            match words {
                Some(words) => last_words(words).await,
                None => String::new(),
            }
        });
        let (from, to) = socket.into_split();
        let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
        let (out, outgoing) = mpsc::unbounded_channel();
        let writing = tokio::spawn(write(to, outgoing));
        let hello = Down::Hello(Box::new(start.hello));
        let frame =
            frame::encode(&hello, start.folders.len()).map_err(|e| unable(e.to_string()))?;
        let _ = out.send(Outgoing { frame, descriptors: start.folders, about: About::Nothing });
        let most_up = start.most_up;
        let ready = tokio::time::timeout(START_WITHIN, read(&mut from, most_up)).await;
        let layers = match ready {
            Ok(Ok(Some(Up::Ready { layers }))) => layers,
            Ok(Ok(Some(Up::Unfit { why }))) => {
                return Err(unable(format!("cannot serve: {}", why.escape_debug())));
            }
            Ok(Ok(Some(_))) => return Err(unable("spoke out of turn".to_owned())),
            Ok(Ok(None) | Err(_)) => {
                let (status, words) = (child.wait().await, words.await.unwrap_or_default());
                let status = status.map(|status| status.to_string()).unwrap_or_default();
                return Err(unable(format!("ended ({status}): {}", words.escape_debug())));
            }
            Err(_) => return Err(unable(format!("did not begin within {START_WITHIN:?}"))),
        };
        let worker = Arc::new(Self {
            pid: child.id().unwrap_or_default(),
            layers,
            reach: start.reach,
            room: start.room,
            running: Mutex::default(),
            lendings: Lendings::default(),
            describing: Mutex::default(),
            state: Mutex::new(State {
                in_flight: 0,
                retired: false,
                gone: false,
                used_at: Instant::now(),
                why: None,
            }),
            plugins: Mutex::default(),
            out,
            unheard: Arc::default(),
            ended: Notify::new(),
            next: AtomicU64::new(0),
        });
        let (attended, permit, on_end) = (worker.clone(), start.permit, start.on_end);
        tokio::spawn(async move {
            let hearing = attended.clone();
            // A bug of this process in answering it is no reason to keep anybody waiting.
            let attending =
                tokio::spawn(async move { hearing.attend(child, from, words, most_up).await });
            let why = attending.await.unwrap_or_else(|_| "the host's own code panicked".to_owned());
            writing.abort();
            drop(permit);
            attended.over(&why);
            on_end();
        });
        Ok(worker)
    }

    /// Hear the worker until it is over; why it is.
    async fn attend(
        self: &Arc<Self>,
        mut child: Child,
        mut from: Reader,
        words: tokio::task::JoinHandle<String>,
        most_up: u64,
    ) -> String {
        let heard = tokio::select! {
            heard = self.hear(&mut from, most_up) => heard,
            () = self.ended.notified() => Err(self.why()),
        };
        let status = match &heard {
            Ok(()) => tokio::time::timeout(END_WITHIN, child.wait()).await.ok(),
            Err(_) => None,
        };
        let status = match status {
            Some(status) => status,
            None => {
                let _ = child.start_kill();
                child.wait().await
            }
        };
        let words = tokio::time::timeout(END_WITHIN, words).await;
        let words = words.ok().and_then(Result::ok).unwrap_or_default();
        match (heard, status) {
            (Err(why), _) => why,
            (Ok(()), Ok(status)) => meaning(status, &words),
            (Ok(()), Err(error)) => error.to_string(),
        }
    }

    /// Why the host ended it.
    fn why(&self) -> String {
        let why = self.state.lock().why.clone();
        why.unwrap_or_else(|| "it was needed no more".to_owned())
    }

    /// Do what the worker says; an error if it says what no worker could mean.
    async fn hear(self: &Arc<Self>, from: &mut Reader, most_up: u64) -> Result<(), String> {
        loop {
            match read(from, most_up).await {
                Ok(Some(said)) => self.heed(said).map_err(|lie| {
                    format!("it said what no worker could mean ({lie}), and was killed")
                })?,
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(format!("it said what cannot be read ({error}), and was killed"));
                }
                Err(_) => return Ok(()),
            }
        }
    }

    /// Tell the worker something; a worker that is over hears nothing.
    pub(super) fn tell(&self, what: &Down<'_>, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        self.send(what, descriptors, About::Nothing)
    }

    /// The same for an answer to an attempt that asks nothing else before it has heard it.
    pub(super) fn tell_asker(&self, what: &Down<'_>, with: Vec<OwnedFd>) -> io::Result<()> {
        self.send(what, with, About::Answer(Unheard::count(&self.unheard)))
    }

    /// The same for the beginning of an attempt; `begun` is true when it can have been heard.
    pub(super) fn tell_begin(&self, what: &Down<'_>, begun: Arc<AtomicBool>) -> io::Result<()> {
        self.send(what, Vec::new(), About::Begin(begun))
    }

    fn send(&self, what: &Down<'_>, descriptors: Vec<OwnedFd>, about: About) -> io::Result<()> {
        let frame = frame::encode(what, descriptors.len())?;
        let _ = self.out.send(Outgoing { frame, descriptors, about });
        Ok(())
    }

    /// Answers that were given and are not heard yet.
    pub(super) fn unheard(&self) -> usize {
        self.unheard.load(Ordering::Relaxed)
    }

    /// Give it a plugin, unless it has it.
    pub(super) fn give(&self, plugin: &super::ware::Elsewhere) -> io::Result<()> {
        let mut plugins = self.plugins.lock();
        if !plugins.contains(&plugin.id) {
            let ware = Box::new(plugin.ware.clone());
            self.tell(&Down::Plugin { plugin: plugin.id, ware }, vec![plugin.code()?])?;
            plugins.insert(plugin.id);
        }
        Ok(())
    }

    /// No attempt will be at a plugin any more.
    pub(super) fn forget(&self, plugin: u64) {
        if self.plugins.lock().remove(&plugin) {
            // A worker that is over has forgotten it already.
            let _ = self.tell(&Down::Forget { plugin }, Vec::new());
        }
    }

    /// A number that nothing else of this worker has.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// One attempt more, if it takes more.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.state.lock();
        let takes = !state.retired && !state.gone;
        state.in_flight += usize::from(takes);
        takes
    }

    /// One attempt less.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.used_at = Instant::now();
        if state.retired && state.in_flight == 0 {
            self.ended.notify_one();
        }
    }

    /// Take no more attempts, and end when those that run have ended.
    pub(super) fn retire(&self) {
        let mut state = self.state.lock();
        state.retired = true;
        if state.in_flight == 0 {
            self.ended.notify_one();
        }
    }

    /// End now, whatever runs, and say why.
    pub(super) fn kill(&self, why: &str) {
        let mut state = self.state.lock();
        state.retired = true;
        state.why.get_or_insert_with(|| why.to_owned());
        self.ended.notify_one();
    }

    /// Since when it has had nothing to do.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        (state.in_flight == 0 && !state.retired && !state.gone).then_some(state.used_at)
    }

    /// Whether it takes attempts.
    pub(super) fn takes(&self) -> bool {
        let state = self.state.lock();
        !state.retired && !state.gone
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    fn over(&self, why: &str) {
        self.state.lock().gone = true;
        let running: Vec<Running> = self.running.lock().drain().map(|(_, run)| run).collect();
        if !running.is_empty() {
            tracing::warn!(pid = self.pid, attempts = running.len(), why = %why.escape_debug(),
                "a guest worker is over with its attempts");
        }
        running.into_iter().for_each(|run| run.fall(why));
        self.describing.lock().clear();
        self.lendings.clear();
    }
}

/// What it means that a worker ended by itself.
fn meaning(status: ExitStatus, words: &str) -> String {
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    match status.signal() {
        Some(SIGSYS) => "it tried what no worker may do and was killed by the kernel".to_owned(),
        Some(signal) => format!("signal {signal}{words}"),
        None => format!("{status}{words}"),
    }
}

fn spawn(program: &WorkerProgram) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new(&program.program)
        .args(&program.arguments)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A signal from the terminal is for the host, which ends its workers itself.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, UnixStream::from_std(ours)?))
}

async fn write(mut to: OwnedWriteHalf, mut outgoing: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some(Outgoing { frame, descriptors, about }) = outgoing.recv().await {
        let mut sent = 0;
        if !descriptors.is_empty() {
            let socket: &UnixStream = to.as_ref();
            let first = socket
                .async_io(Interest::WRITABLE, || {
                    frame::send_with(socket.as_fd(), &frame, &descriptors)
                })
                .await;
            match first {
                Ok(bytes) => sent = bytes,
                Err(_) => return,
            }
        }
        if to.write_all(&frame[sent..]).await.is_err() {
            return;
        }
        if let About::Begin(begun) = &about {
            begun.store(true, Ordering::Release);
        }
    }
}

/// The next thing that a worker says; none when it hung up. No more memory is taken than was
/// sent.
async fn read(from: &mut (impl AsyncRead + Unpin), most: u64) -> io::Result<Option<Up>> {
    let mut head = [0; HEAD_BYTES];
    match from.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let (length, descriptors) = frame::head(&head).ok_or_else(|| invalid("no head"))?;
    if length as u64 > most || descriptors > 0 {
        return Err(invalid("a frame is longer than any may be"));
    }
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Ok(None);
    }
    frame::decode(&bytes).map(Some)
}
