//! Keys, signatures, and whether a file is trusted here.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bulkhead::core::{Digest, TenantName, check_name};
use bulkhead::trust::{MAX_FILE_BYTES, SecretKey};
use comfy_table::{Cell, Color};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::cli::exit::{Exit, usage};
use crate::cli::session::Session;
use crate::cli::{escape, output};

/// A new key in JSON.
#[derive(Serialize)]
struct KeyDocument {
    file: String,
    public_key: String,
}

/// A signed file in JSON.
#[derive(Serialize)]
struct SignedDocument {
    file: String,
    digest: String,
    signature: String,
    public_key: String,
}

/// What looking at a file came to, in JSON.
#[derive(Serialize)]
struct VerdictDocument {
    file: String,
    digest: String,
    trusted: bool,
    /// By what it is trusted, or why it is not.
    reason: String,
}

/// Make a key.
pub(super) fn keygen(session: &Session, out: &Path) -> Result<Exit> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system has no random numbers")?;
    let key = SecretKey::from_random(&random);
    let shown = out.display();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .map_err(|e| usage(format!("cannot create `{shown}`: {e}")))?;
    file.write_all(key.expose().as_bytes()).with_context(|| format!("cannot write `{shown}`"))?;
    let public_key = key.public().to_string();
    if session.out.is_json() {
        session.out.document(&KeyDocument { file: shown.to_string(), public_key })?;
    } else {
        session.out.text(&format!("{public_key}\n"))?;
    }
    Ok(Exit::Done)
}

/// Sign files.
pub(super) fn sign(session: &Session, key: &Path, files: &[PathBuf]) -> Result<Exit> {
    let key = secret_key(key)?;
    let public_key = key.public().to_string();
    let mut signed = Vec::new();
    for file in files {
        let name = name(file)?;
        let digest = digest(session, file)?;
        let signature = signature_path(file);
        replace(&signature, &key.sign(&name, digest))
            .map_err(|e| usage(format!("cannot write `{}`: {e}", signature.display())))?;
        signed.push(SignedDocument {
            file: file.display().to_string(),
            digest: digest.to_string(),
            signature: signature.display().to_string(),
            public_key: public_key.clone(),
        });
    }
    if session.out.is_json() {
        session.out.document(&signed)?;
    } else {
        let mut table = output::table(&["FILE", "SIGNATURE", "KEY"]);
        for SignedDocument { file, signature, public_key, .. } in &signed {
            let cells = [file, signature, public_key].map(|text| output::cell(text));
            table.add_row(cells.to_vec());
        }
        session.out.table(table, "")?;
    }
    Ok(Exit::Done)
}

/// Say whether files are trusted.
pub(super) fn verify(
    session: &Session,
    files: &[PathBuf],
    tenant: Option<&TenantName>,
) -> Result<Exit> {
    let mut verdicts = Vec::new();
    for path in files {
        let digest = digest(session, path)?;
        let judged = judge_digest(session, path, tenant, digest)?;
        let trusted = judged.is_ok();
        let reason = judged.unwrap_or_else(|reason| reason);
        let (file, digest) = (path.display().to_string(), digest.to_string());
        verdicts.push(VerdictDocument { file, digest, trusted, reason });
    }
    if session.out.is_json() {
        session.out.document(&verdicts)?;
    } else {
        let mut table = output::table(&["FILE", "VERDICT", "DETAILS"]);
        for VerdictDocument { file, trusted, reason, .. } in &verdicts {
            let verdict = match trusted {
                true => Cell::new("trusted").fg(Color::Green),
                false => Cell::new("refused").fg(Color::Red),
            };
            table.add_row(vec![output::cell(file), verdict, Cell::new(escape::block(reason))]);
        }
        session.out.table(table, "")?;
    }
    let all = verdicts.iter().all(|verdict| verdict.trusted);
    Ok(if all { Exit::Done } else { Exit::Failed })
}

/// By what a file is trusted, or why it is not.
pub(super) fn judge(
    session: &Session,
    path: &Path,
    tenant: Option<&TenantName>,
    bytes: &[u8],
) -> Result<Result<String, String>> {
    judge_digest(session, path, tenant, Digest(Sha256::digest(bytes).into()))
}

fn judge_digest(
    session: &Session,
    path: &Path,
    tenant: Option<&TenantName>,
    digest: Digest,
) -> Result<Result<String, String>> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let signature = signature(path)?;
    let settings = session.config.host.settings.now();
    let judged = settings.trust(tenant).judge(&name, digest, signature.as_deref());
    Ok(judged.map(|by| by.to_string()))
}

/// The text of the signature beside a plugin file, if there is one.
pub(super) fn signature(path: &Path) -> Result<Option<String>> {
    let signature = signature_path(path);
    match File::open(&signature) {
        Ok(file) => text(file).map(Some).map_err(|e| unreadable(&signature, &e)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&signature, &error)),
    }
}

/// The key in a file that only its owner can read.
fn secret_key(path: &Path) -> Result<SecretKey> {
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let mode = file.metadata().map_err(|e| unreadable(path, &e))?.mode();
    if mode & 0o077 != 0 {
        return Err(usage(format!(
            "`{0}` can be read by others; `chmod 600 {0}`, and consider the key known",
            path.display()
        )));
    }
    let key = text(file).map_err(|e| unreadable(path, &e))?;
    key.parse().map_err(|e| usage(format!("`{}`: {e}", path.display())))
}

/// A small text file.
fn text(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The name that a plugin file serves under.
pub(super) fn name(path: &Path) -> Result<String> {
    let wasm = path.extension().is_some_and(|extension| extension == "wasm");
    let name = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| wasm);
    let name = name.ok_or_else(|| usage(format!("`{}` is no .wasm file", path.display())))?;
    check_name("plugin's name", name).map_err(usage)?;
    Ok(name.to_owned())
}

fn digest(session: &Session, path: &Path) -> Result<Digest> {
    let max_bytes = session.config.host.max_plugin_bytes;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let read = file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| unreadable(path, &e))?;
    if bytes.len() as u64 > max_bytes {
        return Err(usage(format!(
            "`{}` has more than `plugins.max_bytes` = {max_bytes} bytes",
            path.display()
        )));
    }
    Ok(Digest(Sha256::digest(&bytes).into()))
}

fn signature_path(path: &Path) -> PathBuf {
    let mut signature = path.as_os_str().to_owned();
    signature.push(".sig");
    signature.into()
}

/// Put a file in place whole, so that a host never reads half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> anyhow::Error {
    usage(format!("cannot read `{}`: {error}", path.display()))
}
