//! Core modules for WASI preview 1 become components: the adapter that the WebAssembly
//! toolchains use translates their imports. A module with `_start` becomes a command,
//! any other one a library that must export the handler world.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{ExternalKind, Parser, Payload};
use wit_component::ComponentEncoder;

use crate::text::bounded;
use crate::{Gate, Rejection};

/// Adapt a valid core module.
pub(super) fn to_component(module: &[u8]) -> Result<Vec<u8>, Rejection> {
    let adapter = if is_command(module) {
        WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    };
    let encode = || {
        ComponentEncoder::default()
            .module(module)?
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?
            .encode()
    };
    encode().map_err(|error| {
        let why = bounded(format!("{error:#}"), 1_024);
        let message = format!(
            "it is a core module that cannot be adapted to a component: {why}; build it for \
             wasm32-wasip2, or for wasm32-wasip1 with no imports but `wasi_snapshot_preview1`"
        );
        Rejection::new(Gate::Adapt, message)
    })
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
