//! The contract in `wit/` as Rust types, generated at build time. Borrowed types for
//! what goes into a guest, owned ones for what comes out; nothing outside this crate
//! sees either.

// Generated code is not held to our lints.
#![allow(missing_docs, unreachable_pub, dead_code, unused_variables, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "complete-plugin",
    imports: {
        // These may wait for what is behind them.
        "bulkhead:handler/kv": async | trappable,
        "bulkhead:handler/secrets": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
