//! Modules that no toolchain makes, written section by section.

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemorySection, MemoryType,
    Module, TypeSection,
};

/// One memory that begins with a page.
pub(crate) fn memory() -> MemorySection {
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    memories
}

/// A module of functions that take and return nothing.
pub(crate) fn of_functions(bodies: &[Function]) -> Vec<u8> {
    build(bodies, |_| {})
}

/// The same as a command, which begins with the first.
pub(crate) fn command(bodies: &[Function]) -> Vec<u8> {
    build(bodies, |module| {
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0).export("_start", ExportKind::Func, 0);
        module.section(&memory()).section(&exports);
    })
}

fn build(bodies: &[Function], between: impl FnOnce(&mut Module)) -> Vec<u8> {
    let (mut types, mut functions, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for body in bodies {
        functions.function(0);
        code.function(body);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions);
    between(&mut module);
    module.section(&code);
    module.finish()
}
