//! The seal on a kept file: HMAC-SHA256 over its name and all of its content, under a key that
//! only the host's user can read. Nothing of a file is looked at before its seal was checked,
//! and that is done in constant time.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{is_private, write_private};

const KEY_BYTES: usize = 32;

const SEAL_BYTES: usize = 32;

/// The length of the head, before it.
const LENGTH_BYTES: usize = 4;

/// What is sealed here, so that the key's seals mean nothing else.
const DOMAIN: &[u8] = b"bulkhead compiled plugin seal 1";

/// The key of all seals in one folder.
pub(super) struct SealKey([u8; KEY_BYTES]);

/// A file whose seal was good.
pub(super) struct Opened {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl SealKey {
    /// The key beside a folder, made if there is none.
    pub(super) fn beside(folder: &Path) -> Result<Self, String> {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".key");
        let path = folder.with_file_name(name);
        let unusable = |e: io::Error| format!("the key `{}` cannot be used: {e}", path.display());
        if !fs::exists(&path).map_err(unusable)? {
            make(&path).map_err(unusable)?;
        }
        let mut file = File::open(&path).map_err(unusable)?;
        let metadata = file.metadata().map_err(unusable)?;
        if !metadata.is_file() || !is_private(&metadata) {
            return Err(format!(
                "the key `{}` is open to others or not this user's; remove it, or give it mode \
                 0600",
                path.display()
            ));
        }
        let mut bytes = Vec::new();
        (&mut file).take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unusable)?;
        bytes.try_into().map(Self).map_err(|_| {
            format!("the key `{}` has not {KEY_BYTES} bytes; remove it", path.display())
        })
    }

    /// A file's content: the head's length, the head, the body, the seal.
    pub(super) fn seal(&self, name: &str, head: &[u8], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut sealed = Vec::with_capacity(LENGTH_BYTES + head.len() + body.len() + SEAL_BYTES);
        sealed.extend_from_slice(&length);
        sealed.extend_from_slice(head);
        sealed.extend_from_slice(body);
        if let Some(mac) = self.mac(name, &sealed) {
            sealed.extend_from_slice(&mac.finalize().into_bytes());
        }
        sealed
    }

    /// What is in a file of this name, if the seal is this key's.
    pub(super) fn open(&self, name: &str, mut sealed: Vec<u8>) -> Option<Opened> {
        let end = sealed.len().checked_sub(SEAL_BYTES)?;
        let (content, seal) = sealed.split_at(end);
        self.mac(name, content)?.verify_slice(seal).ok()?;
        sealed.truncate(end);
        let length: [u8; LENGTH_BYTES] = sealed.get(..LENGTH_BYTES)?.try_into().ok()?;
        let head_end = LENGTH_BYTES.checked_add(u32::from_le_bytes(length) as usize)?;
        let head = sealed.get(LENGTH_BYTES..head_end)?.to_vec();
        Some(Opened { head, body: sealed.split_off(head_end) })
    }

    fn mac(&self, name: &str, content: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(DOMAIN);
        mac.update(&(name.len() as u64).to_le_bytes());
        mac.update(name.as_bytes());
        mac.update(content);
        Some(mac)
    }
}

/// Put a new key at `path`, whole or not at all. If another host was faster, its key stays.
fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", u64::from_le_bytes(nonce)));
    let unfinished: PathBuf = path.with_file_name(name);
    let made =
        write_private(&unfinished, &bytes).and_then(|()| match fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    let _ = fs::remove_file(&unfinished);
    made
}
