//! `bulkhead plugin`: what hosts serve, and what a file would do.

mod file;
mod serving;
mod trust;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use super::exit::Exit;
use super::session::Session;
use bulkhead::config::quantity::Span;
use bulkhead::core::TenantName;

/// Look at plugins and check plugin files
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// List the plugins of running hosts, refused versions included
    List,
    /// Describe a plugin file: what it imports, handles and asks for
    Inspect {
        /// The `.wasm` file; a manifest beside it is applied
        file: PathBuf,
        /// Look at it as a plugin of this tenant's
        #[arg(long, value_name = "NAME")]
        tenant: Option<TenantName>,
    },
    /// Take plugin files through every gate that a host has
    Check {
        /// The `.wasm` files; manifests beside them are applied
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Look at them as plugins of this tenant's
        #[arg(long, value_name = "NAME")]
        tenant: Option<TenantName>,
    },
    /// Make a key that signs plugins, and print the key that hosts check signatures with
    Keygen {
        /// Where to put the secret key; nothing may be there yet
        #[arg(value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign plugin files: put NAME.wasm.sig beside each
    Sign {
        /// The file of the secret key, from `bulkhead plugin keygen`
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The `.wasm` files, under the names that they are to serve under
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say whether plugin files are trusted here, and by what
    Verify {
        /// The `.wasm` files, with their signatures beside them
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Look at them as plugins of this tenant's
        #[arg(long, value_name = "NAME")]
        tenant: Option<TenantName>,
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
            Self::Inspect { file, tenant } => file::inspect(session, &file, tenant.as_ref()).await,
            Self::Check { files, tenant } => file::check(session, &files, tenant.as_ref()).await,
            Self::Keygen { out } => trust::keygen(session, &out),
            Self::Sign { key, files } => trust::sign(session, &key, &files),
            Self::Verify { files, tenant } => trust::verify(session, &files, tenant.as_ref()),
            Self::Reload { timeout } => serving::reload(session, timeout).await,
        }
    }
}
