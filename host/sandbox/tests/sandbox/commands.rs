//! Plain commands and preview 1 modules as handlers.

use bulkhead_core::{FailureKind, Limits, LogLevel, Outcome, Payload};
use bulkhead_sandbox::{AttemptEnd, Gate, Manifest, PluginKind, PluginSource};

use crate::rig::{command, done, failed, guest, load_bytes, run, sandbox, source, task_type};
use crate::shapes;

#[tokio::test]
async fn payload_in_output_out() {
    let plugin = command().await;
    assert_eq!(plugin.kind(), PluginKind::Command);
    let end = run(plugin, "command", "some text", Limits::default()).await;
    assert_eq!(end.outcome, Outcome::Done(Payload::new(Payload::TEXT, "SOME TEXT")));
    assert_eq!(end.logs.len(), 1);
    assert_eq!(end.logs[0].message, "wrote 9 bytes in upper case");
    assert_eq!(end.logs[0].level, LogLevel::Warn);
}

#[tokio::test]
async fn the_exit_code_says_what_came_of_it() {
    let end = run(command().await, "command", "exit 0", Limits::default()).await;
    assert_eq!(done(&end), "");
    let end = run(command().await, "command", "fail upstream is away", Limits::default()).await;
    let failure = failed(&end, FailureKind::Retry);
    let message = "the command exited with code 1: failed: upstream is away";
    assert_eq!(failure.message, message);
}

/// What exit codes come to.
const EXIT_CODES: [(u8, Option<FailureKind>); 4] = [
    (0, None),
    (1, Some(FailureKind::Retry)),
    (2, Some(FailureKind::Reject)),
    (77, Some(FailureKind::Reject)),
];

/// A command that leaves by `exit-with-code`, which came with WASI 0.2.12.
#[tokio::test]
async fn exit_codes_of_a_component() {
    for (code, kind) in EXIT_CODES {
        let text = format!(
            r#"(component
                (import "wasi:cli/exit@0.2.12" (instance $exit
                    (export "exit-with-code" (func (param "status-code" u8)))))
                (core func $exit (canon lower (func $exit "exit-with-code")))
                (core module $m
                    (import "" "exit" (func $exit (param i32)))
                    (func (export "run") (result i32) (call $exit (i32.const {code})) unreachable))
                (core instance $i (instantiate $m
                    (with "" (instance (export "exit" (func $exit))))))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance $exported (export "run" (func $run)))
                (export "wasi:cli/run@0.2.12" (instance $exported)))"#
        );
        let plugin = load_bytes(sandbox().await, wat::parse_str(&text).unwrap()).await.unwrap();
        check_exit(&run(&plugin, "shape", "", Limits::default()).await, kind);
    }
}

#[tokio::test]
async fn exit_codes_of_a_preview_1_command() {
    for (code, kind) in EXIT_CODES {
        let text = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func (export "_start") (call $exit (i32.const {code}))))"#
        );
        let plugin = load_bytes(sandbox().await, wat::parse_str(&text).unwrap()).await.unwrap();
        check_exit(&run(&plugin, "shape", "", Limits::default()).await, kind);
    }
}

#[track_caller]
fn check_exit(end: &AttemptEnd, kind: Option<FailureKind>) {
    match kind {
        None => assert_eq!(done(end), ""),
        Some(kind) => assert!(failed(end, kind).message.contains("exited with code")),
    }
}

#[tokio::test]
async fn limits_hold_for_commands() {
    let output = Limits { result_bytes: 1_000, ..Limits::default() };
    done(&run(command().await, "command", &"x".repeat(900), output).await);
    let end = run(command().await, "command", &"x".repeat(1_001), output).await;
    failed(&end, FailureKind::ResultTooLarge);

    let fuel = Limits { fuel: 10_000_000, ..Limits::default() };
    let end = run(command().await, "command", "spin", fuel).await;
    failed(&end, FailureKind::OutOfFuel);
}

#[tokio::test]
async fn a_command_serves_what_its_manifest_names() {
    assert_eq!(command().await.description().handlers[0].task_type, task_type("command"));
    let manifest = Manifest {
        task_types: Some(vec![task_type("shout"), task_type("yell")]),
        ..Manifest::default()
    };
    let renamed = PluginSource { manifest, ..source("command", guest("command")) };
    let plugin = sandbox().await.load(renamed).await.unwrap();
    let served: Vec<_> =
        plugin.description().handlers.iter().map(|handler| handler.task_type.as_str()).collect();
    assert_eq!(served, ["shout", "yell"]);

    let rejection = sandbox().await.load(source("-", guest("command"))).await.unwrap_err();
    assert_eq!(rejection.gate, Gate::Manifest, "{rejection}");
    assert!(rejection.message.contains("task_types"), "{rejection}");
}

#[tokio::test]
async fn a_preview_1_command_is_adapted() {
    let module = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
                (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "hello")
            (data (i32.const 0) "\10\00\00\00\05\00\00\00")
            (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
                (call $exit (i32.const 0))))"#,
    )
    .unwrap();
    let plugin = load_bytes(sandbox().await, module).await.unwrap();
    assert_eq!(plugin.kind(), PluginKind::Adapted);
    assert_eq!(done(&run(&plugin, "shape", "", Limits::default()).await), "hello");
}

#[tokio::test]
async fn a_preview_1_library_with_the_handler_world_is_adapted() {
    let module = shapes::module(&[("shape", None)], "", "");
    let plugin = load_bytes(sandbox().await, module).await.unwrap();
    assert_eq!(plugin.kind(), PluginKind::Adapted);
    assert_eq!(done(&run(&plugin, "shape", "", Limits::default()).await), "");
}
