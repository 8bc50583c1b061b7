//! Core modules for WASI preview 1 become components: the adapter that the WebAssembly
//! toolchains use translates their imports. A module with `_start` becomes a command,
//! any other one a library that must export the handler world.
//!
//! The adapter turns every exit code but 0 into a plain failure. A command's code says
//! more here, so `proc_exit` goes past the adapter to `exit-with-code`.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasm_encoder::reencode::{Reencode as _, RoundtripReencoder};
use wasm_encoder::{ImportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::text::bounded;
use crate::{Gate, Rejection};

/// The part of WASI that carries an exit code.
const EXIT_WIT: &str = "package wasi:cli@0.2.12;
    interface exit { exit-with-code: func(status-code: u8); }
    world exit-codes { import exit; }";

const EXIT_INTERFACE: &str = "wasi:cli/exit@0.2.12";

/// What went wrong, in the adapter's own words.
type Why = Box<dyn std::error::Error + Send + Sync>;

/// Adapt a valid core module.
pub(super) fn to_component(module: &[u8]) -> Result<Vec<u8>, Rejection> {
    let adapted = if is_command(module) { command(module) } else { library(module) };
    adapted.map_err(|why| {
        let why = bounded(with_causes(why.as_ref()), 1_024);
        let message = format!(
            "it is a core module that cannot be adapted to a component: {why}; build it for \
             wasm32-wasip2, or for wasm32-wasip1 with no imports but `wasi_snapshot_preview1`"
        );
        Rejection::new(Gate::Adapt, message)
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn command(module: &[u8]) -> Result<Vec<u8>, Why> {
    let module = keep_exit_code(module)?;
    encode(&module, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
}

fn library(module: &[u8]) -> Result<Vec<u8>, Why> {
    encode(module, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
}

fn encode(module: &[u8], adapter: &[u8]) -> Result<Vec<u8>, Why> {
    Ok(ComponentEncoder::default()
        .module(module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?
        .encode()?)
}

fn is_command(module: &[u8]) -> bool {
    Parser::new(0).parse_all(module).map_while(Result::ok).any(|payload| match payload {
        Payload::ExportSection(exports) => exports
            .into_iter()
            .map_while(Result::ok)
            .any(|export| export.name == "_start" && export.kind == ExternalKind::Func),
        _ => false,
    })
}

/// The module with its import of `proc_exit` replaced by one of `exit-with-code`, which
/// has the same type.
fn keep_exit_code(module: &[u8]) -> Result<Vec<u8>, Why> {
    let mut kept = Module::new();
    let mut replaced = false;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ImportSection(section) = payload {
            let mut imports = ImportSection::new();
            for import in section.into_imports() {
                let import = import?;
                let exits = import.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME
                    && import.name == "proc_exit";
                replaced |= exits;
                let (from, name) = match exits {
                    true => (EXIT_INTERFACE, "exit-with-code"),
                    false => (import.module, import.name),
                };
                imports.import(from, name, RoundtripReencoder.entity_type(import.ty)?);
            }
            kept.section(&imports);
        } else if let Some((id, range)) = payload.as_section() {
            kept.section(&RawSection { id, data: &module[range] });
        }
    }
    let mut kept = kept.finish();
    if replaced {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("exit.wit", EXIT_WIT)?;
        let world = resolve.select_world(&[package], Some("exit-codes"))?;
        embed_component_metadata(&mut kept, &resolve, world, StringEncoding::UTF8)?;
    }
    Ok(kept)
}
