//! Every gate between a file and a plugin, passed and not passed.

use std::time::Duration;

use bulkhead_core::{Backoff, LimitsRequest, RetryRequest};
use bulkhead_sandbox::{Gate, Manifest, PluginKind, PluginSource, Sandbox, SandboxConfig};

use crate::rig::{guest, load_bytes, sandbox, source, task_type, unruly};
use crate::shapes;

#[tokio::test]
async fn a_good_plugin_describes_itself() {
    let plugin = unruly().await;
    assert_eq!((plugin.name(), plugin.kind()), ("unruly", PluginKind::Component));
    let echo = plugin.handler(&task_type("echo")).unwrap();
    assert_eq!(echo.description, "Returns its payload.");
    assert_eq!(echo.limits.fuel, Some(1_000_000_000));
    assert_eq!(echo.limits.memory_bytes, Some(32 << 20));
    assert_eq!(echo.limits.wall_ms, Some(5_000));
    let retry = echo.retry.as_ref().unwrap();
    let linear = Backoff::Linear { initial_ms: 100, step_ms: 100, max_ms: 1_000 };
    let named = RetryRequest { max_attempts: Some(4), backoff: Some(linear), ..Default::default() };
    assert_eq!(*retry, named, "only what it names");
    assert_eq!(plugin.handler(&task_type("noop")).unwrap().retry, None);
    assert!(plugin.handler(&task_type("nothing")).is_none());
    assert!(plugin.load_times().compile > Duration::ZERO);
}

#[tokio::test]
async fn the_digest_is_the_files() {
    let digest = unruly().await.digest();
    let again = sandbox().await.load(source("other-name", guest("unruly"))).await.unwrap();
    assert_eq!(again.digest(), digest);
    let mut longer = guest("unruly");
    // An empty custom section changes the bytes and not the meaning.
    longer.extend_from_slice(&[0, 2, 1, b'x']);
    let longer = sandbox().await.load(source("unruly", longer)).await.unwrap();
    assert_ne!(longer.digest(), digest);
}

#[tokio::test]
async fn the_manifest_lowers_and_overrides() {
    let retry = RetryRequest { max_attempts: Some(2), jitter: Some(0.0), ..Default::default() };
    let limits = LimitsRequest { wall_ms: Some(9_000), fuel: Some(7), ..Default::default() };
    let manifest = Manifest {
        task_types: Some(vec![task_type("echo")]),
        limits,
        retry: Some(retry.clone()),
        ..Manifest::default()
    };
    let source =
        PluginSource { name: "unruly".into(), bytes: guest("unruly"), manifest, account: None };
    let plugin = sandbox().await.load(source).await.unwrap();
    assert_eq!(plugin.description().handlers.len(), 1);
    let echo = plugin.handler(&task_type("echo")).unwrap();
    assert_eq!(echo.limits.fuel, Some(7), "the manifest is stricter");
    assert_eq!(echo.limits.wall_ms, Some(5_000), "the plugin is stricter");
    let suggested = Backoff::Linear { initial_ms: 100, step_ms: 100, max_ms: 1_000 };
    let both = RetryRequest { backoff: Some(suggested), ..retry };
    assert_eq!(echo.retry, Some(both), "the manifest's, completed by the plugin's");
    let asked = LimitsRequest { wall_ms: Some(1_000), ..Default::default() };
    let limits = plugin.limits(&task_type("echo"), &asked);
    assert_eq!((limits.fuel, limits.wall_ms, limits.memory_bytes), (7, 1_000, 32 << 20));
}

#[track_caller]
fn check(
    loaded: Result<bulkhead_sandbox::Plugin, bulkhead_sandbox::Rejection>,
    gate: Gate,
    says: &str,
) {
    let rejection = loaded.expect_err(says);
    assert_eq!(rejection.gate, gate, "{rejection}");
    assert!(rejection.message.contains(says), "{rejection}");
}

#[tokio::test]
async fn size() {
    let bytes = guest("idle");
    let config = |max_component_bytes| SandboxConfig {
        max_component_bytes,
        concurrency: 1,
        ..Default::default()
    };
    let exact = Sandbox::new(config(bytes.len())).unwrap();
    load_bytes(&exact, bytes.clone()).await.unwrap();
    let tight = Sandbox::new(config(bytes.len() - 1)).unwrap();
    check(load_bytes(&tight, bytes).await, Gate::Size, "`max_component_bytes`");
}

#[tokio::test]
async fn precompiled() {
    let engine = wasmtime::Engine::default();
    let component = engine.precompile_component(&guest("idle")).unwrap();
    check(
        load_bytes(sandbox().await, component).await,
        Gate::Precompiled,
        "a precompiled component",
    );
    let module = engine.precompile_module(b"\0asm\x01\0\0\0").unwrap();
    check(load_bytes(sandbox().await, module).await, Gate::Precompiled, "a precompiled module");
}

#[tokio::test]
async fn no_webassembly() {
    let sandbox = sandbox().await;
    check(load_bytes(sandbox, Vec::new()).await, Gate::Invalid, "empty");
    let text = b"(component)".to_vec();
    check(load_bytes(sandbox, text).await, Gate::Invalid, "text is not accepted");
    check(load_bytes(sandbox, vec![0xff; 4_096]).await, Gate::Invalid, "no WebAssembly binary");
    check(load_bytes(sandbox, b"\0asm".to_vec()).await, Gate::Invalid, "truncated");
    check(load_bytes(sandbox, b"\0asm\x63\0\0\0".to_vec()).await, Gate::Invalid, "version");
}

/// A good plugin with components in components behind it.
#[tokio::test]
async fn nesting() {
    const HEAD: &[u8] = b"\0asm\x0d\0\x01\0";
    // A section with a component in it; its length in five bytes, as long as its form allows.
    let holding = |mut outer: Vec<u8>, inner: &[u8]| {
        outer.push(4);
        outer.extend((0..5).map(|at| {
            let more = if at < 4 { 0x80 } else { 0 };
            ((inner.len() >> (7 * at)) & 0x7f) as u8 | more
        }));
        outer.extend_from_slice(inner);
        outer
    };
    let with = |levels: usize| {
        let inner = (1..levels).fold(HEAD.to_vec(), |inner, _| holding(HEAD.to_vec(), &inner));
        holding(guest("idle"), &inner)
    };
    assert!(load_bytes(sandbox().await, with(19)).await.is_ok());
    check(load_bytes(sandbox().await, with(20)).await, Gate::Invalid, "modules inside one another");
    check(
        load_bytes(sandbox().await, with(2_000)).await,
        Gate::Invalid,
        "modules inside one another",
    );
}

#[tokio::test]
async fn half_written_files() {
    let whole = guest("idle");
    for share in 1..10 {
        let cut = whole[..whole.len() * share / 10].to_vec();
        let rejection = load_bytes(sandbox().await, cut).await.unwrap_err();
        // A cut between two sections leaves a component that is valid and exports nothing.
        let refused = matches!(rejection.gate, Gate::Invalid | Gate::World);
        assert!(refused, "{share}/10: {rejection}");
    }
}

/// A flipped byte may still give a good plugin; it must give an answer.
#[tokio::test]
async fn mutated_files() {
    let whole = guest("idle");
    let mut rejected = 0;
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = (seed >> 8) as usize % bytes.len();
            bytes[at] ^= (seed as u8) | 1;
        }
        rejected += usize::from(load_bytes(sandbox().await, bytes).await.is_err());
    }
    assert!(rejected > 20, "only {rejected} of 60 were rejected");
}

#[tokio::test]
async fn features_that_stay_off() {
    let shared = wat::parse_str(
        r#"(module (memory (export "memory") 1 1 shared) (func (export "_start")))"#,
    );
    check(load_bytes(sandbox().await, shared.unwrap()).await, Gate::Invalid, "not valid");
    let subtyped = wat::parse_str(
        r#"(module (type $t (sub (func))) (type $u (sub $t (func)))
            (table 1 funcref) (func $f (type $u)) (elem (i32.const 0) $f)
            (memory (export "memory") 1)
            (func (export "_start") (call_indirect (type $t) (i32.const 0))))"#,
    );
    check(load_bytes(sandbox().await, subtyped.unwrap()).await, Gate::Invalid, "not valid");
    let wide =
        wat::parse_str(r#"(module (memory (export "memory") i64 1) (func (export "_start")))"#);
    check(load_bytes(sandbox().await, wide.unwrap()).await, Gate::Invalid, "not valid");
}

#[tokio::test]
async fn modules_that_cannot_be_adapted() {
    let odd = wat::parse_str(
        r#"(module (import "env" "launch" (func)) (memory (export "memory") 1)
            (func (export "_start")))"#,
    );
    check(load_bytes(sandbox().await, odd.unwrap()).await, Gate::Adapt, "env");
    let unknown = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "no_such_call" (func))
            (memory (export "memory") 1) (func (export "_start")))"#,
    );
    check(load_bytes(sandbox().await, unknown.unwrap()).await, Gate::Adapt, "no_such_call");
    let bare = wat::parse_str("(module)").unwrap();
    check(load_bytes(sandbox().await, bare).await, Gate::World, "exports nothing");
}

#[tokio::test]
async fn world() {
    let sandbox = sandbox().await;
    let wrong = load_bytes(sandbox, guest("wrongworld")).await;
    check(wrong, Gate::World, "neither `bulkhead:handler/handler@0.1`");
    let empty = wat::parse_str("(component)").unwrap();
    check(load_bytes(sandbox, empty).await, Gate::World, "exports nothing");
    let hollow = wat::parse_str(
        r#"(component (instance $i) (export "bulkhead:handler/handler@0.1.0" (instance $i)))"#,
    );
    check(load_bytes(sandbox, hollow.unwrap()).await, Gate::World, "not exported");
    let mistyped = wat::parse_str(
        r#"(component
            (core module $m (func (export "f") (result i32) (i32.const 0)))
            (core instance $c (instantiate $m))
            (func $f (result u32) (canon lift (core func $c "f")))
            (instance $i (export "describe" (func $f)) (export "handle" (func $f)))
            (export "bulkhead:handler/handler@0.1.0" (instance $i)))"#,
    );
    check(load_bytes(sandbox, mistyped.unwrap()).await, Gate::World, "its `handle` is not");
}

#[tokio::test]
async fn imports_of_any_kind() {
    let imports = [
        r#"(import "wasi:http/outgoing-handler@0.2.0" (instance))"#,
        r#"(import "launch" (func))"#,
        r#"(import "evil" (component))"#,
        r#"(import "m" (core module))"#,
    ];
    for import in imports {
        let text = format!(
            r#"(component {import}
                (core module $m (func (export "run") (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance $exported (export "run" (func $run)))
                (export "wasi:cli/run@0.2.0" (instance $exported)))"#
        );
        let bytes = wat::parse_str(&text).unwrap();
        check(load_bytes(sandbox().await, bytes).await, Gate::Imports, "does not have");
    }
}

#[tokio::test]
async fn shape() {
    let sandbox = sandbox().await;
    load_bytes(sandbox, shapes::command(16, "")).await.unwrap();
    check(load_bytes(sandbox, shapes::command(17, "")).await, Gate::Shape, "17 core");
    let memories = |number| shapes::handler(&"(memory 1)".repeat(number), "");
    load_bytes(sandbox, memories(3)).await.unwrap();
    check(load_bytes(sandbox, memories(4)).await, Gate::Shape, "memor");
    let huge = shapes::handler("(memory 4000)", "");
    check(load_bytes(sandbox, huge).await, Gate::Shape, "memory");
    let table = |elements| shapes::handler(&format!("(table {elements} funcref)"), "");
    load_bytes(sandbox, table(60_000)).await.unwrap();
    check(load_bytes(sandbox, table(70_000)).await, Gate::Shape, "table");
}

#[tokio::test]
async fn compile_budget() {
    let config = SandboxConfig {
        compile_budget: Duration::from_millis(1),
        concurrency: 1,
        ..Default::default()
    };
    let hurried = Sandbox::new(config).unwrap();
    let loaded = load_bytes(&hurried, guest("unruly")).await;
    check(loaded, Gate::CompileBudget, "`compile_budget`");
}

#[tokio::test]
async fn describe() {
    let sandbox = sandbox().await;
    let traps = shapes::handler("(func $f unreachable) (start $f)", "");
    check(load_bytes(sandbox, traps).await, Gate::Describe, "unreachable");
    let hungry = shapes::handler("(func $f (drop (memory.grow (i32.const 60000)))) (start $f)", "");
    check(load_bytes(sandbox, hungry).await, Gate::Describe, "out of memory");
}

#[tokio::test]
async fn smoke() {
    let text = r#"(component
        (core module $m
            (func (export "run") (result i32) (i32.const 0))
            (func $start unreachable) (start $start))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exported (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exported)))"#;
    let bytes = wat::parse_str(text).unwrap();
    check(load_bytes(sandbox().await, bytes).await, Gate::Smoke, "unreachable");
}

#[tokio::test]
async fn description() {
    let sandbox = sandbox().await;
    let load = async |handlers: &[shapes::Described<'_>]| {
        load_bytes(sandbox, shapes::component(&shapes::module(handlers, "", ""))).await
    };
    load(&[("a", None), ("b", Some("{\"type\":\"object\"}"))]).await.unwrap();
    check(load(&[]).await, Gate::Description, "0 task types");
    check(load(&[("a", None), ("a", None)]).await, Gate::Description, "twice");
    check(load(&[("a b", None)]).await, Gate::Description, "character");
    check(load(&[("a", Some("{"))]).await, Gate::Description, "no JSON");
    let long = format!("\"{}\"", "x".repeat(64 << 10));
    check(load(&[("a", Some(&long))]).await, Gate::Description, "65538 bytes");
    let names: Vec<String> = (0..65).map(|at| format!("t{at}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    check(load(&many).await, Gate::Description, "65 task types");
    load(&many[..64]).await.unwrap();
}

#[tokio::test]
async fn manifest() {
    let manifest = Manifest { task_types: Some(vec![task_type("nothing")]), ..Manifest::default() };
    let unknown =
        PluginSource { name: "idle".into(), bytes: guest("idle"), manifest, account: None };
    check(sandbox().await.load(unknown).await, Gate::Manifest, "does not describe");
    for name in ["", "a/b", "a\u{1b}[31m", &"n".repeat(129)] {
        check(
            sandbox().await.load(source(name, guest("idle"))).await,
            Gate::Manifest,
            "no plugin name",
        );
    }
}
