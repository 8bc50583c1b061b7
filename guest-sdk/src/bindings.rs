//! The generated bindings of the contract in `wit/`. Only `export`, `host` and the
//! expansion of `plugin!` name them; nothing of them is part of the SDK's interface.

// Generated code is not held to our lints.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

wit_bindgen::generate!({
    path: "../wit",
    world: "complete-plugin",
    pub_export_macro: true,
    export_macro_name: "__export_plugin",
});
