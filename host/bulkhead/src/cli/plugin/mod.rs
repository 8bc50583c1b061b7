//! `bulkhead plugin`: what hosts serve, and what a file would do.

mod file;
mod serving;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use super::exit::Exit;
use super::session::Session;
use bulkhead::config::quantity::Span;

/// Look at plugins and check plugin files
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// List the plugins of running hosts, refused versions included
    List,
    /// Describe a plugin file: what it imports, handles and asks for
    Inspect {
        /// The `.wasm` file; a manifest beside it is applied
        file: PathBuf,
    },
    /// Take plugin files through every gate that a host has
    Check {
        /// The `.wasm` files; manifests beside them are applied
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Make all hosts look through their plugin folders now, and wait until they have
    Reload {
        /// How long to wait
        #[arg(long, value_name = "DURATION", default_value = "90s")]
        timeout: Span,
    },
}

impl Plugin {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match self {
            Self::List => serving::list(session).await,
            Self::Inspect { file } => file::inspect(session, &file).await,
            Self::Check { files } => file::check(session, &files).await,
            Self::Reload { timeout } => serving::reload(session, timeout).await,
        }
    }
}
