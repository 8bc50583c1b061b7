//! A value from standard input, not shown where it is typed.

use std::io::{IsTerminal, Read, Stdin, stdin};

use anyhow::{Context, Result};
use bulkhead::secrets::{SecretValue, read_value};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::cli::exit::{failed, usage};
use crate::cli::output::note;

/// Read the value: all of the input, or one line of a terminal.
pub(super) async fn read() -> Result<SecretValue> {
    let stdin = stdin();
    let silent = match stdin.is_terminal() {
        true => Some(Silent::keep(&stdin).context("the terminal would show what is typed")?),
        false => None,
    };
    let is_terminal = silent.is_some();
    if is_terminal {
        note("type the value, which is not shown, and end it with Enter");
    }
    let reading = tokio::task::spawn_blocking(move || {
        let mut stdin = stdin.lock();
        if is_terminal { read_value(&mut Line(&mut stdin)) } else { read_value(&mut stdin) }
    });
    // The terminal shows again what is typed, however this ends.
    let read = tokio::select! {
        read = reading => read.context("the value was not read")?,
        _ = tokio::signal::ctrl_c(), if is_terminal => return Err(failed("interrupted")),
    };
    drop(silent);
    read.map_err(|reason| usage(format!("the value on standard input: {reason}")))
}

/// An input up to the end of its first line.
struct Line<'a>(&'a mut dyn Read);

impl Read for Line<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // One byte at a time: what follows the line is somebody else's.
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        let one = std::slice::from_mut(first);
        let read = self.0.read(one)?;
        Ok(if read == 1 && one == b"\n" { 0 } else { read })
    }
}

/// A terminal that shows nothing of what is typed, while this is kept.
struct Silent {
    before: Termios,
}

impl Silent {
    fn keep(terminal: &Stdin) -> std::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that is gone needs no care.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        note("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends() {
        let mut input = &b"s3cret-value\nand what follows\n"[..];
        let value = read_value(&mut Line(&mut input)).unwrap();
        assert_eq!(value.expose(), "s3cret-value");
        assert_eq!(input, b"and what follows\n");
        let mut input = &b"without an end"[..];
        assert_eq!(read_value(&mut Line(&mut input)).unwrap().expose(), "without an end");
    }
}
