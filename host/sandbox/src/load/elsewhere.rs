//! Loading a plugin whose guests run in worker processes.
//!
//! Its machine code is compiled or found as ever, and never loaded here: a worker that is there
//! for nothing else links it and lets it describe itself. What that worker says goes through
//! the same checks as what a guest says here. The other half of this file is the worker's.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_core::Digest;

use super::artifact::{Artifact, Facts};
use super::inspect::Entry;
use super::{Approval, Compiled, blocking, broken, check_folders, describe, link};
use crate::bindings::bulkhead::handler::types;
use crate::grants::Grants;
use crate::need::Granted;
use crate::plugin::{LoadTimes, Manifest, Plugin, PluginDescription, PluginKind, Program};
use crate::sandbox::Sandbox;
use crate::worker::{Ware, Workers};
use crate::{Gate, Hold, PluginSource, Rejection};

/// Folders of the host that a plugin may be granted: as many as can be passed at one time.
const MAX_FOLDERS: usize = 200;

impl Sandbox {
    /// Take a file whose form was checked through the remaining gates.
    pub(super) async fn load_elsewhere(
        &self,
        workers: &Arc<Workers>,
        source: PluginSource,
        room: Hold,
    ) -> Result<Plugin, Rejection> {
        let PluginSource { name, bytes, manifest, account } = source;
        let began = Instant::now();
        let (artifact, approval, digest, cached) =
            self.artifact(&name, bytes, &manifest, account).await?;
        let uses = approval.grant(&artifact.facts.imports)?.uses;
        check_folders(&manifest, uses).await?;
        if manifest.grants.fs.as_ref().is_some_and(|fs| fs.dirs.len() > MAX_FOLDERS) {
            let message = format!(
                "`fs.dirs` has more than {MAX_FOLDERS} folders, which a worker \
                 process cannot be passed; grant fewer"
            );
            return Err(Rejection::new(Gate::Manifest, message));
        }
        let facts = artifact.facts.clone();
        let code_bytes = artifact.code().len();
        let ware = Ware {
            name: name.clone(),
            digest,
            facts: facts.clone(),
            grants: manifest.grants.clone(),
            code_bytes: code_bytes as u64,
        };
        let making = workers.clone();
        let mut elsewhere = blocking(move || {
            making.ware(ware, artifact.code()).map_err(|error| broken(&error.to_string()))
        })
        .await?;
        let took = began.elapsed();
        let _turn = self.loads().turn(approval.tenant()).await;
        let began = Instant::now();
        let limits = self.config().describe_limits;
        let described = workers.describe(&mut elsewhere, limits).await?;
        let (description, kind) = match facts.entry {
            Entry::Handler => {
                let batches = elsewhere.takes_batches();
                let checked = describe::checked(described, batches, &name, &manifest)?;
                (checked, PluginKind::Component)
            }
            Entry::Command => (describe::of_command(&name, &manifest)?, PluginKind::Command),
        };
        let compiled = Compiled {
            program: Program::Elsewhere(Arc::new(elsewhere)),
            digest,
            kind: if facts.adapted { PluginKind::Adapted } else { kind },
            asked: facts.imports,
            uses,
            took,
            cached,
            code_bytes,
        };
        self.admit(&name, manifest, compiled, (description, began.elapsed()), room)
    }
}

/// A plugin of the host's machine code, in a worker process. Blocks.
pub(crate) fn from_host(
    sandbox: &Sandbox,
    name: String,
    digest: Digest,
    facts: Facts,
    grants: Grants,
    code: Vec<u8>,
) -> Result<Plugin, Rejection> {
    let offers = sandbox.config().offers;
    let approval = Approval { name: name.clone(), account: None, grants: grants.clone(), offers };
    let artifact = Artifact::from_host(facts, code);
    let (program, kind, Facts { imports, .. }, uses) = link(sandbox.engine(), artifact, &approval)?;
    let nothing =
        PluginDescription { name: name.clone(), version: String::new(), handlers: Vec::new() };
    Ok(Plugin {
        sandbox: sandbox.clone(),
        program,
        name: Arc::from(name),
        digest,
        kind,
        asked: imports,
        uses,
        grants: Arc::new(grants.clone()),
        // What it handles is the host's affair.
        description: nothing,
        manifest: Manifest { grants, ..Manifest::default() },
        load_times: LoadTimes::default(),
        // What it may come to is held by the host, which hands attempts over.
        granted: Granted::default(),
        most_bytes: 0,
        _standing: None,
    })
}

/// What a plugin says of itself and whether it takes batches, in a worker process.
pub(crate) async fn describe_raw(
    sandbox: &Sandbox,
    plugin: &Plugin,
) -> Result<(types::PluginDescription, bool), (Gate, String)> {
    let described = describe::raw(sandbox, &plugin.program, &plugin.manifest, plugin.uses).await;
    let described = described.map_err(|rejection| (rejection.gate, rejection.message))?;
    let batches = match &plugin.program {
        Program::Handler(program) => program.takes_batches(),
        Program::Command(_) | Program::Elsewhere(_) => false,
    };
    Ok((described, batches))
}
