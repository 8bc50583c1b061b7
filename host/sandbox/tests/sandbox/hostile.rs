//! Hostile files: each is refused at its gate by a worker with limits, and the host serves on.

use std::time::Duration;

use bulkhead_core::Outcome;
use bulkhead_sandbox::{Gate, Plugin, Sandbox, SandboxConfig};
use wasm_encoder::{
    Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection, DataSection,
    EntityType, Function, ImportSection, Module, ModuleSection, NestedComponentSection,
    PrimitiveValType, RawSection, TypeSection,
};

use crate::modules::{memory, of_functions};
use crate::rig::{attempt, guest, load, load_bytes, task};
use crate::worker::{sandbox, worker};

/// A host with a plugin that serves while hostile files arrive.
struct Host {
    sandbox: Sandbox,
    idle: Plugin,
}

impl Host {
    async fn start() -> Self {
        let sandbox = sandbox(SandboxConfig {
            compiler: worker(),
            compile_budget: Duration::from_secs(10),
            compile_memory_bytes: 512 << 20,
            ..Default::default()
        });
        let idle = load(&sandbox, "idle").await;
        Self { sandbox, idle }
    }

    /// The file is refused at this gate, and the host serves on.
    async fn refuses(&self, what: &str, bytes: Vec<u8>, gate: Gate, says: &str) {
        let refused = load_bytes(&self.sandbox, bytes).await.expect_err(what);
        assert_eq!(refused.gate, gate, "{what}: {refused}");
        assert!(refused.message.contains(says), "{what}: {refused}");
        self.serves(what).await;
    }

    async fn serves(&self, after: &str) {
        let end = self.idle.attempt(attempt(&task("idle", ""))).await.unwrap();
        assert!(matches!(end.outcome, Outcome::Done(_)), "{after}: {:?}", end.outcome);
    }
}

fn nested(depth: usize) -> Vec<u8> {
    let mut component = Component::new();
    for _ in 1..depth {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&component));
        component = outer;
    }
    component.finish()
}

#[tokio::test]
async fn files_that_are_too_much() {
    let host = Host::start().await;

    host.refuses("deep nesting", nested(40), Gate::Invalid, "inside one another").await;
    let mut many = Component::new();
    for _ in 0..2_000 {
        many.section(&ModuleSection(&Module::new()));
    }
    host.refuses("modules", many.finish(), Gate::Invalid, "1000 modules").await;

    let mut imports = ImportSection::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    for at in 0..100_000_u32 {
        imports.import("m", &format!("f{at}"), EntityType::Function(0));
    }
    let mut module = Module::new();
    module.section(&types).section(&imports);
    host.refuses("imports", module.finish(), Gate::Invalid, "10000 imports").await;

    let mut imports = ComponentImportSection::new();
    for at in 0..100_000_u32 {
        let ty = ComponentTypeRef::Component(0);
        let name = format!("c{at}");
        imports.import(&name, ty);
    }
    let mut component = Component::new();
    component.section(&imports);
    host.refuses("imports", component.finish(), Gate::Invalid, "10000 imports").await;

    let mut types = TypeSection::new();
    for _ in 0..100_000 {
        types.ty().function([], []);
    }
    let mut module = Module::new();
    module.section(&types);
    host.refuses("types", module.finish(), Gate::Invalid, "50000 types").await;

    let mut types = ComponentTypeSection::new();
    for _ in 0..100_000 {
        types.defined_type().primitive(PrimitiveValType::U8);
    }
    let mut component = Component::new();
    component.section(&types);
    host.refuses("types", component.finish(), Gate::Invalid, "50000 types").await;

    let mut body = Function::new([]);
    for _ in 0..(2 << 20) {
        body.instructions().nop();
    }
    body.instructions().end();
    host.refuses("a huge function", of_functions(&[body]), Gate::Invalid, "at most 2097152").await;

    let mut data = DataSection::new();
    for _ in 0..150_000 {
        data.active(0, &wasm_encoder::ConstExpr::i32_const(65_000), [0; 4]);
    }
    let mut module = Module::new();
    module.section(&memory()).section(&data);
    host.refuses("data segments", module.finish(), Gate::Invalid, "segments").await;
}

#[tokio::test]
async fn counts_that_lie() {
    let host = Host::start().await;
    // A section of a few bytes that claims four thousand million entries.
    for id in [1_u8, 2, 3, 7, 9, 10, 11] {
        let mut module = Module::new();
        module.section(&RawSection { id, data: &[0xff, 0xff, 0xff, 0xff, 0x0f] });
        let bytes = module.finish();
        let refused = load_bytes(&host.sandbox, bytes).await.expect_err("a lie");
        assert_eq!(refused.gate, Gate::Invalid, "section {id}: {refused}");
    }
    host.serves("lies").await;
}

/// Valid and hard on a compiler: it either fits the limits or is stopped by them.
#[tokio::test]
async fn a_function_of_blocks_inside_blocks() {
    let host = Host::start().await;
    let mut body = Function::new([]);
    for _ in 0..300_000 {
        body.instructions().block(wasm_encoder::BlockType::Empty);
    }
    for _ in 0..=300_000 {
        body.instructions().end();
    }
    let refused = load_bytes(&host.sandbox, of_functions(&[body])).await.expect_err("no command");
    let gates = [Gate::Invalid, Gate::World, Gate::Compile, Gate::CompileBudget];
    assert!(gates.contains(&refused.gate), "{refused}");
    host.serves("blocks").await;
}

#[tokio::test]
async fn files_that_are_something_else() {
    let host = Host::start().await;
    let engine = wasmtime::Engine::default();
    let machine_code = engine.precompile_component(&guest("idle")).unwrap();
    let cut = machine_code[..machine_code.len() / 2].to_vec();
    host.refuses("machine code", machine_code, Gate::Precompiled, "machine code").await;
    let refused = load_bytes(&host.sandbox, cut).await.expect_err("half of it");
    assert!(matches!(refused.gate, Gate::Precompiled | Gate::Invalid), "{refused}");
    let text = b"(component (import \"wasi:cli/run@0.2.0\" (func)))".to_vec();
    host.refuses("text", text, Gate::Invalid, "text is not accepted").await;
    host.refuses("zip", b"PK\x03\x04\x14\0".to_vec(), Gate::Invalid, "no WebAssembly").await;
}

/// A file that is cut or changed anywhere gets an answer, and the host serves on.
#[tokio::test]
async fn files_that_are_damaged() {
    let host = Host::start().await;
    let whole = guest("idle");
    for share in 1..6 {
        let cut = whole[..whole.len() * share / 6].to_vec();
        let refused = load_bytes(&host.sandbox, cut).await.expect_err("a cut file");
        assert!(matches!(refused.gate, Gate::Invalid | Gate::World), "{share}/6: {refused}");
    }
    let mut refused = 0;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20 {
        let mut bytes = whole.clone();
        for _ in 0..8 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = (seed >> 8) as usize % bytes.len();
            bytes[at] ^= (seed as u8) | 1;
        }
        refused += usize::from(load_bytes(&host.sandbox, bytes).await.is_err());
    }
    assert!(refused > 8, "only {refused} of 20 were refused");
    host.serves("damaged files").await;
}
