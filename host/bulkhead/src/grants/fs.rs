//! `fs`: which folders a plugin has, and how much it may write there.
//!
//! Guests' folders are never one inside the other, so that each file is under one quota.

use std::path::{Component, Path, PathBuf};

use bulkhead_sandbox::{FolderGrant, FolderQuota, FsGrant};
use serde::Deserialize;

use super::bounds::{GIB, MAX_ITEMS, size, within};
use super::switch::Written;
use crate::config::quantity::Size;

/// Where a guest sees its own folder.
const SCRATCH: &str = "/scratch";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fs {
    scratch: Option<Size>,
    scratch_files: Option<u64>,
    #[serde(default)]
    dirs: Vec<Folder>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Folder {
    host: PathBuf,
    guest: String,
    access: Access,
    quota: Option<Size>,
    files: Option<u64>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Access {
    Read,
    ReadWrite,
}

impl Written for Fs {
    const KEY: &'static str = "fs";

    type Grant = FsGrant;

    fn on() -> Result<FsGrant, &'static str> {
        Err("`fs` needs folders: `{ scratch = \"64 MiB\" }`")
    }

    fn checked(self) -> Result<FsGrant, String> {
        let files =
            |key: &str, files| within(key, files, FolderQuota::DEFAULT_FILES, 1..=10_000_000);
        let scratch = match (self.scratch, self.scratch_files) {
            (None, Some(_)) => {
                return Err("`fs.scratch_files` bounds a scratch folder; give `scratch` too".into());
            }
            (None, None) => None,
            (Some(bytes), number) => Some(FolderQuota {
                bytes: size("fs.scratch", Some(bytes), 0, 1..=1024 * GIB)?,
                files: files("fs.scratch_files", number)?,
            }),
        };
        if self.dirs.len() > MAX_ITEMS {
            return Err(format!(
                "`fs.dirs` lists {} folders; use at most {MAX_ITEMS}",
                self.dirs.len()
            ));
        }
        let mut dirs: Vec<FolderGrant> = Vec::new();
        let mut seen = vec![SCRATCH.to_owned()];
        for folder in self.dirs {
            let guest = guest_path(&folder.guest)?;
            let inside = |outer: &str, inner: &str| {
                inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if let Some(other) =
                seen.iter().find(|other| inside(other, &guest) || inside(&guest, other))
            {
                return Err(format!("`fs.dirs`: `{guest}` and `{other}` are one inside the other"));
            }
            if has_dots(&folder.host) || folder.host.as_os_str().is_empty() {
                let shown = folder.host.display().to_string();
                return Err(format!(
                    "`fs.dirs`: the host's `{}` must be a path without `..`",
                    shown.escape_debug()
                ));
            }
            let write = match (folder.access, folder.quota, folder.files) {
                (Access::Read, None, None) => None,
                (Access::Read, _, _) => {
                    return Err(format!(
                        "`fs.dirs`: `{guest}` is only read, so it has no `quota` and no `files`"
                    ));
                }
                (Access::ReadWrite, None, _) => {
                    return Err(format!(
                        "`fs.dirs`: `{guest}` is written to, so it needs a `quota`"
                    ));
                }
                (Access::ReadWrite, Some(quota), number) => Some(FolderQuota {
                    bytes: size("fs.dirs.quota", Some(quota), 0, 1..=1024 * GIB)?,
                    files: files("fs.dirs.files", number)?,
                }),
            };
            seen.push(guest.clone());
            dirs.push(FolderGrant { host: folder.host, guest, write });
        }
        Ok(FsGrant { scratch, dirs })
    }
}

fn has_dots(path: &Path) -> bool {
    path.components().any(|part| matches!(part, Component::ParentDir))
}

/// A folder as a guest sees it: `/a/b`, without a slash at its end.
fn guest_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let plain = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control)
    };
    match path.strip_prefix('/') {
        Some(parts) if path.len() <= 256 && parts.split('/').all(plain) => Ok(path.to_owned()),
        _ => Err(format!(
            "`fs.dirs`: the guest's `{}` must be an absolute path such as `/fonts`",
            text.escape_debug()
        )),
    }
}
