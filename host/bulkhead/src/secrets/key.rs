//! The keys that seal stored secrets: 32 random bytes each, known by an id that tells nothing
//! of them.

use std::fmt;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bulkhead_sandbox::SecretValue;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::KeyPlaces;
use super::given::Given;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;

/// Keys that one configuration may read with besides the one that seals.
pub(crate) const MAX_OLD_KEYS: usize = 16;

/// What ids are made for, so that a key's id is no hash of it that means anything elsewhere.
const ID_OF: &[u8] = b"bulkhead secrets key 1";

/// Padding is often lost on the way.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Which key: a prefix of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key. It is wiped when it is dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

impl Key {
    /// A new key, from the system's randomness.
    pub fn generate() -> Result<Self, String> {
        let mut key = Self(Zeroizing::new([0; KEY_BYTES]));
        getrandom::fill(&mut key.0[..])
            .map_err(|error| format!("the system has no randomness: {error}"))?;
        Ok(key)
    }

    /// Read a key as it is written: base64 or 64 digits of hex.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let mut key = Self(Zeroizing::new([0; KEY_BYTES]));
        let read = match text.len() {
            64 => from_hex(text, &mut key.0),
            43 | 44 => from_base64(text, &mut key.0),
            _ => None,
        };
        read.map(|()| key).ok_or_else(|| {
            "it is no key: 32 bytes as base64 or hex; make one with `bulkhead secret key`"
                .to_owned()
        })
    }

    /// As it is written, in base64.
    #[must_use]
    pub fn written(&self) -> SecretValue {
        let engine = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new());
        SecretValue::new(engine.encode(&self.0[..]))
    }

    /// Which key it is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let hash = Sha256::new().chain_update(ID_OF).chain_update(&self.0[..]).finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        KeyId(id)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn read(place: &Given) -> Result<Self, String> {
        let text = place.text()?;
        Self::parse(text.expose()).map_err(|reason| format!("{}: {reason}", place.shown()))
    }
}

fn from_hex(text: &str, key: &mut [u8; KEY_BYTES]) -> Option<()> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(())
}

fn from_base64(text: &str, key: &mut [u8; KEY_BYTES]) -> Option<()> {
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let mut bytes = Zeroizing::new([0; KEY_BYTES + 4]);
    let decoded = GeneralPurpose::new(alphabet, LENIENT).decode_slice(text, &mut bytes[..]);
    if decoded != Ok(KEY_BYTES) {
        return None;
    }
    key.copy_from_slice(&bytes[..KEY_BYTES]);
    bytes.zeroize();
    Some(())
}

/// The key that seals, and those that only open.
#[derive(Debug, Clone)]
pub struct KeyRing {
    current: Key,
    old: Vec<Key>,
}

impl KeyRing {
    /// A ring of these keys.
    #[must_use]
    pub fn new(current: Key, old: Vec<Key>) -> Self {
        Self { current, old }
    }

    /// Read the keys from their places. It may block.
    pub fn read(places: &KeyPlaces) -> Result<Self, String> {
        let old = places.old.iter().map(Key::read).collect::<Result<_, _>>()?;
        Ok(Self { current: Key::read(&places.current)?, old })
    }

    /// The key that seals.
    #[must_use]
    pub fn current(&self) -> &Key {
        &self.current
    }

    /// The key of this id.
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<&Key> {
        std::iter::once(&self.current).chain(&self.old).find(|key| key.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_and_read_in_every_form() {
        let key = Key::generate().unwrap();
        let written = key.written();
        let hex: String = key.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = written.expose();
        for text in [
            base64.to_owned(),
            format!("{base64}\n"),
            base64.trim_end_matches('=').to_owned(),
            base64.replace('+', "-").replace('/', "_"),
            hex.clone(),
            hex.to_uppercase(),
        ] {
            assert_eq!(Key::parse(&text).unwrap().bytes(), key.bytes(), "{}", text.len());
        }
        assert_ne!(Key::generate().unwrap().id(), key.id());
        assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
        assert_eq!(key.id().to_string().len(), 16);
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        for text in
            ["", "s3cret", &"g".repeat(64), &"é".repeat(32), &"!".repeat(44), &"a".repeat(45)]
        {
            let said = Key::parse(text).unwrap_err();
            assert!(said.contains("bulkhead secret key"), "{said}");
            assert!(text.is_empty() || !said.contains(text), "{said}");
        }
    }
}
