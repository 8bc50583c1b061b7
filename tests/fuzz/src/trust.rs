//! Pins, keys and signatures of plugin files.

use std::collections::BTreeMap;

use bulkhead::trust::{PublicKey, SecretKey, Trust, TrustPolicy, TrustedBy};
use bulkhead_core::Digest;

use crate::texts;

/// Texts of keys and signatures: none but the key's own signature of this content under this
/// name is taken, and none is taken for another.
pub fn trust(data: &[u8]) {
    let [name, text, other] = texts(data);
    let _ = text.parse::<TrustPolicy>();
    let _ = text.parse::<Digest>();
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    match text.parse::<SecretKey>() {
        Ok(key) => assert_eq!(key.expose().trim_end(), text.trim_ascii_end()),
        Err(error) => assert!(text.len() < 8 || !error.contains(&text)),
    }
    let key = SecretKey::from_random(&[7; 32]);
    let digest = Digest([9; 32]);
    let trust = Trust {
        policy: TrustPolicy::PinnedOrSigned,
        pins: BTreeMap::new(),
        keys: BTreeMap::from([("release".to_owned(), key.public())]),
        tenant: None,
    };
    let good = key.sign(&name, digest);
    let by = Ok(TrustedBy::Key("release".to_owned()));
    assert_eq!(trust.judge(&name, digest, Some(&good)), by);
    for signature in [&text, &other] {
        if trust.judge(&name, digest, Some(signature)).is_ok() {
            assert_eq!(signature.trim_ascii_end(), good.trim_end(), "it is the one signature");
        }
    }
    if other != name {
        assert!(trust.judge(&other, digest, Some(&good)).is_err(), "{name:?} {other:?}");
    }
}
