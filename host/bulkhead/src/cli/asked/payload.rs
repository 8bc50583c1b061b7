//! A payload from a flag, a file or standard input, and what it is.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bulkhead::config::quantity::Size;
use bulkhead::core::Payload;
use clap::Args;

use super::content;
use crate::cli::exit::usage;
use crate::cli::output::note;

/// A payload by flags alone.
#[derive(Debug, Clone, Default, Args)]
#[command(group = clap::ArgGroup::new("content"))]
pub(crate) struct Content {
    /// Payload given here
    #[arg(long, value_name = "TEXT", group = "content")]
    data: Option<String>,
    /// Payload from a file
    #[arg(long, value_name = "PATH", group = "content")]
    file: Option<PathBuf>,
    /// Payload from standard input
    #[arg(long, group = "content")]
    stdin: bool,
    /// Media type of the payload
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

impl Content {
    /// Whether a payload is given.
    pub(crate) fn is_given(&self) -> bool {
        self.data.is_some() || self.file.is_some() || self.stdin
    }

    /// Whether only a media type is given.
    pub(crate) fn is_type_alone(&self) -> bool {
        self.content_type.is_some() && !self.is_given()
    }

    /// The payload. Its media type is the flag's, else the file's, else `fallback`, else
    /// what it looks like.
    pub(crate) fn read(&self, fallback: Option<&str>, max_bytes: usize) -> Result<Payload> {
        let (data, guessed) =
            read(self.data.as_deref(), self.file.as_deref(), self.stdin, max_bytes)?;
        let named = self.content_type.clone().or(guessed);
        let content_type = named.or_else(|| fallback.map(str::to_owned));
        Ok(named_or_looked_at(content_type, data))
    }
}

/// A payload of this media type, else of the one that it looks like.
pub(crate) fn named_or_looked_at(content_type: Option<String>, data: Vec<u8>) -> Payload {
    let content_type = content_type.unwrap_or_else(|| content::by_look(&data).to_owned());
    Payload { content_type, data }
}

/// Bytes from the one place that is named, and their media type by the file's name. At
/// most one byte over the limit is read, so that what is larger is refused and not kept.
pub(crate) fn read(
    data: Option<&str>,
    file: Option<&Path>,
    stdin: bool,
    max_bytes: usize,
) -> Result<(Vec<u8>, Option<String>)> {
    let bounded = |input: &mut dyn Read| {
        let mut data = Vec::new();
        input.take(max_bytes as u64 + 1).read_to_end(&mut data).map(|_| data)
    };
    let from_stdin = stdin || file == Some(Path::new("-"));
    let (data, guessed) = if let Some(text) = data {
        (text.to_owned().into_bytes(), None)
    } else if from_stdin {
        let mut stdin = std::io::stdin().lock();
        if stdin.is_terminal() {
            note("reading the payload from the terminal; end it with Ctrl-D");
        }
        (bounded(&mut stdin).context("cannot read the standard input")?, None)
    } else if let Some(path) = file {
        let unreadable =
            |e: std::io::Error| usage(format!("cannot read `{}`: {e}", path.display()));
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        (bounded(&mut file).map_err(unreadable)?, content::by_extension(path))
    } else {
        return Err(usage("no payload is given; use --data, --file or standard input"));
    };
    if data.len() > max_bytes {
        return Err(usage(format!(
            "the payload is over the limit of {}; raise `submit.payload_bytes` here and keep in \
             mind that hosts have limits of their own",
            Size(max_bytes as u64)
        )));
    }
    Ok((data, guessed))
}
