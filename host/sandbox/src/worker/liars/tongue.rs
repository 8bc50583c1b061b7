//! What a liar says.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bulkhead_core::{
    Child, Failure, FailureKind, LogLevel, LogLine, Metering, Outcome, Payload, Task, TaskId,
};
use rustix::net::{RecvFlags, recv};
use uuid::Uuid;

use crate::bindings::bulkhead::handler::types;
use crate::worker::frame::{self, Inbox};
use crate::worker::wire::{Answer, Ask, ConnectAsk, Described, Down, End, Ends, KvAsk, Up};

/// The socket to the host, if this process was started as a worker.
pub(super) fn called() -> Option<OwnedFd> {
    let stdin = std::io::stdin();
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&stdin).ok()?.st_mode);
    let is_socket = kind == rustix::fs::FileType::Socket;
    is_socket.then(|| stdin.as_fd().try_clone_to_owned().unwrap())
}

/// Serve as a worker whose guest has taken it over.
pub(super) fn lie(socket: OwnedFd) {
    let inbox = Inbox::new(socket.try_clone().unwrap());
    let mut liar =
        Liar { inbox, out: socket.into(), kept: Vec::new(), waiting: None, forgotten: 0 };
    while let Some((said, with)) = liar.inbox.next::<Down<'static>>().unwrap() {
        liar.hear(said, with);
    }
}

struct Liar {
    inbox: Inbox,
    out: UnixStream,
    /// What it was lent and keeps.
    kept: Vec<OwnedFd>,
    /// The attempt that ends when it is cancelled.
    waiting: Option<u64>,
    forgotten: usize,
}

impl Liar {
    fn hear(&mut self, said: Down<'static>, _: Vec<OwnedFd>) {
        match said {
            Down::Hello(_) => self.say(&Up::Ready { layers: Vec::new() }),
            Down::Describe { plugin } => {
                self.say(&Up::Described { plugin, described: Ok(description()) });
            }
            Down::Attempt { attempt, tasks, .. } => {
                let tasks: Vec<Task> = tasks.into_iter().map(|t| t.task.into_owned()).collect();
                self.attempt(attempt, &tasks);
            }
            Down::Cancel { attempt, .. } if self.waiting == Some(attempt) => {
                self.waiting = None;
                self.end(attempt, vec![fails(FailureKind::Cancelled, "it was")]);
            }
            Down::Forget { .. } => self.forgotten += 1,
            _ => {}
        }
    }

    /// Say something, if the host still hears it.
    fn say(&self, what: &Up) {
        let _ = (&self.out).write_all(&frame::encode(what, 0).unwrap());
    }

    fn end(&self, attempt: u64, ends: Vec<End>) {
        self.say(&Up::Ended { attempt, end: Ok(Ends { ends, fell: false }) });
    }

    fn ask(&self, ask: u64, attempt: u64, what: Ask) {
        self.say(&Up::Ask { ask, attempt, what });
    }

    /// The next answer, and what came with it; none if the host hung up.
    fn answer(&mut self) -> Option<(u64, Answer, Vec<OwnedFd>)> {
        loop {
            match self.inbox.next::<Down<'static>>().ok()?? {
                (Down::Answer { ask, answer }, with) => return Some((ask, answer, with)),
                (said, with) => self.hear(said, with),
            }
        }
    }

    /// Whatever the tasks say.
    fn attempt(&mut self, attempt: u64, tasks: &[Task]) {
        let lie = String::from_utf8(tasks[0].payload.data.clone()).unwrap();
        let words: Vec<&str> = lie.split(' ').collect();
        match words[..] {
            ["end", "another's"] => self.end(attempt + 1_000, vec![returns("x")]),
            ["end", "twice"] => {
                self.end(attempt, vec![returns("first")]);
                self.end(attempt, vec![returns("second")]);
            }
            ["begin", "again"] => self.say(&Up::Ready { layers: Vec::new() }),
            ["be", "unfit"] => self.say(&Up::Unfit { why: "x".to_owned() }),
            ["describe"] => self.say(&Up::Described { plugin: 0, described: Ok(description()) }),
            ["no", "end"] => self.end(attempt, Vec::new()),
            ["two", "ends", ..] => self.end(attempt, vec![returns("x"), returns("y")]),
            ["fall", "alone"] => {
                let ends = Ends { ends: vec![returns("x")], fell: true };
                self.say(&Up::Ended { attempt, end: Ok(ends) });
            }
            ["wait"] => self.waiting = Some(attempt),
            ["silent"] => {}
            // The next one's number is this one's and one more.
            ["end", "the", "next", "unheard"] => {
                let _ = recv(&self.out, &mut [0_u8; 1][..], RecvFlags::PEEK);
                self.end(attempt + 1, vec![returns("x")]);
                std::thread::sleep(Duration::from_secs(60));
            }
            ["count", "forgotten"] => {
                let forgotten = self.forgotten.to_string();
                self.end(attempt, vec![returns(&forgotten)]);
            }
            ["ask", ..] | ["kv", ..] | ["spill"] | ["keep", ..] => self.asking(attempt, &words),
            _ => self.end(attempt, tasks.iter().map(|task| told(task, &words)).collect()),
        }
    }

    /// Lies that begin with a question.
    fn asking(&mut self, attempt: u64, words: &[&str]) {
        let config = || Ask::Config { key: "k".to_owned() };
        let get = || Ask::Kv(KvAsk::Get { key: "k".to_owned() });
        let set = |key: &str, bytes| {
            Ask::Kv(KvAsk::Set { key: key.to_owned(), value: vec![0; bytes], ttl_ms: None })
        };
        match *words {
            ["ask", "folders"] => self.ask(0, attempt, Ask::Folders),
            ["ask", "connection"] => self.ask(0, attempt, connection("9")),
            ["ask", "secret"] => self.ask(0, attempt, secret("gone")),
            ["ask", "values"] => self.ask(0, attempt, get()),
            ["ask", "without", "hearing"] => {
                for ask in 0..1_000 {
                    self.ask(ask, attempt, config());
                }
            }
            ["ask", "twice", ..] => {
                // In one piece, so that the second is there before the first is answered.
                let both = [0, 1].map(|ask| {
                    let what = secret("token");
                    frame::encode(&Up::Ask { ask, attempt, what }, 0).unwrap()
                });
                let _ = (&self.out).write_all(&both.concat());
            }
            ["ask", "for", "others"] => {
                for other in (0..1_000).filter(|other| *other != attempt) {
                    self.ask(other, other, secret("token"));
                }
                self.ask(attempt, attempt, secret("token"));
                let answered = self.answer();
                let whose = answered.map(|(ask, ..)| if ask == attempt { "own" } else { "other" });
                let told = format!("answered: {}", whose.unwrap_or("none"));
                self.end(attempt, vec![returns(&told)]);
            }
            ["kv", "large"] => self.ask(0, attempt, set("k", 101)),
            ["kv", "odd", "key"] => self.ask(0, attempt, set("", 1)),
            ["kv", "odd", "page"] => {
                let page = KvAsk::List { prefix: String::new(), after: None, limit: u32::MAX };
                self.ask(0, attempt, Ask::Kv(page));
            }
            ["kv", calls] => {
                for ask in 0..calls.parse().unwrap() {
                    self.ask(ask, attempt, get());
                    if self.answer().is_none() {
                        return;
                    }
                }
                self.end(attempt, vec![returns("counted")]);
            }
            ["spill"] => {
                self.ask(0, attempt, secret("token"));
                let Some((_, Answer::Secret(Ok(value)), _)) = self.answer() else { return };
                let logs = vec![line(0, format!("it is {value}"))];
                let spilt = fails(FailureKind::Reject, &format!("it is {value}"));
                self.end(attempt, vec![End { logs, ..spilt }]);
            }
            ["keep", "a", "connection", port] => {
                self.ask(0, attempt, connection(port));
                let Some((_, Answer::Connected { .. }, with)) = self.answer() else { return };
                self.kept.extend(with);
                self.end(attempt, vec![returns("kept")]);
            }
            ["keep", "a", "folder"] => {
                self.ask(0, attempt, Ask::Folders);
                let Some((_, Answer::Folders { own: Some(_) }, with)) = self.answer() else {
                    return;
                };
                self.kept.extend(with);
                self.end(attempt, vec![returns("kept")]);
            }
            _ => panic!("{words:?}"),
        }
    }
}

/// An end that may or may not be believed.
fn told(task: &Task, words: &[&str]) -> End {
    let failing = |failure| End { outcome: Outcome::Failed(failure), ..returns("") };
    let logging = |logs| End { logs, ..returns("logged") };
    let with = |children| End { children, ..returns("with children") };
    match *words {
        ["truth"] => returns("truth"),
        ["output", bytes] => {
            let data = vec![b'x'; bytes.parse().unwrap()];
            End { outcome: Outcome::Done(Payload::new("", data)), ..returns("") }
        }
        ["long", "type"] => {
            let output = Payload::new("t".repeat(500), "x");
            End { outcome: Outcome::Done(output), ..returns("") }
        }
        ["fail", kind] => fails(kind.replace('-', "_").parse().unwrap(), "x"),
        ["long", "failure"] => fails(FailureKind::Retry, &"x".repeat(1 << 20)),
        ["many", "frames"] => {
            let backtrace = vec!["f".to_owned(); 10_000];
            failing(Failure { backtrace, ..Failure::new(FailureKind::Retry, "x") })
        }
        ["log", "much"] => logging((0..100).map(|_| line(0, "x".repeat(1_000))).collect()),
        ["log", "nothing", "often"] => logging(vec![line(0, String::new()); 100_000]),
        ["log", "long"] => logging(vec![line(0, "x".repeat(100_000))]),
        ["child", "other"] => with(vec![child(task, "other", 1)]),
        ["child", "elsewhere"] => {
            let mut child = child(task, "thumbnail", 1);
            child.task.queue = "mail".parse().unwrap();
            with(vec![child])
        }
        ["child", "large"] => with(vec![child(task, "thumbnail", 1_001)]),
        ["child", "and", "fail"] => {
            let children = vec![child(task, "thumbnail", 1)];
            End { children, ..fails(FailureKind::Retry, "x") }
        }
        ["children", number] => {
            let number: usize = number.parse().unwrap();
            with((0..number).map(|_| child(task, "thumbnail", 1)).collect())
        }
        ["figures"] => {
            let metering = Metering {
                fuel: u64::MAX,
                peak_memory_bytes: u64::MAX,
                cpu_us: u64::MAX,
                wall_us: u64::MAX,
                instantiate_us: u64::MAX,
                log_bytes: u64::MAX,
                log_lines_dropped: u64::MAX,
                host_calls: u64::MAX,
                bytes_in: u64::MAX,
                bytes_out: u64::MAX,
            };
            End { metering, logs: vec![line(u64::MAX, "late".to_owned())], ..returns("x") }
        }
        _ => panic!("{words:?}"),
    }
}

fn returns(text: &str) -> End {
    End {
        outcome: Outcome::Done(Payload::new(Payload::TEXT, text)),
        metering: Metering::default(),
        logs: Vec::new(),
        children: Vec::new(),
    }
}

fn fails(kind: FailureKind, message: &str) -> End {
    End { outcome: Outcome::Failed(Failure::new(kind, message)), ..returns("") }
}

fn line(at_ms: u64, message: String) -> LogLine {
    LogLine { at_ms, level: LogLevel::Info, message, fields: Vec::new() }
}

/// A child that says of itself whatever only a host may say.
fn child(parent: &Task, task_type: &str, bytes: usize) -> Child {
    let mut task = parent.clone();
    task.id = TaskId(Uuid::from_u128(66));
    task.task_type = task_type.parse().unwrap();
    task.tenant = "zenith".parse().unwrap();
    task.payload = Payload::new(Payload::TEXT, vec![b'x'; bytes]);
    task.submitted_at = 5;
    task.limits.fuel = Some(u64::MAX);
    task.terms.depth = 0;
    task.terms.not_before = Some(u64::MAX);
    Child { task, delay_ms: None }
}

fn secret(name: &str) -> Ask {
    Ask::Secret { name: name.to_owned() }
}

fn connection(port: &str) -> Ask {
    Ask::Connect(Box::new(ConnectAsk {
        method: "GET".to_owned(),
        scheme: "http".to_owned(),
        authority: format!("127.0.0.1:{port}"),
        path: "/".to_owned(),
        within: Duration::from_secs(10),
    }))
}

/// What the guests say that it stands for.
fn description() -> Described {
    let handler = types::HandlerDescription {
        task_type: "touch".to_owned(),
        description: String::new(),
        input_schema: None,
        limits: types::LimitsSuggestion { fuel: None, memory_bytes: None, wall_ms: None },
        retry: None,
        max_batch: Some(8),
    };
    let (name, version) = ("liar".to_owned(), "1".to_owned());
    Described::of(types::PluginDescription { name, version, handlers: vec![handler] }, true)
}
