//! What a file is and what it asks for, read without compiling anything.

use serde::{Deserialize, Serialize};
use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload, Validator, WasmFeatures,
};

use crate::text::bounded;
use crate::{Gate, Rejection};

/// Most imports or exports that are looked at.
const MAX_NAMES: usize = 1_000;

/// Longest import or export name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The two binary forms of WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Component,
    Module,
}

/// How a component is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// It exports the handler world.
    Handler,
    /// It exports `wasi:cli/run`.
    Command,
}

/// What a component asks for and offers.
#[derive(Debug)]
pub(super) struct Inspected {
    pub(super) imports: Vec<String>,
    pub(super) entry: Entry,
}

/// Which form `bytes` has, by its header.
pub(super) fn form(bytes: &[u8]) -> Result<Form, Rejection> {
    if bytes.is_empty() {
        return Err(invalid("it is empty"));
    }
    if !bytes.starts_with(b"\0asm") {
        let text = std::str::from_utf8(bytes.get(..512).unwrap_or(bytes)).is_ok();
        let hint = if text { "; text is not accepted, compile it first" } else { "" };
        return Err(invalid(&format!("it is no WebAssembly binary{hint}")));
    }
    if Parser::is_component(bytes) {
        Ok(Form::Component)
    } else if Parser::is_core_wasm(bytes) {
        Ok(Form::Module)
    } else {
        Err(invalid("its header names no known version of WebAssembly, or it is truncated"))
    }
}

/// Whether `bytes` is valid under the features that the engine runs with.
pub(super) fn validate(bytes: &[u8]) -> Result<(), Rejection> {
    let mut features = WasmFeatures::default();
    features.remove(
        WasmFeatures::THREADS
            | WasmFeatures::SHARED_EVERYTHING_THREADS
            | WasmFeatures::MEMORY64
            | WasmFeatures::GC
            | WasmFeatures::EXCEPTIONS
            | WasmFeatures::CM_ASYNC,
    );
    match Validator::new_with_features(features).validate_all(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(&format!(
            "it is not valid: {} (at offset {:#x}); is it half-written?",
            bounded(error.message().to_owned(), 512),
            error.offset()
        ))),
    }
}

/// The names at the outer level of a valid component.
pub(super) fn component(bytes: &[u8]) -> Result<Inspected, Rejection> {
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| invalid(error.message()))? {
            Payload::Version { encoding: Encoding::Module | Encoding::Component, .. } => {
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let import = import.map_err(|error| invalid(error.message()))?;
                    imports.push((import.name.name, import.ty));
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export.map_err(|error| invalid(error.message()))?;
                    if export.kind == ComponentExternalKind::Instance {
                        exports.push(export.name.name);
                    }
                }
            }
            _ => {}
        }
        if imports.len() > MAX_NAMES || exports.len() > MAX_NAMES {
            return Err(invalid(&format!("it has more than {MAX_NAMES} imports or exports")));
        }
    }
    let entry = entry(&exports)?;
    let imports = imports.into_iter().filter_map(|(name, ty)| match ty {
        // A type by itself carries nothing into the guest.
        ComponentTypeRef::Type(_) => None,
        _ => Some(bounded(name.to_owned(), MAX_NAME_BYTES)),
    });
    Ok(Inspected { imports: imports.collect(), entry })
}

fn entry(exports: &[&str]) -> Result<Entry, Rejection> {
    let has = |prefix| exports.iter().any(|name| name.starts_with(prefix));
    if has("bulkhead:handler/handler@0.1.") {
        return Ok(Entry::Handler);
    }
    if has("wasi:cli/run@0.2.") {
        return Ok(Entry::Command);
    }
    let found: Vec<String> = exports
        .iter()
        .take(8)
        .map(|name| format!("`{}`", bounded(name.escape_debug().to_string(), MAX_NAME_BYTES)))
        .collect();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    Err(Rejection::new(
        Gate::World,
        format!(
            "it exports {found}, and neither `bulkhead:handler/handler@0.1` nor \
             `wasi:cli/run@0.2`; build it against the handler world or as a command"
        ),
    ))
}

fn invalid(message: &str) -> Rejection {
    Rejection::new(Gate::Invalid, message)
}
