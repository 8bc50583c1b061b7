//! From the text of a hostile core module to a component.
//!
//! A text holds what is peculiar to it. What every handler must have besides (memory,
//! `cabi_realloc`, `describe`, `handle`) is added unless the text has its own, with a description
//! of one task type at a fixed place:
//!
//! | Address | What is there |
//! |---|---|
//! | 0 | zeros: a result that is an empty output |
//! | 256 | the description: name, version, list of task types |
//! | 288 | the only task type: 160 bytes |
//! | 512 | its name |
//! | 65536 | what `cabi_realloc` gives out, without end and without growing the memory |

use std::fmt::Write as _;

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const CONTRACT: &str = include_str!("../../../wit/bulkhead.wit");
const WORLD: &str = include_str!("../wit/hostile.wit");

const NAME_AT: usize = 512;
const DESCRIPTION_AT: usize = 256;
const TASK_TYPE_AT: usize = 288;

/// The component of a text; `name` is its plugin's and its task type's.
pub fn component(name: &str, text: &str) -> Result<Vec<u8>> {
    let text = whole(name, text);
    let mut module = wat::parse_str(&text).with_context(|| format!("the text of `{name}`"))?;
    let mut resolve = Resolve::default();
    resolve.push_str("bulkhead.wit", CONTRACT)?;
    let package = resolve.push_str("hostile.wit", WORLD)?;
    let world = resolve.select_world(&[package], Some("hostile"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let encoded = ComponentEncoder::default().module(&module).and_then(|mut of| of.encode());
    encoded.with_context(|| format!("the component of `{name}`"))
}

/// The text with what it lacks.
fn whole(name: &str, text: &str) -> String {
    let standard = [
        ("\"memory\"", r#"(memory $memory (export "memory") 2)"#),
        (
            "\"cabi_realloc\"",
            r#"(func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.set $free (i32.and
                    (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 3))))"#,
        ),
        (
            "\"bulkhead:handler/handler@0.1.0#describe\"",
            r#"(func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
                (i32.const 256))"#,
        ),
        (
            "\"bulkhead:handler/handler@0.1.0#handle\"",
            r#"(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
                (i32.const 0))"#,
        ),
    ];
    let mut module = format!("(module\n{text}\n");
    for (export, definition) in standard {
        if !text.contains(&format!("(export {export})")) {
            module.push_str(definition);
            module.push('\n');
        }
    }
    module.push_str("(global $free (mut i32) (i32.const 65536))\n");
    let data: String = description(name).iter().fold(String::new(), |mut escaped, byte| {
        // Writing to a string does not fail.
        let _ = write!(escaped, "\\{byte:02x}");
        escaped
    });
    let _ = write!(module, "(data (memory $memory) (i32.const {DESCRIPTION_AT}) \"{data}\"))");
    module
}

/// The memory from the description on.
fn description(name: &str) -> Vec<u8> {
    let mut memory = vec![0; NAME_AT];
    let mut put = |at: usize, first: usize, second: usize| {
        for (at, value) in [(at, first), (at + 4, second)] {
            let value = u32::try_from(value).unwrap_or(u32::MAX);
            memory[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
    };
    put(DESCRIPTION_AT, NAME_AT, name.len());
    put(DESCRIPTION_AT + 16, TASK_TYPE_AT, 1);
    put(TASK_TYPE_AT, NAME_AT, name.len());
    memory.extend_from_slice(name.as_bytes());
    memory.split_off(DESCRIPTION_AT)
}
