//! The binary in a terminal of its own: what its screen shows, keys, sizes, and how the terminal
//! is left behind.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

use crate::eventually_within;

/// On a busy machine a look takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

type Shown = Arc<std::sync::Mutex<vt100::Parser>>;

/// A program in a pseudo-terminal; killed when dropped.
pub struct PseudoTerminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    /// Kept open, so that what the program left behind can be looked at after its end.
    _slave: Box<dyn SlavePty + Send>,
    keys: Box<dyn Write + Send>,
    shown: Shown,
    settings: String,
}

impl PseudoTerminal {
    /// Start a command in a terminal of so many columns and lines.
    ///
    /// # Panics
    /// If there is no terminal or the command does not start.
    #[must_use]
    pub fn start(command: &Command, columns: u16, lines: u16) -> Self {
        let pair = native_pty_system().openpty(size(columns, lines)).expect("a terminal");
        let mut built = CommandBuilder::new(command.get_program());
        built.args(command.get_args());
        built.cwd(".");
        built.env("TERM", "xterm-256color");
        built.env_remove("NO_COLOR");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => built.env(name, value),
                None => built.env_remove(name),
            }
        }
        let settings = settings(pair.master.as_ref());
        let child = pair.slave.spawn_command(built).expect("the command starts");
        let shown: Shown = Arc::new(std::sync::Mutex::new(vt100::Parser::new(lines, columns, 0)));
        let mut output = pair.master.try_clone_reader().expect("its output");
        let screen = shown.clone();
        // It ends when the terminal is closed.
        std::thread::spawn(move || {
            let mut bytes = [0; 8_192];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                screen.lock().expect("a screen").process(&bytes[..read]);
            }
        });
        let keys = pair.master.take_writer().expect("its input");
        Self { child, master: pair.master, _slave: pair.slave, keys, shown, settings }
    }

    /// What the screen shows.
    #[must_use]
    pub fn text(&self) -> String {
        self.with(|screen| screen.contents())
    }

    /// Look at the screen.
    ///
    /// # Panics
    /// If what was written to it could not be understood.
    pub fn with<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.shown.lock().expect("a screen").screen())
    }

    /// Wait until the screen is as wanted.
    pub async fn is(&self, what: &str, is: impl Fn(&str) -> bool) {
        let what = format!("the screen shows {what}");
        let shown = eventually_within(PATIENCE, &what, || {
            let text = self.text();
            std::future::ready(is(&text).then_some(()))
        });
        tokio::select! {
            () = shown => {}
            () = tokio::time::sleep(PATIENCE - Duration::from_secs(1)) => {
                panic!("not in time: {what}; it shows:\n{}", self.text());
            }
        }
    }

    /// Wait until the screen has this text.
    pub async fn shows(&self, text: &str) {
        self.is(text, |shown| shown.contains(text)).await;
    }

    /// Press these keys.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("keys are taken");
        self.keys.flush().expect("keys are taken");
    }

    /// Make the terminal another size.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn resize(&mut self, columns: u16, lines: u16) {
        self.shown.lock().expect("a screen").screen_mut().set_size(lines, columns);
        self.master.resize(size(columns, lines)).expect("another size");
    }

    /// Send a signal by name, for example `TERM`.
    ///
    /// # Panics
    /// If `kill` fails.
    pub fn signal(&self, name: &str) {
        let pid = self.child.process_id().expect("a process").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill runs").success(), "cannot send {name}");
    }

    /// Wait for its end: the exit code.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn ended(&mut self) -> u32 {
        let mut code = None;
        eventually_within(PATIENCE, "it ends", || {
            code = self.child.try_wait().expect("wait").map(|status| status.exit_code());
            std::future::ready(code)
        })
        .await
    }

    /// Wait until the terminal is as it was before: its settings, its screen, its cursor.
    pub async fn is_given_back(&self) {
        eventually_within(PATIENCE, "the terminal is given back", || {
            let same = settings(self.master.as_ref()) == self.settings;
            let plain = self.with(|screen| !screen.alternate_screen() && !screen.hide_cursor());
            std::future::ready((same && plain).then_some(()))
        })
        .await;
    }

    /// Whether the program has made the terminal its own.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        settings(self.master.as_ref()) != self.settings
            && self.with(|screen| screen.alternate_screen() && screen.hide_cursor())
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, lines: u16) -> PtySize {
    PtySize { rows: lines, cols: columns, pixel_width: 0, pixel_height: 0 }
}

/// How the terminal treats what goes in and comes out.
fn settings(master: &dyn MasterPty) -> String {
    let of = master.get_termios().expect("settings");
    format!("{:?} {:?} {:?}", of.input_flags, of.output_flags, of.local_flags)
}
