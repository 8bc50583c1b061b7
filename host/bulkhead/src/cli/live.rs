//! The configuration file while a host runs: what it says of plugins takes effect when it
//! changes. Everything else waits for the next start.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bulkhead::SettingsWriter;
use bulkhead::config::Config;

/// How often the file is looked at. A look is one system call, works on every file system and
/// follows links as they are now.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that has looked the same for this long is taken as written.
const AT_REST: Duration = Duration::from_millis(100);

/// What tells one state of a file from another without reading it.
#[derive(PartialEq, Clone, Copy)]
struct Stamp {
    bytes: u64,
    inode: u64,
    modified: (i64, i64),
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(file).ok()?;
    Some(Stamp {
        bytes: metadata.len(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// Follow the file of a configuration for as long as this is polled.
pub(crate) async fn follow(config: Config, writer: SettingsWriter) {
    let Some(file) = config.file() else { return };
    let mut seen = None;
    loop {
        let now = stamp(file);
        // A file that is gone says nothing: what it said last goes on.
        let changed = now.is_some() && now != seen;
        tokio::time::sleep(if changed { AT_REST } else { LOOK_EVERY }).await;
        if !changed || stamp(file) != now {
            continue;
        }
        seen = now;
        match config.reload().and_then(|changed| changed.check_secrets().map(|()| changed)) {
            Ok(changed) => {
                if writer.replace((*changed.host.settings.now()).clone()) {
                    tracing::info!(file = %file.display(),
                        "the configuration changed: grants, values and secrets of plugins are in effect");
                }
            }
            Err(error) => tracing::warn!(file = %file.display(), %error,
                "the changed configuration cannot be used; what it said of plugins goes on"),
        }
    }
}
