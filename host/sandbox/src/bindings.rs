//! The contract in `wit/` as Rust types, generated at build time. Borrowed types for
//! what goes into a guest, owned ones for what comes out; nothing outside this crate
//! sees either.

// Generated code is not held to our lints.
#![allow(missing_docs, unreachable_pub, dead_code, unused_variables)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "batch-plugin",
    imports: { default: trappable },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
