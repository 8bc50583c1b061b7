//! A host process on a server of its own, with every guest of the gallery in its folder.
//!
//! A behaviour is one plugin file or a task type of one. What must be refused is put into the
//! folder when it is its turn and taken away afterwards.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bulkhead_core::{
    Digest, FailureKind, Outcome, Payload, QueueName, RetryRequest, State, TaskId, TaskType,
    TenantName, Terms,
};
use bulkhead_queue::{Client, NewTask, PluginInfo, RejectedVersion, SubmitLimits, TaskView};
use bulkhead_stage::RedisServer;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::server::Server;
use crate::text::component;
use crate::{BEHAVIOURS, Behaviour, Expected, Guest};

/// The plugins from Rust, and the grants of each. `{port}` is that of the rig's server.
const COMPILED: [(&str, &str); 4] = [
    ("unruly", ""),
    ("hostile", "[grants]\nclocks = \"coarse\"\n"),
    ("fetcher", include_str!("../grants/fetcher.toml")),
    ("greedy", include_str!("../grants/greedy.toml")),
];

/// The ceilings of one attempt: small, so that what is stopped by them is stopped soon.
const SETTINGS: &str = "[limits]\nfuel = 300_000_000\nmemory = \"64 MiB\"\nwall = \"1s\"\n\
    [secrets.token]\nfile = \"token\"\n[secrets.other]\nfile = \"token\"\n";

/// A secret that `greedy` is handed: with what JSON and Rust write otherwise, and two lines.
const SECRET: &str = "s3cr\"et-of-Bk\nline-two-of-it";

/// What of the secret must be told nowhere.
const UNSPOKEN: [&str; 2] = ["s3cr", "line-two-of-it"];

/// Attempts at once.
const CONCURRENCY: &str = "8";

/// Attempts of one tenant at once.
pub(crate) const IN_FLIGHT: u32 = 6;

/// Longest wait for anything to become visible.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host process and what belongs to it. It is killed when this is dropped.
pub struct Rig {
    /// A client of its queue.
    pub client: Client,
    host: Child,
    compiled: PathBuf,
    folder: TempDir,
    web: Server,
    _server: RedisServer,
}

/// What came of a behaviour.
#[derive(Debug, Clone)]
pub struct Seen {
    /// In a word or two: a failure's kind, a state, a gate.
    pub outcome: String,
    /// From its beginning to its end.
    pub stopped_after: Duration,
    /// What was wrong with it, if it was not as expected.
    pub wrong: Option<String>,
}

impl Rig {
    /// Start `host` with the guests that are compiled into the folder `compiled`; return when
    /// it serves all that it should serve.
    pub async fn start(host: &Path, compiled: &Path) -> Result<Self> {
        let server = RedisServer::start();
        let web = Server::start()?;
        let folder = tempfile::tempdir()?;
        for (name, grants) in COMPILED {
            install(folder.path(), name, &built(compiled, name)?)?;
            let grants = grants.replace("{port}", &web.port().to_string());
            fs::write(folder.path().join(format!("{name}.toml")), grants)?;
        }
        let token = folder.path().join("token");
        fs::write(&token, SECRET)?;
        fs::set_permissions(&token, Permissions::from_mode(0o600))?;
        for behaviour in texts().filter(|behaviour| !behaviour.is_refused()) {
            install(folder.path(), behaviour.name, &bytes(behaviour, compiled)?)?;
        }
        let settings = folder.path().join("settings.toml");
        let tenants = format!("[queues.default.tenants.\"*\"]\nin_flight = {IN_FLIGHT}\n");
        fs::write(&settings, format!("{SETTINGS}{tenants}"))?;
        let client = Client::new(Arc::new(server.broker().await), SubmitLimits::default());
        let mut command = Command::new(host);
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("BULKHEAD_") {
                command.env_remove(key);
            }
        }
        let plugins = folder.path();
        command.args(["--broker", &server.url(), "--config"]).arg(&settings);
        command.args(["run", "--name", "host", "--concurrency", CONCURRENCY, "--plugins"]);
        command.arg(plugins).env("RUST_LIB_BACKTRACE", "0");
        command.env("BULKHEAD_PLUGINS__CACHE_DIR", plugins.join("compiled"));
        let log = File::create(plugins.join("host.log"))?;
        let host = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let rig =
            Self { client, host, compiled: compiled.to_owned(), folder, web, _server: server };
        rig.eventually("every guest is served", async || {
            let plugins = rig.plugins().await?;
            let serves = |name: &str| {
                plugins.iter().any(|plugin| plugin.name == name && plugin.serving.is_some())
            };
            if let Some(rejected) = plugins.iter().find_map(|plugin| plugin.rejected.as_ref()) {
                bail!("a guest is refused: {rejected:?}");
            }
            let wanted = texts().filter(|behaviour| !behaviour.is_refused());
            let mut wanted = wanted.map(|it| it.name).chain(COMPILED.map(|(name, _)| name));
            Ok(wanted.all(serves).then_some(()))
        })
        .await?;
        let left = rig.submit_as("neighbour", "kv-leave", "of the neighbour").await?;
        let left = rig.ended(left).await?;
        ensure!(left.state == State::Completed, "the neighbour keeps no value: {left:?}");
        Ok(rig)
    }

    /// Do it once and see what comes of it.
    pub async fn attack(&self, behaviour: &Behaviour) -> Result<Seen> {
        match behaviour.expected {
            Expected::Refused(gates) => self.refused(behaviour, gates).await,
            expected => {
                let id = self.submit(behaviour).await?;
                let view = self.ended(id).await?;
                Ok(judged(&view, expected))
            }
        }
    }

    /// Submit one task of it, as a tenant of its own.
    pub async fn submit(&self, behaviour: &Behaviour) -> Result<TaskId> {
        let (task_type, payload) = match behaviour.guest {
            Guest::Rust { payload, .. } => (behaviour.name, payload),
            Guest::Told { task_type, commands, .. } => (task_type, commands),
            Guest::Text(_) | Guest::File { .. } => (behaviour.name, ""),
        };
        let port = self.web.port();
        let payload = payload.replace("{server}", &format!("127.0.0.1:{port}"));
        let payload = payload.replace("{port}", &port.to_string());
        self.submit_as("attacker", task_type, &payload).await
    }

    /// Submit one task, to be tried once.
    pub async fn submit_as(&self, tenant: &str, task_type: &str, payload: &str) -> Result<TaskId> {
        Ok(self.client.submit(task(tenant, task_type, payload)?).await?.id)
    }

    /// Submit so many alike in one call.
    pub(crate) async fn submit_many(
        &self,
        tenant: &str,
        task_type: &str,
        payload: &str,
        number: usize,
    ) -> Result<()> {
        let tasks = (0..number).map(|_| task(tenant, task_type, payload));
        self.client.submit_many(tasks.collect::<Result<_>>()?).await?;
        Ok(())
    }

    /// Put a guest into the folder under another name, each time with other content.
    pub(crate) fn offer(&self, name: &str, guest: &str, number: u32) -> Result<()> {
        let mut bytes = built(&self.compiled, guest)?;
        bytes.extend(fresh_section()?);
        bytes.extend([0, 5, 0]);
        bytes.extend(number.to_le_bytes());
        install(self.folder.path(), name, &bytes)?;
        Ok(())
    }

    /// Take a file out of the folder, if it is there.
    pub(crate) fn withdraw(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.folder.path().join(format!("{name}.wasm"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A task when nothing more comes of it soon: it has ended, or waits for another attempt.
    pub async fn ended(&self, id: TaskId) -> Result<TaskView> {
        self.eventually("the task has ended", async || {
            let views = self.client.broker().inspect(&QueueName::default(), &[id]).await?;
            let view = views.into_iter().flatten().next().context("a kept task")?;
            let waits = view.state == State::Scheduled && view.attempts() > 0;
            Ok((waits || view.state.is_terminal()).then_some(view))
        })
        .await
    }

    /// Whether an innocent task completes now.
    pub async fn neighbour_completes(&self) -> Result<()> {
        let id = self.submit_as("neighbour", "echo", "hello").await?;
        let view = self.ended(id).await?;
        let report = view.last_report().with_context(|| format!("a report of {view:?}"))?;
        let Outcome::Done(output) = &report.outcome else { bail!("{:?}", report.outcome) };
        ensure!(output.data == b"hello", "{output:?}");
        Ok(())
    }

    /// The host's resident memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.host.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).context("VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// What the host has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("host.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether something of the secret is in what the host has logged.
    #[must_use]
    pub fn log_tells_the_secret(&self) -> bool {
        let log = self.log();
        UNSPOKEN.iter().any(|piece| log.contains(piece))
    }

    /// Offer a file that must be refused, and take it away.
    async fn refused(&self, behaviour: &Behaviour, gates: &[&str]) -> Result<Seen> {
        let mut bytes = bytes(behaviour, &self.compiled)?;
        if matches!(behaviour.guest, Guest::Text(_)) {
            bytes.extend(fresh_section()?);
        }
        let digest = Digest(Sha256::digest(&bytes).into());
        let began = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let path = install(self.folder.path(), behaviour.name, &bytes)?;
        let rejected = self.eventually("the file is refused", async || {
            let plugins = self.plugins().await?;
            let plugin = plugins.into_iter().find(|plugin| plugin.name == behaviour.name);
            let Some(plugin) = plugin else { return Ok(None) };
            ensure!(plugin.serving.is_none(), "`{}` is served", behaviour.name);
            Ok(plugin.rejected.filter(|rejected| rejected.digest == digest))
        });
        let rejected = rejected.await;
        fs::remove_file(path)?;
        let RejectedVersion { gate, reason, at, .. } = rejected?;
        let wrong = (!gates.contains(&gate.as_str())).then(|| format!("{gate}: {reason}"));
        let stopped_after = Duration::from_millis(at).saturating_sub(began);
        Ok(Seen { outcome: format!("refused at gate `{gate}`"), stopped_after, wrong })
    }

    async fn plugins(&self) -> Result<Vec<PluginInfo>> {
        let hosts = self.client.broker().hosts().await?;
        Ok(hosts.into_iter().flat_map(|host| host.plugins).collect())
    }

    async fn eventually<T>(
        &self,
        what: &str,
        mut check: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = check().await? {
                return Ok(value);
            }
            if Instant::now() > deadline {
                let log = self.log();
                let tail = log.get(log.len().saturating_sub(4_000)..).unwrap_or(&log);
                bail!("not within {PATIENCE:?}: {what}; the host's log ends:\n{tail}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.host.kill();
        let _ = self.host.wait();
    }
}

/// One task, to be tried once.
fn task(tenant: &str, task_type: &str, payload: &str) -> Result<NewTask> {
    let retry = RetryRequest { max_attempts: Some(1), ..RetryRequest::default() };
    // One that asks for another attempt needs one.
    let retry = if task_type == "patient" { RetryRequest::default() } else { retry };
    let payload = Payload::new(Payload::TEXT, payload.as_bytes().to_vec());
    Ok(NewTask {
        tenant: TenantName::new(tenant)?,
        terms: Terms { retry: Some(retry), ..Terms::default() },
        ..NewTask::new(TaskType::new(task_type)?, payload)
    })
}

/// A custom section that makes a component's digest new: what was refused once is remembered.
fn fresh_section() -> Result<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut section = vec![0, 20, 3, b'n', b'e', b'w'];
    section.extend(now.as_nanos().to_le_bytes());
    Ok(section)
}

fn texts() -> impl Iterator<Item = &'static Behaviour> {
    let all = BEHAVIOURS.iter().copied().flatten();
    all.filter(|behaviour| matches!(behaviour.guest, Guest::Text(_)))
}

/// The file of a behaviour.
fn bytes(behaviour: &Behaviour, compiled: &Path) -> Result<Vec<u8>> {
    match behaviour.guest {
        Guest::Text(text) => component(behaviour.name, text),
        Guest::Rust { plugin, .. } | Guest::Told { plugin, .. } => built(compiled, plugin),
        Guest::File { bytes, .. } => Ok(bytes()),
    }
}

fn built(compiled: &Path, name: &str) -> Result<Vec<u8>> {
    let path = compiled.join(format!("{name}.wasm"));
    fs::read(&path)
        .with_context(|| format!("{} is not built; run `cargo xtask guests`", path.display()))
}

/// Put a file into a plugin folder, written beside and renamed.
fn install(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let beside = folder.join(format!(".{name}.new"));
    let path = folder.join(format!("{name}.wasm"));
    fs::write(&beside, bytes)?;
    fs::rename(beside, &path)?;
    Ok(path)
}

/// What came of a task, held against what must.
fn judged(view: &TaskView, expected: Expected) -> Seen {
    let report = view.last_report();
    let wall_us = report.map_or(0, |report| report.metering.wall_us);
    let failed = report.and_then(|report| match &report.outcome {
        Outcome::Failed(failure) => Some(failure),
        Outcome::Done(_) => None,
    });
    let output = report.and_then(|report| match &report.outcome {
        Outcome::Done(output) => Some(String::from_utf8_lossy(&output.data)),
        Outcome::Failed(_) => None,
    });
    let kind: Option<FailureKind> = failed.map(|failure| failure.kind);
    let as_expected = match expected {
        Expected::Completes(text) => output.as_deref() == Some(text),
        Expected::Answers(words) => output.as_deref().is_some_and(|output| {
            output.lines().all(|line| words.iter().any(|word| line.contains(word)))
        }),
        Expected::Ends => view.state == State::Completed,
        Expected::Fails(kinds) => {
            view.state == State::Failed && kind.is_some_and(|kind| kinds.contains(&kind))
        }
        Expected::Waits => view.state == State::Scheduled && kind == Some(FailureKind::Retry),
        Expected::Refused(_) => false,
    };
    let outcome = match kind {
        Some(kind) => kind.as_str().replace('_', " "),
        None => view.state.to_string(),
    };
    let told = format!("{view:?}");
    let told = UNSPOKEN.iter().find_map(|piece| told.split_once(piece)).map(|(before, _)| before);
    if let Some(before) = told {
        let from = before.floor_char_boundary(before.len().saturating_sub(200));
        let wrong = Some(format!("it tells its secret, after: {}", &before[from..]));
        return Seen { outcome, stopped_after: Duration::from_micros(wall_us), wrong };
    }
    let wrong = (!as_expected).then(|| match (failed, output) {
        (Some(failure), _) => format!("{}: {} {}", view.state, failure.kind, failure.message),
        (None, output) => format!("{}: {output:?}", view.state),
    });
    Seen { outcome, stopped_after: Duration::from_micros(wall_us), wrong }
}
