//! `bulkhead plugin`: what hosts serve, what a file would do, and what is pushed for all hosts.

mod canary;
mod file;
mod push;
mod pushed;
mod serving;
mod trust;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::exit::Exit;
use super::session::Session;
use bulkhead::Identity;
use bulkhead::config::quantity::Span;
use bulkhead::core::{PluginName, TenantName};

/// Look at plugins, check plugin files, and push plugins to all hosts
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
    /// Keep a plugin file in the broker, for all hosts; they take it through their gates, and
    /// serve it when it is activated
    Push {
        /// The `.wasm` file, under the name that it is to serve under; the signature beside it
        /// goes along
        file: PathBuf,
        /// Its manifest, instead of the `.toml` beside it
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
        /// As a plugin of this tenant's
        #[arg(long, value_name = "NAME")]
        tenant: Option<TenantName>,
        /// Do not take it through the gates here first
        #[arg(long)]
        unchecked: bool,
    },
    /// Let all hosts serve a version that was pushed, and wait until they do
    Activate {
        #[command(flatten)]
        which: Which,
        /// The beginning of its digest, at least 6 digits, or the version that it gives itself
        version: String,
        /// Even if a host has refused it
        #[arg(long)]
        force: bool,
        /// How long to wait
        #[arg(long, value_name = "DURATION", default_value = "90s")]
        timeout: Span,
    },
    /// Go back to the version that was active before, and wait until all hosts serve it
    Rollback {
        #[command(flatten)]
        which: Which,
        /// How long to wait
        #[arg(long, value_name = "DURATION", default_value = "90s")]
        timeout: Span,
    },
    /// Let a share of a plugin's tasks go to a version that was pushed; hosts judge it, and
    /// promote it or take it back by themselves
    Canary(canary::CanaryArgs),
    /// Show the versions of a plugin that were pushed, and when which was activated
    History {
        #[command(flatten)]
        which: Which,
    },
    /// Forget all pushed versions of a plugin; hosts serve what is in their folders again
    Remove {
        #[command(flatten)]
        which: Which,
    },
    /// Make all hosts look through their plugin folders now, and wait until they have
    Reload {
        /// How long to wait
        #[arg(long, value_name = "DURATION", default_value = "90s")]
        timeout: Span,
    },
}

/// A pushed plugin.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The plugin
    name: PluginName,
    /// The tenant whose it is
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
}

impl Which {
    fn identity(&self) -> Identity {
        Identity::of(self.tenant.as_ref(), self.name.as_str())
    }
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
            Self::Push { file, manifest, tenant, unchecked } => {
                push::push(session, &file, manifest.as_deref(), tenant, unchecked).await
            }
            Self::Activate { which, version, force, timeout } => {
                pushed::activate(session, &which.identity(), &version, force, timeout).await
            }
            Self::Rollback { which, timeout } => {
                pushed::roll_back(session, &which.identity(), timeout).await
            }
            Self::Canary(args) => args.run(session).await,
            Self::History { which } => pushed::history(session, &which.identity()).await,
            Self::Remove { which } => pushed::remove(session, &which.identity()).await,
            Self::Reload { timeout } => serving::reload(session, timeout).await,
        }
    }
}
