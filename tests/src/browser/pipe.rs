//! The DevTools protocol over a pipe: messages of JSON, each ended by a zero byte.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// How long the browser may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came in: answers that are waited for, and events by session.
#[derive(Default)]
struct Come {
    waiting: Mutex<HashMap<u64, Sender<Value>>>,
    events: Mutex<HashMap<String, Vec<Value>>>,
}

pub(super) struct Pipe {
    input: Mutex<ChildStdin>,
    next: AtomicU64,
    come: Arc<Come>,
}

impl Pipe {
    pub(super) fn new(input: ChildStdin, output: ChildStdout) -> Self {
        let come = Arc::new(Come::default());
        let into = come.clone();
        std::thread::spawn(move || read(output, &into));
        Self { input: Mutex::new(input), next: AtomicU64::new(1), come }
    }

    /// Ask the browser, or one of its tabs, and wait for the result.
    #[track_caller]
    pub(super) fn call(&self, session: Option<&str>, method: &str, params: &Value) -> Value {
        let answer = self.ask(session, method, params);
        answer.unwrap_or_else(|refused| panic!("{method} {params}: {refused}"))
    }

    /// The same; why it refuses, if it does.
    #[track_caller]
    pub(super) fn ask(
        &self,
        session: Option<&str>,
        method: &str,
        params: &Value,
    ) -> Result<Value, Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = channel();
        locked(&self.come.waiting).insert(id, sender);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let sent = locked(&self.input).write_all(&bytes);
        let answer = sent.ok().and_then(|()| answer.recv_timeout(PATIENCE).ok());
        let answer = answer.unwrap_or_else(|| {
            panic!("chromium does not answer {method}; `cargo xtask setup` installs it")
        });
        match answer.get("error") {
            Some(refused) => Err(refused.clone()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// What a tab told since the last look.
    pub(super) fn told(&self, session: &str) -> Vec<Value> {
        locked(&self.come.events).remove(session).unwrap_or_default()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(output: ChildStdout, come: &Come) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while output.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
        bytes.pop();
        let Ok(message) = serde_json::from_slice::<Value>(&bytes) else { break };
        bytes.clear();
        if let Some(id) = message["id"].as_u64() {
            if let Some(waiting) = locked(&come.waiting).remove(&id) {
                let _ = waiting.send(message);
            }
        } else if let Some(session) = message["sessionId"].as_str() {
            locked(&come.events).entry(session.to_owned()).or_default().push(message);
        }
    }
    // Nobody will answer those who wait.
    locked(&come.waiting).clear();
}
