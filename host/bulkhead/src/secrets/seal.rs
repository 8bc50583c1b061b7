//! Sealing: XChaCha20-Poly1305 under a key of the operator's, bound to namespace, tenant and
//! name, so that what was sealed as one secret opens as no other.
//!
//! A sealed secret is: version (1 byte), key id (8), time in Unix ms (8, big-endian), nonce (24,
//! random), ciphertext with its tag. All before the nonce is authenticated with it.

use bulkhead_core::{TenantName, UnixMs};
use bulkhead_queue::{Sealed, SecretId};
use bulkhead_sandbox::SecretValue;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use super::key::{Key, KeyId, KeyRing};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 17;
const NONCE_BYTES: usize = 24;

/// Why a sealed secret was not made or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gave no random bytes, or the value is too long.
    #[error("the value cannot be sealed: {0}")]
    Unsealable(String),
    /// It is nothing that this version sealed.
    #[error("what is stored is no sealed secret of this version")]
    Malformed,
    /// The key that it was sealed with is not there.
    #[error(
        "it was sealed with the key {0}, which `secrets_key` does not have; name that key in its \
         `old`, or put the secret anew"
    )]
    UnknownKey(KeyId),
    /// The tag is another's.
    #[error(
        "it does not open: it was changed, or sealed for another name, tenant or namespace; put \
         the secret anew"
    )]
    Forged,
}

/// What is known of a sealed secret without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The key that it was sealed with.
    pub key: KeyId,
    /// When.
    pub sealed_at: UnixMs,
}

/// Seal a value.
pub fn seal(
    key: &Key,
    namespace: &str,
    id: &SecretId,
    value: &SecretValue,
    now: UnixMs,
) -> Result<Sealed, SealError> {
    let unsealable = |reason: String| SealError::Unsealable(reason);
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| unsealable(error.to_string()))?;
    let mut head = vec![VERSION];
    head.extend_from_slice(&key.id().0);
    head.extend_from_slice(&now.to_be_bytes());
    let aad = bound_to(&head, namespace, id);
    let payload = Payload { msg: value.expose().as_bytes(), aad: &aad };
    let ciphertext = XChaCha20Poly1305::new(key.bytes().into())
        .encrypt(&nonce.into(), payload)
        .map_err(|error| unsealable(error.to_string()))?;
    Ok(Sealed([&head[..], &nonce, &ciphertext].concat()))
}

/// What is known of a sealed secret without opening it.
pub fn inspect(sealed: &Sealed) -> Result<Seal, SealError> {
    let head = sealed.0.get(..HEAD_BYTES).ok_or(SealError::Malformed)?;
    let (version, rest) = head.split_first().ok_or(SealError::Malformed)?;
    let (key, at) = rest.split_first_chunk::<8>().ok_or(SealError::Malformed)?;
    let at = <[u8; 8]>::try_from(at).map_err(|_| SealError::Malformed)?;
    if *version != VERSION {
        return Err(SealError::Malformed);
    }
    Ok(Seal { key: KeyId(*key), sealed_at: UnixMs::from_be_bytes(at) })
}

/// Open a sealed secret with the key that sealed it.
pub fn open(
    ring: &KeyRing,
    namespace: &str,
    id: &SecretId,
    sealed: &Sealed,
) -> Result<SecretValue, SealError> {
    let seal = inspect(sealed)?;
    let key = ring.find(seal.key).ok_or(SealError::UnknownKey(seal.key))?;
    let (head, rest) = sealed.0.split_at_checked(HEAD_BYTES).ok_or(SealError::Malformed)?;
    let (nonce, ciphertext) =
        rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Malformed)?;
    let aad = bound_to(head, namespace, id);
    let opened = XChaCha20Poly1305::new(key.bytes().into())
        .decrypt(nonce.into(), Payload { msg: ciphertext, aad: &aad })
        .map_err(|_| SealError::Forged)?;
    String::from_utf8(opened).map(SecretValue::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        SealError::Malformed
    })
}

/// What a seal is bound to: each part behind its length, so that no two read alike.
fn bound_to(head: &[u8], namespace: &str, id: &SecretId) -> Vec<u8> {
    let mut bound = b"bulkhead secret".to_vec();
    let tenant = id.tenant().map_or("", TenantName::as_str);
    for part in [head, namespace.as_bytes(), tenant.as_bytes(), id.name().as_bytes()] {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part);
    }
    bound
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> SecretId {
        text.parse().unwrap()
    }

    fn value() -> SecretValue {
        SecretValue::new("s3cret-value".into())
    }

    fn sealed_by(key: &Key) -> Sealed {
        seal(key, "ns", &id("acme/token"), &value(), 1_700_000_000_000).unwrap()
    }

    #[test]
    fn a_sealed_value_opens_and_says_its_key_and_time() {
        let key = Key::generate().unwrap();
        let sealed = sealed_by(&key);
        let seal = Seal { key: key.id(), sealed_at: 1_700_000_000_000 };
        assert_eq!(inspect(&sealed), Ok(seal));
        let ring = KeyRing::new(key.clone(), Vec::new());
        assert_eq!(open(&ring, "ns", &id("acme/token"), &sealed), Ok(value()));
        assert!(!sealed.0.windows(6).any(|part| part == b"s3cret"));
        assert_ne!(sealed_by(&key), sealed, "each has a nonce of its own");
    }

    #[test]
    fn what_was_sealed_as_one_secret_opens_as_no_other() {
        let key = Key::generate().unwrap();
        let (sealed, ring) = (sealed_by(&key), KeyRing::new(key, Vec::new()));
        for (namespace, other) in [
            ("ns", "/token"),
            ("ns", "other/token"),
            ("ns", "acme/other"),
            ("other", "acme/token"),
            ("nsa", "cme/token"),
        ] {
            assert_eq!(open(&ring, namespace, &id(other), &sealed), Err(SealError::Forged));
        }
    }

    #[test]
    fn an_old_key_opens_and_an_unknown_one_is_named() {
        let (old, new) = (Key::generate().unwrap(), Key::generate().unwrap());
        let sealed = sealed_by(&old);
        let both = KeyRing::new(new.clone(), vec![old.clone()]);
        assert_eq!(open(&both, "ns", &id("acme/token"), &sealed), Ok(value()));
        let error = open(&KeyRing::new(new, Vec::new()), "ns", &id("acme/token"), &sealed);
        assert_eq!(error, Err(SealError::UnknownKey(old.id())));
    }

    proptest! {
        #[test]
        fn no_changed_byte_opens_and_no_bytes_panic(at in 0usize..69, bit in 0u8..8, cut in 0usize..69) {
            let key = Key::parse(&"07".repeat(32)).unwrap();
            let mut sealed = sealed_by(&key);
            let ring = KeyRing::new(key, Vec::new());
            prop_assert_eq!(sealed.0.len(), 69);
            let short = Sealed(sealed.0[..cut].to_vec());
            prop_assert!(open(&ring, "ns", &id("acme/token"), &short).is_err());
            sealed.0[at] ^= 1 << bit;
            prop_assert!(open(&ring, "ns", &id("acme/token"), &sealed).is_err());
        }
    }
}
