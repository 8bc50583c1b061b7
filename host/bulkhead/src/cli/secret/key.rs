//! A new key for stored secrets.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Result;
use bulkhead::secrets::Key;
use serde::Serialize;

use crate::cli::exit::{Exit, failed, usage};
use crate::cli::session::Session;

/// A new key in JSON. The key itself is there only where no file was named.
#[derive(Serialize)]
struct KeyDocument<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// Make a key and write it to a new file, or print it.
pub(super) fn make(session: &Session, out: Option<&Path>) -> Result<Exit> {
    let key = Key::generate().map_err(failed)?;
    let written = key.written();
    if let Some(path) = out {
        write(path, written.expose())?;
    }
    let id = key.id().to_string();
    if session.out.is_json() {
        let shown = out.is_none().then(|| written.expose());
        let path = out.map(|path| path.display().to_string());
        session.out.document(&KeyDocument { id, key: shown, path })?;
    } else if let Some(path) = out {
        session.out.text(&format!("the key {id} is in {}\n", path.display()))?;
    } else {
        session.out.text(&format!("{}\n", written.expose()))?;
    }
    Ok(Exit::Done)
}

/// Never over a file that is there: it may be the only copy of a key.
fn write(path: &Path, key: &str) -> Result<()> {
    let cannot = |error| usage(format!("cannot make `{}`: {error}", path.display()));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
    file.write_all(key.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(cannot)?;
    file.sync_all().map_err(cannot)
}
