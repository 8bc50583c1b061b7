//! Help, completions, configuration, and what is refused before anything is asked of a
//! broker.

use bulkhead_tests::{HostProcess, Ran, ran};

use super::*;

#[test]
fn the_version_names_the_engine_that_is_built_in() {
    let said = Ran::of(&["--version"]).succeeds().stdout;
    let lock = include_str!("../../../Cargo.lock");
    let (_, rest) = lock.split_once("\nname = \"wasmtime\"\nversion = \"").unwrap();
    let (engine, _) = rest.split_once('"').unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(said.trim(), format!("bulkhead {version} (wasmtime {engine})"));
}

#[test]
fn help_shows_every_command_and_the_exit_codes() {
    insta::assert_snapshot!("help", Ran::of(&["--help"]).all());
    for command in [
        "run",
        "submit",
        "task list",
        "task cancel",
        "task wait",
        "batch submit",
        "schedule put",
        "schedule next",
        "queue limit",
        "queue policy set",
        "queue usage",
        "queue events",
        "queue purge",
        "dead replay",
        "doctor",
        "plugin reload",
        "config check",
        "top",
    ] {
        let mut args: Vec<&str> = command.split(' ').collect();
        args.push("--help");
        let name = format!("help_{}", command.replace(' ', "_"));
        insta::assert_snapshot!(name, Ran::of(&args).succeeds().stdout);
    }
}

#[test]
fn completions_are_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Ran::of(&["completions", shell]).succeeds().stdout;
        assert!(script.contains("submit") && script.contains("--jsonl"), "{shell}");
    }
}

#[test]
fn what_was_written_is_told_with_what_to_write_instead() {
    for (args, says) in [
        (&["task", "show", "123"][..], "`123` is no task's id; write a UUID"),
        (&["batch", "show", "123"], "`123` is no batch's id; write a UUID"),
        (&["queue", "usage", "q", "--from", "yesterday"], "write a day (UTC), such as"),
        (&["--broker", "http://x", "queue", "list"], "`http://x` is no usable broker URL: write"),
        (&["--broker", "http://x", "queue", "list"], "embedded:PATH needs no server"),
    ] {
        let ran = Ran::of(args).exits(2);
        assert!(ran.stderr.contains(says), "`{says}` is not in: {}", ran.stderr);
    }
}

#[test]
fn wrong_usage_and_configuration_exit_with_2() {
    for args in [
        &["submit", "t"][..],
        &["task", "show", "no-id"],
        &["submit", "bad type", "--data", "x"],
        &["submit", "t", "--data", "x", "--delay", "10"],
        &["submit", "t", "--data", "x", "--meta", "no-pair"],
        &["submit", "t", "--data", "x", "--priority", "urgent"],
        &["--config", "missing.toml", "queue", "list"],
        &["--broker", "http://h", "queue", "list"],
        &["run", "--log-level", "loud"],
        &["submit", "t", "--file", "missing.txt"],
        &["plugin", "inspect", "missing.wasm"],
    ] {
        let ran = Ran::of(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{args:?}: {}", ran.stdout);
    }
}

#[test]
fn a_broker_that_is_not_there_is_said_with_its_remedy_and_without_its_password() {
    let url = "redis://ann:secret@127.0.0.1:1";
    let ran = Ran::of(&["--broker", url, "queue", "list"]);
    masked(|| insta::assert_snapshot!("unreachable", ran.all()));
    assert_eq!(ran.code, 3);
    let embedded = Ran::of(&["--broker", "embedded:no-such-folder", "queue", "list"]);
    masked(|| insta::assert_snapshot!("unreachable_embedded", embedded.all()));
    assert_eq!(embedded.code, 3);
    let check = Ran::of(&["--broker", url, "config", "check", "--json"]).succeeds();
    assert!(!check.stdout.contains("secret"), "{}", check.stdout);
}

#[test]
fn config_check_says_what_is_in_effect_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bulkhead.toml");
    std::fs::write(
        &file,
        "[host]\nname = \"h\"\nguest_threads = 2\nmemory = \"4 GiB\"\n[queues.mail]\nretention = \"1h\"\n",
    )
    .unwrap();
    let check = |args: &[&str]| {
        let mut command = HostProcess::command();
        command
            .current_dir(folder.path())
            .env("BULKHEAD_LIMITS__MEMORY", "64 MiB")
            .args(["config", "check", "--concurrency", "8"])
            .args(args);
        ran(&mut command).succeeds()
    };
    insta::assert_snapshot!("config_check", check(&[]).stdout);
    let settings = check(&["--json"]).json();
    let memory = settings.as_array().unwrap().iter().find(|s| s["key"] == "limits.memory").unwrap();
    assert_eq!(memory["value"], "64 MiB");
    assert_eq!(memory["from"], "env BULKHEAD_LIMITS__MEMORY");

    std::fs::write(&file, "[host]\nconcurency = 3\n").unwrap();
    let ran = Ran::of(&["--config", file.to_str().unwrap(), "config", "check"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("did you mean `concurrency`?"), "{}", ran.stderr);
}
