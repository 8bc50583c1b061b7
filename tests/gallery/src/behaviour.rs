//! What a behaviour is: a guest, the promise that it attacks, what must come of it.

use bulkhead_core::FailureKind;

/// A way to do harm.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// Its name; of one in text also the plugin's and its task type's.
    pub name: &'static str,
    /// The promise of `docs/security.md` that it attacks.
    pub promise: &'static str,
    /// Who does it.
    pub guest: Guest,
    /// What must come of it.
    pub expected: Expected,
}

/// Where a guest comes from.
#[derive(Debug, Clone, Copy)]
pub enum Guest {
    /// The text of a core module without its ends; its first lines say what it does.
    Text(&'static str),
    /// A task type of a plugin that is compiled from Rust, and what it does.
    Rust {
        /// The plugin, as `cargo xtask guests` names its file.
        plugin: &'static str,
        /// The payload. `{server}` is the address of the rig's server.
        payload: &'static str,
        /// What it does.
        does: &'static str,
    },
    /// A handler that follows commands, and what they make it do.
    Told {
        /// The plugin.
        plugin: &'static str,
        /// Its task type.
        task_type: &'static str,
        /// The commands, one a line. `{port}` is that of the rig's server.
        commands: &'static str,
        /// What it does.
        does: &'static str,
    },
    /// A file that is no component, and what it is.
    File {
        /// Its bytes.
        bytes: fn() -> Vec<u8>,
        /// What it is.
        does: &'static str,
    },
}

/// What must come of a behaviour.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    /// Its task completes. The output is this text.
    Completes(&'static str),
    /// Its task completes. Each line of the output has one of these words.
    Answers(&'static [&'static str]),
    /// Its task completes with an output that is not looked at.
    Ends,
    /// Its task fails, in one of these ways.
    Fails(&'static [FailureKind]),
    /// Its task waits for another attempt.
    Waits,
    /// It never serves: one of these gates refuses it.
    Refused(&'static [&'static str]),
}

impl Behaviour {
    /// What it does, in words.
    #[must_use]
    pub fn does(&self) -> String {
        match self.guest {
            Guest::Text(text) => {
                let lines = text.lines().map_while(|line| line.strip_prefix(";; "));
                lines.collect::<Vec<_>>().join(" ")
            }
            Guest::Rust { does, .. } | Guest::Told { does, .. } | Guest::File { does, .. } => {
                does.to_owned()
            }
        }
    }

    /// Whether it is stopped before it serves.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.expected, Expected::Refused(_))
    }
}
