//! Guests compiled from source by `cargo xtask guests`.

use std::path::{Path, PathBuf};

use bulkhead_core::Digest;
use sha2::{Digest as _, Sha256};

/// The bytes of a guest or plugin, by its crate's name.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn guest(name: &str) -> Vec<u8> {
    let folder = target().join("wasm32-wasip2/guest");
    let path = folder.join(format!("{}.wasm", name.replace('-', "_")));
    read(&if path.exists() { path } else { folder.join(format!("{name}.wasm")) })
}

/// The bytes of a guest as a core module for WASI preview 1.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn module_guest(name: &str) -> Vec<u8> {
    read(&target().join("wasm32-wasip1/guest").join(format!("{name}.wasm")))
}

/// Put a plugin that ships with Bulkhead into a plugin folder, with its manifest, as
/// `cargo xtask guests` laid them out; its digest.
///
/// # Panics
/// If it has not been built.
pub fn install_shipped(folder: &Path, name: &str) -> Digest {
    let manifest = format!("{name}.toml");
    let bytes = read(&target().join("plugins").join(&manifest));
    std::fs::write(folder.join(&manifest), bytes).expect("write a manifest");
    let bytes = shipped(name);
    install_as(folder, name, &bytes);
    digest_of(&bytes)
}

/// The bytes of a plugin that ships with Bulkhead.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn shipped(name: &str) -> Vec<u8> {
    read(&target().join("plugins").join(format!("{name}.wasm")))
}

/// The digest that a host gives to these bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path)
        .unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask guests`", path.display()))
}

/// Put a guest into a plugin folder under its own name, as a deployment would: written
/// beside, then renamed.
pub fn install(folder: &Path, name: &str) -> PathBuf {
    install_as(folder, name, &guest(name))
}

/// Put a file into a plugin folder, written beside and renamed.
///
/// # Panics
/// If it cannot be written.
pub fn install_as(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let beside = folder.join(format!(".{name}.new"));
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&beside, bytes).expect("write the plugin");
    std::fs::rename(&beside, &path).expect("rename the plugin");
    path
}

/// A version of a guest: the same code with a custom section that holds a number, so
/// that its digest differs.
#[must_use]
pub fn version_of(name: &str, version: u32) -> (Vec<u8>, Digest) {
    let mut bytes = guest(name);
    let mut section = vec![7];
    section.extend_from_slice(b"release");
    section.extend_from_slice(&version.to_le_bytes());
    bytes.push(0);
    bytes.push(u8::try_from(section.len()).expect("a short section"));
    bytes.extend(section);
    let digest = digest_of(&bytes);
    (bytes, digest)
}

/// Put a version of a guest into a plugin folder; its digest.
pub fn install_version(folder: &Path, name: &str, version: u32) -> Digest {
    let (bytes, digest) = version_of(name, version);
    install_as(folder, name, &bytes);
    digest
}
