//! What must stay with the host's user: keys in files that nobody else can read, and no secret in
//! the arguments or the environment of any process.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bulkhead_tests::{HostProcess, eventually_within, install};
use tempfile::TempDir;

const SECRET: &str = "hunter2-in-the-environment";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let ran = HostProcess::command().args(arguments).output().expect("the binary");
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_signing_key_is_its_owners_alone() {
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("release.key");
    let (key, shown) = (key.as_path(), key.display().to_string());
    let (code, said) = run(&["plugin", "keygen", &shown]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(mode(key), 0o600);
    let secret = fs::read_to_string(key).unwrap();
    let secret = secret.trim_end().rsplit(':').next().unwrap();
    assert!(!said.contains(secret), "it is told: {said}");

    let (code, said) = run(&["plugin", "keygen", &shown]);
    assert_ne!(code, Some(0), "over a key that is there: {said}");
    let plugin = folder.path().join("a.wasm");
    fs::write(&plugin, "x").unwrap();
    let sign = ["plugin", "sign", "--key", &shown, &plugin.display().to_string()];
    let (code, said) = run(&sign);
    assert!(code == Some(0) && !said.contains(secret), "{said}");
    for open in [0o640, 0o604, 0o644] {
        fs::set_permissions(key, fs::Permissions::from_mode(open)).unwrap();
        let (code, said) = run(&sign);
        assert!(code == Some(2) && said.contains("can be read by others"), "{open:o}: {said}");
    }
}

/// A process's arguments or environment, as its user sees them.
fn told(process: u32, what: &str) -> String {
    let bytes = fs::read(format!("/proc/{process}/{what}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', "\n")
}

fn children(process: u32) -> BTreeSet<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children"));
    let listed: Vec<String> = threads.filter_map(|thread| of_thread(thread).ok()).collect();
    listed
        .iter()
        .flat_map(|list| list.split_whitespace())
        .filter_map(|id| id.parse().ok())
        .collect()
}

/// The host has the secret in its environment, since it was put there; the worker that reads a
/// stranger's file has neither it nor anything else.
#[tokio::test]
async fn no_process_has_a_secret_in_its_arguments_and_the_compile_worker_has_none_at_all() {
    let folder = TempDir::new().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let settings = folder.path().join("bulkhead.toml");
    fs::write(&settings, "[secrets.token]\nenv = \"GIVEN_TOKEN\"\n").unwrap();
    install(&plugins, "fetcher");
    fs::write(plugins.join("fetcher.toml"), "[grants.http]\nallow = [\"https://a.example/\"]\n")
        .unwrap();
    let mut command = HostProcess::command();
    command.args(["--broker", "embedded:", "--config"]).arg(&settings);
    command.args(["run", "--name", "host", "--plugins"]).arg(&plugins);
    command.env("GIVEN_TOKEN", SECRET);
    let host = HostProcess::spawn(command, folder.path().join("host.log"));
    let seen = eventually_within(Duration::from_secs(60), "a compile worker", || {
        let seen = children(host.pid()).into_iter().find_map(|child| {
            let (arguments, environment) = (told(child, "cmdline"), told(child, "environ"));
            // Between its making and its start it still is the host's copy.
            (arguments.contains("compile") && !arguments.contains("--plugins"))
                .then_some((arguments, environment))
        });
        std::future::ready(seen)
    })
    .await;
    let (arguments, environment) = seen;
    assert!(!arguments.contains(SECRET), "{arguments}");
    assert!(!environment.contains(SECRET) && !environment.contains("GIVEN_TOKEN"), "{environment}");
    let mut names = environment.lines().filter_map(|pair| Some(pair.split_once('=')?.0));
    let ours = ["MIMALLOC_ARENA_RESERVE", "RAYON_NUM_THREADS"];
    assert_eq!(names.find(|name| !ours.contains(name)), None, "{environment}");
    assert!(!told(host.pid(), "cmdline").contains(SECRET));
}
