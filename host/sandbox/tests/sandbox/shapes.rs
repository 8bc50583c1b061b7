//! Components of shapes that Rust does not make, from text.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the description of a handler component lies in its memory.
const DESCRIPTION_AT: usize = 256;

/// Where the strings begin that the description points to.
const STRINGS_AT: usize = 16 << 10;

/// Bytes of one handler's record in the canonical ABI.
const HANDLER_BYTES: usize = 160;

/// Where its `max-batch` lies in it.
const MAX_BATCH_AT: usize = 152;

/// A task type that a shape describes, and its schema.
pub(crate) type Described<'a> = (&'a str, Option<&'a str>);

/// A `handle-batch` that returns no results at all.
pub(crate) const HANDLE_BATCH: &str = r#"
    (func (export "bulkhead:handler/batch-handler@0.1.0#handle-batch")
        (param i32 i32) (result i32) (i32.const 0))"#;

/// The core module of a handler plugin: `items` are its further definitions, `handle`
/// the instructions before it returns an empty output.
pub(crate) fn module(handlers: &[Described<'_>], items: &str, handle: &str) -> Vec<u8> {
    build(describe(handlers), items, handle)
}

/// The core module of a plugin with the one task type `shape`, in batches of up to `size`.
pub(crate) fn batch(size: u32, items: &str, handle: &str) -> Vec<u8> {
    let mut data = describe(&[("shape", None)]);
    let at = DESCRIPTION_AT + 32 + MAX_BATCH_AT;
    data[at] = 1;
    data[at + 4..at + 8].copy_from_slice(&size.to_le_bytes());
    build(data, items, handle)
}

fn build(data: Vec<u8>, items: &str, handle: &str) -> Vec<u8> {
    let pages = data.len().div_ceil(64 << 10) + 1;
    let escaped: String = data.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
            (memory (export "memory") {pages})
            {items}
            (global $free (mut i32) (i32.const {free}))
            (data (i32.const 0) "{escaped}")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.set $free (i32.and
                    (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 3))))
            (func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
                (i32.const {DESCRIPTION_AT}))
            (func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
                {handle}
                (i32.const 0)))"#,
        free = (pages - 1) * (64 << 10),
    );
    let mut module = wat::parse_str(&text).unwrap();
    let mut resolve = Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
    let (package, _) = resolve.push_path(wit).unwrap();
    let batches = text.contains("#handle-batch");
    let world = if batches { "batch-plugin" } else { "plugin" };
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// A handler plugin with the one task type `shape`.
pub(crate) fn handler(items: &str, handle: &str) -> Vec<u8> {
    component(&module(&[("shape", None)], items, handle))
}

/// A core module with its component metadata as a component.
pub(crate) fn component(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default().module(module).unwrap().encode().unwrap()
}

/// A plain command that consists of `instances` core instances and runs `body`.
pub(crate) fn command(instances: usize, body: &str) -> Vec<u8> {
    let more = "(core instance (instantiate $m))\n".repeat(instances - 1);
    let text = format!(
        r#"(component
            (core module $m
                (func (export "run") (result i32) {body} (i32.const 0)))
            (core instance $i (instantiate $m))
            {more}
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exported)))"#
    );
    wat::parse_str(&text).unwrap()
}

/// The description as it lies in memory: zeros, the record, the handlers, strings.
fn describe(handlers: &[Described<'_>]) -> Vec<u8> {
    let mut memory = vec![0; STRINGS_AT];
    let list_at = DESCRIPTION_AT + 32;
    assert!(list_at + handlers.len() * HANDLER_BYTES <= STRINGS_AT, "too many handlers");
    put(&mut memory, DESCRIPTION_AT, "shape");
    put(&mut memory, DESCRIPTION_AT + 8, "1.0.0");
    put_pair(&mut memory, DESCRIPTION_AT + 16, list_at, handlers.len());
    for (at, (name, schema)) in handlers.iter().enumerate() {
        let record = list_at + at * HANDLER_BYTES;
        put(&mut memory, record, name);
        put(&mut memory, record + 8, "");
        if let Some(schema) = schema {
            memory[record + 16] = 1;
            put(&mut memory, record + 20, schema);
        }
    }
    memory
}

fn put(memory: &mut Vec<u8>, at: usize, text: &str) {
    let text_at = memory.len();
    memory.extend_from_slice(text.as_bytes());
    put_pair(memory, at, text_at, text.len());
}

fn put_pair(memory: &mut [u8], at: usize, first: usize, second: usize) {
    memory[at..at + 4].copy_from_slice(&(first as u32).to_le_bytes());
    memory[at + 4..at + 8].copy_from_slice(&(second as u32).to_le_bytes());
}
