//! Plugin files, looked at without a broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use bulkhead::config::quantity::{Size, Span};
use bulkhead::core::{Backoff, Digest, LimitsRequest, RetryRequest, TenantName};
use bulkhead::{Identity, gatehouse, manifest};
use bulkhead_api::document::{AccessDocument, DescriptionDocument};
use bulkhead_sandbox::{
    Account, HandlerDescription, Inspection, Plugin, PluginSource, Rejection, Sandbox,
    SandboxConfig,
};
use comfy_table::{Cell, Color};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::trust;
use crate::cli::exit::{Exit, failed, usage};
use crate::cli::session::Session;
use crate::cli::{escape, figures, output};

/// A loaded file in JSON.
#[derive(Serialize)]
struct PluginDocument {
    plugin: String,
    digest: String,
    #[serde(flatten)]
    access: AccessDocument,
    #[serde(flatten)]
    description: DescriptionDocument,
}

/// A file that misses something, in JSON.
#[derive(Serialize)]
struct LackingDocument {
    plugin: String,
    file: String,
    digest: String,
    #[serde(flatten)]
    access: AccessDocument,
}

/// What checking a file came to, in JSON.
#[derive(Serialize)]
struct CheckDocument {
    file: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    task_types: Vec<String>,
}

/// A gate that a file did not pass.
pub(super) struct Refusal {
    pub(super) gate: String,
    pub(super) reason: String,
}

/// Describe a file. One that misses a grant cannot be asked what it handles, but what it
/// misses can be shown.
pub(super) async fn inspect(
    session: &Session,
    path: &Path,
    tenant: Option<&TenantName>,
) -> Result<Exit> {
    let sandbox = sandbox(session)?;
    let refused = |refusal: Refusal| {
        let Refusal { gate, reason } = refusal;
        failed(format!("{} fails the gate `{gate}`: {reason}", path.display()))
    };
    let source = read(session, path, tenant)?.map_err(refused)?;
    let identity = Identity::of(tenant, &source.name).to_string();
    let access = sandbox.inspect(&source.bytes, &source.manifest.grants);
    let access = access.map_err(|rejection| refused(rejection.into()))?;
    if let Some(refusal) = access.refusal(&source.name, tenant) {
        let digest = Digest(Sha256::digest(&source.bytes).into()).to_string();
        if session.out.is_json() {
            let (file, access) = (path.display().to_string(), gatehouse::access(&access));
            session.out.document(&LackingDocument { plugin: identity, file, digest, access })?;
        } else {
            let name = escape::line(&identity);
            let refusal = escape::block(&refusal);
            let text = format!("{name}\ndigest    {digest}\n{}{refusal}\n", access_text(&access));
            session.out.text(&text)?;
        }
        return Ok(Exit::Failed);
    }
    let plugin = sandbox.load(source).await.map_err(|rejection| refused(rejection.into()))?;
    if session.out.is_json() {
        session.out.document(&PluginDocument {
            plugin: identity,
            digest: plugin.digest().to_string(),
            access: gatehouse::access(&access),
            description: gatehouse::described(&plugin),
        })?;
    } else {
        session.out.text(&described(&identity, &plugin, &access))?;
    }
    Ok(Exit::Done)
}

/// Take files through every gate.
pub(super) async fn check(
    session: &Session,
    paths: &[PathBuf],
    tenant: Option<&TenantName>,
) -> Result<Exit> {
    let sandbox = sandbox(session)?;
    let mut checked = Vec::new();
    for path in paths {
        let file = path.display().to_string();
        checked.push(match load(session, &sandbox, path, tenant).await? {
            Ok(plugin) => CheckDocument {
                file,
                ok: true,
                digest: Some(plugin.digest().to_string()),
                gate: None,
                reason: None,
                task_types: types(&plugin),
            },
            Err(Refusal { gate, reason }) => CheckDocument {
                file,
                ok: false,
                digest: None,
                gate: Some(gate),
                reason: Some(reason),
                task_types: Vec::new(),
            },
        });
    }
    if session.out.is_json() {
        session.out.document(&checked)?;
    } else {
        let mut table = output::table(&["FILE", "VERDICT", "DETAILS"]);
        for CheckDocument { file, ok, gate, reason, task_types, .. } in &checked {
            let verdict = if *ok {
                Cell::new("ok").fg(Color::Green)
            } else {
                Cell::new(escape::line(gate.as_deref().unwrap_or_default())).fg(Color::Red)
            };
            let details = reason.clone().unwrap_or_else(|| task_types.join(", "));
            let details = Cell::new(escape::block(&details));
            table.add_row(vec![output::cell(file), verdict, details]);
        }
        session.out.table(table, "")?;
    }
    Ok(if checked.iter().all(|file| file.ok) { Exit::Done } else { Exit::Failed })
}

/// A sandbox like a host's, for one plugin at a time.
pub(super) fn sandbox(session: &Session) -> Result<Sandbox> {
    let host = &session.config.host;
    Ok(Sandbox::new(SandboxConfig {
        concurrency: 1,
        concurrent_loads: 1,
        // What is checked is compiled, whatever a host has compiled before.
        cache: None,
        ..host.sandbox(session.compiler()?)
    })?)
}

async fn load(
    session: &Session,
    sandbox: &Sandbox,
    path: &Path,
    tenant: Option<&TenantName>,
) -> Result<Result<Plugin, Refusal>> {
    let source = match read(session, path, tenant)? {
        Ok(source) => source,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(reason) = trust::judge(session, path, tenant, &source.bytes)? {
        return Ok(Err(Refusal { gate: "trust".into(), reason }));
    }
    Ok(sandbox.load(source).await.map_err(Refusal::from))
}

/// A file and its manifest, as the operator's or this tenant's. No compiler's time is counted.
fn read(
    session: &Session,
    path: &Path,
    tenant: Option<&TenantName>,
) -> Result<Result<PluginSource, Refusal>> {
    let unreadable = |e: std::io::Error| usage(format!("cannot read `{}`: {e}", path.display()));
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    let max_bytes = session.config.host.max_plugin_bytes;
    if bytes > max_bytes {
        let reason =
            format!("it has {} and `plugins.max_bytes` is {}", Size(bytes), Size(max_bytes));
        return Ok(Err(Refusal { gate: "size".into(), reason }));
    }
    let manifest = match manifest::read(path, tenant, &session.config.host.settings.now()) {
        Ok(manifest) => manifest,
        Err(error) => {
            return Ok(Err(Refusal { gate: "manifest".into(), reason: error.to_string() }));
        }
    };
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let account = tenant.map(|tenant| Account {
        tenant: tenant.clone(),
        compile_per_hour: None,
        spent: Arc::default(),
    });
    Ok(Ok(PluginSource { name: name.unwrap_or_default(), bytes, manifest, account }))
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self { gate: rejection.gate.to_string(), reason: rejection.message }
    }
}

/// What a file asks for, and by which grant it has it.
fn access_text(access: &Inspection) -> String {
    let mut text = String::from("asks for\n");
    if access.asked.is_empty() {
        text.push_str("  nothing\n");
    }
    for import in &access.asked {
        let granted = access.granted.iter().find(|granted| granted.import == *import);
        let how = match granted.map(|granted| granted.grant) {
            Some(None) => String::new(),
            Some(Some(grant)) => format!("  granted by `{grant}`"),
            None => "  MISSING".to_owned(),
        };
        text.push_str(&format!("  {}{how}\n", escape::line(import)));
    }
    text
}

fn types(plugin: &Plugin) -> Vec<String> {
    plugin.description().handlers.iter().map(|handler| handler.task_type.to_string()).collect()
}

fn described(identity: &str, plugin: &Plugin, access: &Inspection) -> String {
    let description = plugin.description();
    let mut text = format!(
        "{} {} ({})\nplugin    {}\ndigest    {}\ncompiled  in {}\n",
        escape::line(&description.name),
        escape::line(&description.version),
        plugin.kind(),
        escape::line(identity),
        plugin.digest(),
        figures::micros(Span(plugin.load_times().compile).as_ms().saturating_mul(1_000)),
    );
    text.push_str(&access_text(access));
    for handler in &description.handlers {
        text.push_str(&handler_text(handler));
    }
    text
}

fn handler_text(handler: &HandlerDescription) -> String {
    let bold = anstyle::Style::new().bold();
    let mut text = format!("\n{bold}{}{bold:#}\n", handler.task_type);
    for line in escape::block(&handler.description).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str(&format!("  limits  {}\n", limits(&handler.limits)));
    text.push_str(&format!(
        "  retry   {}\n",
        handler.retry.as_ref().map_or("the queue's policy".to_owned(), retry)
    ));
    if handler.max_batch > 1 {
        text.push_str(&format!("  batch   up to {} tasks in one call\n", handler.max_batch));
    }
    if let Some(schema) = &handler.input_schema {
        let pretty = serde_json::from_str::<serde_json::Value>(schema)
            .and_then(|schema| serde_json::to_string_pretty(&schema))
            .unwrap_or_else(|_| schema.clone());
        text.push_str("  input\n");
        for line in escape::block(&pretty).lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

fn limits(limits: &LimitsRequest) -> String {
    let asked = [
        limits.fuel.map(|fuel| format!("fuel {}", figures::count(fuel))),
        limits.memory_bytes.map(|bytes| format!("memory {}", Size(bytes))),
        limits.wall_ms.map(|ms| format!("wall {}", Span::from_ms(ms))),
        limits.result_bytes.map(|bytes| format!("result {}", Size(bytes))),
        limits.log_bytes.map(|bytes| format!("log {}", Size(bytes))),
    ];
    let asked: Vec<String> = asked.into_iter().flatten().collect();
    if asked.is_empty() { "the host's".into() } else { asked.join(", ") }
}

/// What is asked of the retries, in words; the queue's policy holds for the rest.
fn retry(asked: &RetryRequest) -> String {
    let named = [
        asked.max_attempts.map(|attempts| format!("{attempts} attempts")),
        asked.backoff.as_ref().map(waits),
        asked.jitter.map(|jitter| format!("jitter {jitter}")),
        asked.retry_on.as_ref().map(|kinds| {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            format!("on {}", kinds.join(" "))
        }),
        asked.max_age_ms.map(|ms| format!("within {}", Span::from_ms(ms))),
    ];
    let named: Vec<String> = named.into_iter().flatten().collect();
    named.join(", ")
}

fn waits(backoff: &Backoff) -> String {
    match *backoff {
        Backoff::Delays { ref delays_ms } => {
            let waits: Vec<String> =
                delays_ms.iter().map(|ms| Span::from_ms(*ms).to_string()).collect();
            format!("after {}", waits.join(" "))
        }
        Backoff::Fixed { delay_ms } => format!("{} apart", Span::from_ms(delay_ms)),
        Backoff::Linear { initial_ms, step_ms, max_ms } => format!(
            "linear from {} by {} to {}",
            Span::from_ms(initial_ms),
            Span::from_ms(step_ms),
            Span::from_ms(max_ms)
        ),
        Backoff::Exponential { initial_ms, multiplier, max_ms } => format!(
            "exponential from {} times {multiplier} to {}",
            Span::from_ms(initial_ms),
            Span::from_ms(max_ms)
        ),
    }
}
