//! Every behaviour of the gallery on a real host: its outcome is exactly the one in the table,
//! an innocent task completes meanwhile, the host's memory stays under a bound and the host
//! serves afterwards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bulkhead_gallery::{BEHAVIOURS, Behaviour, Rig};
use bulkhead_tests::HostProcess;

/// What eight attempts of 64 MiB may take at one time, and as much again for the host's side of
/// them and for what the allocator holds on to.
const MOST_GROWTH_BYTES: u64 = 2 * 8 * (64 << 20);

fn all() -> impl Iterator<Item = &'static Behaviour> {
    BEHAVIOURS.iter().copied().flatten()
}

async fn rig() -> Rig {
    let command = HostProcess::command();
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm32-wasip2/guest");
    let rig = Rig::start(&PathBuf::from(command.get_program()), &guests).await;
    rig.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Twice each: what the first attempt left behind, the second would find.
#[tokio::test]
async fn every_attack_ends_as_promised_and_harms_nobody() {
    let rig = rig().await;
    let before = rig.resident_bytes().expect("its memory");
    let mut wrong = Vec::new();
    for behaviour in all() {
        let twice = async {
            let first = rig.attack(behaviour).await?;
            let second =
                if behaviour.is_refused() { first.clone() } else { rig.attack(behaviour).await? };
            anyhow::Ok([first, second])
        };
        let (seen, neighbour) = tokio::join!(twice, rig.neighbour_completes());
        match seen {
            Ok(seen) => {
                let seen = seen.into_iter().filter_map(|seen| seen.wrong);
                wrong.extend(seen.map(|wrong| format!("{}: {wrong}", behaviour.name)));
            }
            Err(error) => wrong.push(format!("{}: {error:#}", behaviour.name)),
        }
        if let Err(error) = neighbour {
            wrong.push(format!("{}: its neighbour: {error:#}", behaviour.name));
        }
        let growth = rig.resident_bytes().expect("the host lives").saturating_sub(before);
        if growth > MOST_GROWTH_BYTES {
            wrong.push(format!("{}: the host has grown by {growth} bytes", behaviour.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rig.neighbour_completes().await.expect("the host serves on");
    let log = rig.log();
    // A guest's panic is the reason of a failure and within a line; a host's begins one.
    let panicked = |line: &str| line.starts_with("thread '") && line.contains("panicked");
    let host_panicked = log.lines().any(panicked) || log.contains("the host panicked");
    assert!(!host_panicked, "the host itself panicked: {log}");
    assert!(!rig.log_tells_the_secret(), "a secret in the log: {log}");
    assert!(!log.contains("\u{1b}[2J") && !log.contains('\u{202e}'), "guest text in the log");
}

#[test]
fn the_table_names_promises_that_there_are() {
    let document = include_str!("../../docs/security.md");
    let mut names = BTreeSet::new();
    for behaviour in all() {
        assert!(names.insert(behaviour.name), "`{}` is there twice", behaviour.name);
        assert!(
            document.contains(&format!("\n| **{}** |", behaviour.promise)),
            "`{}` attacks the promise `{}`, which docs/security.md does not make",
            behaviour.name,
            behaviour.promise
        );
        assert!(behaviour.does().ends_with('.'), "`{}` does not say what it does", behaviour.name);
    }
    assert!(names.len() >= 150, "{}", names.len());
}
