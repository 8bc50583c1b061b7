//! Folders that a plugin was granted: every rule obeyed and violated, on real guest code.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use bulkhead_core::{FailureKind, Limits, Outcome};
use bulkhead_sandbox::{
    Attempt, AttemptEnd, Cancel, CapabilitySet, FolderGrant, FolderQuota, FsGrant, Gate, Grants,
    Plugin, Rejection, Sandbox, SandboxConfig, ScratchHome, Services,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::rig::{asking, attempt, done, failed, task};

static OFFERING: OnceCell<Sandbox> = OnceCell::const_new();

const QUOTA: &str = "error QuotaExceeded";

/// The same of a write by a stream: the guest's C library asks no stream what went wrong, and
/// says EIO.
const FULL: &str = "error Uncategorized 29";

async fn try_load(fs: FsGrant) -> Result<Plugin, Rejection> {
    let offers = CapabilitySet { fs: true, ..CapabilitySet::default() };
    let config = SandboxConfig { offers, ..SandboxConfig::default() };
    let sandbox = OFFERING.get_or_init(async || Sandbox::new(config).unwrap()).await;
    let grants = Grants { fs: Some(fs), ..Grants::default() };
    sandbox.load(asking("filer", grants)).await
}

async fn with_scratch(bytes: u64, files: u64) -> Plugin {
    let scratch = Some(FolderQuota { bytes, files });
    try_load(FsGrant { scratch, dirs: Vec::new() }).await.unwrap()
}

async fn with_folder(host: &Path, write: Option<FolderQuota>) -> Plugin {
    let folder = FolderGrant { host: host.to_owned(), guest: "/data".to_owned(), write };
    try_load(FsGrant { scratch: None, dirs: vec![folder] }).await.unwrap()
}

/// A folder for tests, and scratch folders in it.
struct Place {
    dir: TempDir,
    scratch: ScratchHome,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scratch = ScratchHome::new(dir.path().join("scratch"), 4);
        Self { dir, scratch }
    }

    fn services(&self) -> Services {
        Services { scratch: Some(self.scratch.clone()), ..Services::default() }
    }

    async fn run(&self, plugin: &Plugin, commands: &[&str]) -> AttemptEnd {
        let task = task("file", &commands.join("\n"));
        plugin.attempt(Attempt { services: self.services(), ..attempt(&task) }).await.unwrap()
    }

    async fn answers(&self, plugin: &Plugin, commands: &[&str]) -> Vec<String> {
        let end = self.run(plugin, commands).await;
        done(&end).lines().map(str::to_owned).collect()
    }

    /// How many attempts' folders are there.
    fn scratch_folders(&self) -> usize {
        let hosts = fs::read_dir(self.dir.path().join("scratch")).unwrap();
        hosts.map(|host| fs::read_dir(host.unwrap().path()).unwrap().count()).sum()
    }
}

/// Each answer begins as it is said to.
#[track_caller]
fn begin(answers: &[String], with: &[&str]) {
    assert_eq!(answers.len(), with.len(), "{answers:#?}");
    for (at, (answer, with)) in answers.iter().zip(with).enumerate() {
        assert!(answer.starts_with(with), "{at}: `{with}` was expected: {answers:#?}");
    }
}

#[tokio::test]
async fn a_scratch_folder_is_written_listed_and_read() {
    let (place, plugin) = (Place::new(), with_scratch(1 << 20, 300).await);
    let commands = [
        "list /scratch",
        "say /scratch/a one",
        "append /scratch/a 3",
        "read /scratch/a",
        "mkdir-all /scratch/b/c/d",
        "mv /scratch/a /scratch/b/c/e",
        "at /scratch/b/c/e 1 1",
        "read /scratch/b/c/e",
        "list /scratch/b/c",
        "rm /scratch/b/c/e",
        "rmdir /scratch/b/c/d",
        "new /scratch/n",
        "new /scratch/n",
        "read /scratch/none",
        "write /scratch/large 300000",
        "len /scratch/large",
        "many /scratch/b 200",
        "count /scratch/b",
    ];
    let seen = place.answers(&plugin, &commands).await;
    let expected = [
        "",
        "ok",
        "ok",
        "onexxx",
        "ok",
        "ok",
        "ok",
        "oxexxx",
        "d,e",
        "ok",
        "ok",
        "ok",
        "error AlreadyExists",
        "error NotFound",
        "ok",
        "300000",
        "200",
        "201",
    ];
    begin(&seen, &expected);
    // The next one has nothing of it.
    let seen = place.answers(&plugin, &["count /scratch", "new /scratch/a"]).await;
    assert_eq!(seen, ["0", "ok"]);
}

#[tokio::test]
async fn scratch_bytes() {
    let (place, plugin) = (Place::new(), with_scratch(1_000, 10).await);
    let commands = [
        "write /scratch/a 1000",
        "append /scratch/a 1",
        "at /scratch/a 1000 1",
        "write /scratch/b 1",
        // What is there may be written over.
        "at /scratch/a 0 1000",
        // Shortening gives back, and so does removing.
        "size /scratch/a 400",
        "write /scratch/b 600",
        "append /scratch/b 1",
        "write /scratch/b 10",
        "append /scratch/b 590",
        "rm /scratch/b",
        "append /scratch/a 600",
        "append /scratch/a 1",
        // Taking another's place gives back what that had.
        "size /scratch/a 400",
        "write /scratch/b 600",
        "mv /scratch/b /scratch/a",
        "write /scratch/b 400",
        "append /scratch/b 1",
    ];
    let seen = place.answers(&plugin, &commands).await;
    let expected = [
        "ok", FULL, FULL, FULL, "ok", "ok", "ok", FULL, "ok", "ok", "ok", "ok", FULL, "ok", "ok",
        "ok", "ok", FULL,
    ];
    begin(&seen, &expected);
}

#[tokio::test]
async fn holes_count_in_full() {
    let (place, plugin) = (Place::new(), with_scratch(1_000, 10).await);
    let commands = [
        "size /scratch/a 18446744073709551615",
        "size /scratch/a 1001",
        "size /scratch/a 999",
        "size /scratch/b 2",
        "size /scratch/b 1",
        "new /scratch/c",
        "at /scratch/c 5000 1",
        "at /scratch/c 9223372036854775807 1",
        "len /scratch/c",
    ];
    let seen = place.answers(&plugin, &commands).await;
    begin(&seen[1..8], &[QUOTA, "ok", QUOTA, "ok", "ok", FULL, "error"]);
    assert!(seen[0].starts_with("error") && seen[8] == "0", "{seen:?}");
}

#[tokio::test]
async fn removed_files_count_while_they_are_open() {
    let (place, plugin) = (Place::new(), with_scratch(1_000, 10).await);
    let commands = ["hold /scratch/a 100 300", "rm /scratch/a", "write /scratch/b 1000"];
    let seen = place.answers(&plugin, &commands).await;
    assert_eq!(seen, ["3 then Uncategorized", "ok", "ok"]);
}

#[tokio::test]
async fn open_files() {
    let (place, plugin) = (Place::new(), with_scratch(1_000, 10).await);
    let commands =
        ["say /scratch/a x", "open /scratch/a 8", "open /scratch/a 500", "touch /scratch/a"];
    let seen = place.answers(&plugin, &commands).await;
    begin(&seen, &["ok", "8", "", "ok"]);
    let (opened, error) = seen[2].split_once(" then ").unwrap();
    let opened: u32 = opened.parse().unwrap();
    assert!((8..=128).contains(&opened) && error == "OutOfMemory", "{seen:?}");
}

#[tokio::test]
async fn scratch_files() {
    let (place, plugin) = (Place::new(), with_scratch(1_000, 5).await);
    let commands = [
        "mkdir /scratch/d",
        "many /scratch/d 100",
        "mkdir /scratch/e",
        // One that is there may be opened, and it may have another name.
        "write /scratch/d/many-0 10",
        "mv /scratch/d/many-0 /scratch/d/other",
        "mv /scratch/d/other /scratch/d/many-1",
        "mkdir /scratch/e",
        "new /scratch/f",
        "rmdir /scratch/e",
        "new /scratch/f",
    ];
    let seen = place.answers(&plugin, &commands).await;
    let expected = ["ok", "4 then QuotaExceeded", QUOTA, "ok", "ok", "ok", "ok", QUOTA, "ok", "ok"];
    begin(&seen, &expected);
}

#[tokio::test]
async fn a_scratch_folder_goes_however_the_attempt_ends() {
    let (place, plugin) = (Place::new(), with_scratch(1_000, 10).await);
    for (last, kind) in [
        ("panic", FailureKind::Trapped),
        ("sleep", FailureKind::TimedOut),
        ("cancel", FailureKind::Cancelled),
    ] {
        let cancel = Cancel::new();
        let text = match last {
            "cancel" => "mkdir /scratch/d\nwrite /scratch/d/f 10\nsleep".to_owned(),
            last => format!("mkdir /scratch/d\nwrite /scratch/d/f 10\n{last}"),
        };
        let task = task("file", &text);
        let wall_ms = if last == "cancel" { 600_000 } else { 1_000 };
        let limits = Limits { wall_ms, ..Limits::default() };
        let services = place.services();
        let running =
            plugin.attempt(Attempt { limits, services, cancel: cancel.clone(), ..attempt(&task) });
        let stopping = async {
            while last == "cancel" && !written(place.dir.path()) {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            if last == "cancel" {
                cancel.cancel();
            }
        };
        let (end, ()) = tokio::join!(running, stopping);
        failed(&end.unwrap(), kind);
        place.scratch.emptied().await;
        assert_eq!(place.scratch_folders(), 0, "{last}");
    }
    let end = place.run(&plugin, &["write /scratch/f 10"]).await;
    assert!(matches!(end.outcome, Outcome::Done(_)));
    place.scratch.emptied().await;
    assert_eq!(place.scratch_folders(), 0);
}

/// Whether some attempt wrote its file.
fn written(root: &Path) -> bool {
    let folders = |path: &Path| -> Vec<_> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let hosts = folders(&root.join("scratch"));
    hosts.iter().flat_map(|host| folders(host)).any(|attempt| attempt.join("d/f").exists())
}

#[tokio::test]
async fn a_folder_that_is_only_read() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("sub/a"), "there").unwrap();
    let plugin = with_folder(&data, None).await;
    let commands = [
        "read /data/sub/a",
        "list /data",
        "len /data/sub/a",
        "write /data/b 1",
        "write /data/sub/a 0",
        "append /data/sub/a 1",
        "size /data/sub/a 0",
        "mkdir /data/d",
        "rm /data/sub/a",
        "rmdir /data/sub",
        "mv /data/sub/a /data/b",
        "link /data/sub/a /data/b",
        "symlink sub/a /data/b",
        "read /data/sub/a",
    ];
    let seen = place.answers(&plugin, &commands).await;
    begin(&seen[..3], &["there", "sub", "5"]);
    assert!(seen[3..13].iter().all(|answer| answer.starts_with("error")), "{seen:#?}");
    begin(&seen[3..11], &["error ReadOnlyFilesystem"; 8]);
    assert_eq!(seen[13], "there");
}

#[tokio::test]
async fn a_folder_that_is_written_keeps_what_is_written_and_its_quota() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("before"), [0; 5_000]).unwrap();
    let plugin = with_folder(&data, Some(FolderQuota { bytes: 1_000, files: 2 })).await;
    let commands = [
        "write /data/a 1000",
        "append /data/before 1",
        // Writing over what was there is no growth; what it had gives back no more than was
        // taken.
        "at /data/before 0 5000",
        "rm /data/before",
        "write /data/b 1000",
        "append /data/b 1",
    ];
    let seen = place.answers(&plugin, &commands).await;
    begin(&seen, &["ok", FULL, "ok", "ok", "ok", FULL]);
    assert_eq!(fs::read(data.join("a")).unwrap().len(), 1_000);
    let seen = place.answers(&plugin, &["append /data/a 1000", "many /data 9"]).await;
    assert_eq!(seen, ["ok", "2 then QuotaExceeded"]);
}

#[tokio::test]
async fn nothing_leads_out() {
    let place = Place::new();
    let (data, outside) = (place.dir.path().join("data"), place.dir.path().join("outside"));
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    fs::write(data.join("inside"), "fine").unwrap();
    symlink(&outside, data.join("folder")).unwrap();
    symlink(outside.join("secret"), data.join("file")).unwrap();
    symlink("../outside/secret", data.join("relative")).unwrap();
    symlink("../inside", data.join("sub/back")).unwrap();
    symlink("/proc/self/root", data.join("root")).unwrap();
    symlink("nowhere", data.join("dangling")).unwrap();
    let quota = FolderQuota { bytes: 1_000, files: 5 };
    for write in [None, Some(quota)] {
        let plugin = with_folder(&data, write).await;
        let commands = [
            "read /data/sub/../inside",
            "read /data/sub/back",
            "readlink /data/relative",
            "read /data/../outside/secret",
            "read ../outside/secret",
            "read /etc/passwd",
            "read /data/file",
            "read /data/relative",
            "read /data/folder/secret",
            "list /data/folder",
            "list /data/..",
            "read /data/root/etc/passwd",
            "write /data/folder/new 1",
            "write /data/file 1",
            "write /data/../outside/new 1",
            "write /data/dangling 1",
            "rm /data/folder/secret",
            "mv /data/inside /data/folder/inside",
            "mv /data/folder/secret /data/mine",
            "mkdir /data/folder/new",
            "size /data/relative 0",
            "link /data/inside /data/hard",
            "link /data/file /data/hard",
            "symlink inside /data/soft",
            "symlink /etc/passwd /data/soft",
        ];
        let seen = place.answers(&plugin, &commands).await;
        begin(&seen[..3], &["fine", "fine", "../outside/secret"]);
        let refused = seen[3..].iter().all(|answer| answer.starts_with("error"));
        assert!(refused, "{:#?}", commands.iter().zip(&seen).collect::<Vec<_>>());
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert!(!data.join("hard").exists() && !data.join("nowhere").exists());
    }
}

#[tokio::test]
async fn only_files_and_folders_are_opened() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let pipe = data.join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = UnixListener::bind(data.join("socket")).unwrap();
    let plugin = with_folder(&data, Some(FolderQuota { bytes: 10, files: 10 })).await;
    let commands = [
        "read-some /data/pipe",
        "write /data/pipe 1",
        "append /data/pipe 1",
        "read-some /data/socket",
        "count /data",
        "rm /data/pipe",
        "count /data",
    ];
    let seen = place.answers(&plugin, &commands).await;
    assert!(
        seen[..4].iter().all(|answer| answer.starts_with("error PermissionDenied")),
        "{seen:?}"
    );
    assert_eq!(seen[4..], ["2", "ok", "1"]);
    let plugin = with_folder(Path::new("/dev"), None).await;
    let seen = place.answers(&plugin, &["read-some /data/zero", "read-some /data/null"]).await;
    begin(&seen, &["error PermissionDenied"; 2]);
}

#[tokio::test]
async fn between_folders_nothing_moves_and_paths_are_short() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let quota = FolderQuota { bytes: 1_000, files: 10 };
    let folder = FolderGrant { host: data.clone(), guest: "/data".into(), write: Some(quota) };
    let plugin = try_load(FsGrant { scratch: Some(quota), dirs: vec![folder] }).await.unwrap();
    let commands =
        ["write /scratch/a 900", "mv /scratch/a /data/a", "write /data/b 900", "long /data 3000"];
    let seen = place.answers(&plugin, &commands).await;
    begin(&seen, &["ok", "error CrossesDevices", "ok", "error"]);
    assert!(seen[3].ends_with(" 37"), "the name is too long: {seen:?}");
}

#[tokio::test]
async fn reads_and_writes_are_metered() {
    let (place, plugin) = (Place::new(), with_scratch(1 << 20, 10).await);
    let metering = place.run(&plugin, &["write /scratch/a 70000"]).await.metering;
    assert!(metering.host_calls > 3, "{metering:?}");
    assert_eq!((metering.bytes_in, metering.bytes_out), (0, 70_000));
    let metering = place.run(&plugin, &["say /scratch/a text", "read /scratch/a"]).await.metering;
    assert_eq!((metering.bytes_in, metering.bytes_out), (4, 4));
}

#[tokio::test]
async fn a_batch_has_one_scratch_folder() {
    let (place, plugin) = (Place::new(), with_scratch(1_000, 10).await);
    let tasks = [
        task("file-together", "write /scratch/a 900"),
        task("file-together", "write /scratch/b 900\nlen /scratch/a"),
    ];
    let attempts = tasks.iter().map(|task| Attempt { services: place.services(), ..attempt(task) });
    let end = plugin.attempt_batch(attempts.collect()).await.unwrap();
    assert_eq!(done(&end.ends[0]), "ok");
    assert!(done(&end.ends[1]).starts_with(FULL) && done(&end.ends[1]).ends_with("900"));
    place.scratch.emptied().await;
    assert_eq!(place.scratch_folders(), 0);
}

#[tokio::test]
async fn a_folder_that_is_not_there() {
    let place = Place::new();
    let folder = |host: &Path| FsGrant {
        scratch: None,
        dirs: vec![FolderGrant { host: host.to_owned(), guest: "/data".into(), write: None }],
    };
    let data = place.dir.path().join("data");
    let refused = try_load(folder(&data)).await.unwrap_err();
    assert_eq!(refused.gate, Gate::Manifest);
    assert!(refused.message.contains("data` that `fs.dirs` names"), "{refused}");
    fs::write(&data, "a file").unwrap();
    assert!(try_load(folder(&data)).await.unwrap_err().message.contains("ot a directory"));
    // One that goes later fails the attempt, and nothing of the guest runs.
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let plugin = try_load(folder(&data)).await.unwrap();
    fs::remove_dir(&data).unwrap();
    let gone = plugin.attempt(attempt(&task("file", "count /data"))).await.unwrap();
    let why = &failed(&gone, FailureKind::Retry).message;
    assert!(why.contains("data` that `fs.dirs` names"), "{why}");
    let plugin = with_scratch(1, 1).await;
    let homeless = plugin.attempt(attempt(&task("file", ""))).await.unwrap();
    let why = &failed(&homeless, FailureKind::Retry).message;
    assert!(why.contains("`scratch_dir`") && homeless.metering.fuel == 0, "{why}");
}
