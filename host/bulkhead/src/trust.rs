//! Which plugin files are trusted: by a pin of their digest, or by a signature.
//!
//! A signature is Ed25519 over the file's sha256 and the plugin's name, so that a signed file
//! cannot be put in another plugin's place. It lies beside the file as `NAME.wasm.sig`. The
//! manifest is not signed: what the operator says is the operator's. Nothing here reads files.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::{Digest, TenantName};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// What every signed message begins with, so that a signature means this and nothing else.
const DOMAIN: &[u8] = b"bulkhead plugin signature 1\n";

/// The prefix of public keys and signatures.
const PUBLIC: &str = "ed25519:";

/// The prefix of secret keys.
const SECRET: &str = "ed25519-secret:";

/// Largest signature or key file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 10;

/// What makes a file trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrustPolicy {
    /// That it is in the plugin folder.
    #[default]
    Any,
    /// That its digest is pinned.
    Pinned,
    /// That a trusted key signed it.
    Signed,
    /// Either.
    PinnedOrSigned,
}

impl TrustPolicy {
    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Pinned => "pinned",
            Self::Signed => "signed",
            Self::PinnedOrSigned => "pinned_or_signed",
        }
    }
}

impl FromStr for TrustPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Any, Self::Pinned, Self::Signed, Self::PinnedOrSigned];
        all.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| {
            format!(
                "`{}` is none of `any`, `pinned`, `signed` and `pinned_or_signed`",
                text.escape_debug()
            )
        })
    }
}

/// A key that signatures are checked with, written `ed25519:` and Base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no public key; `bulkhead plugin keygen` makes one",
                text.escape_debug()
            )
        };
        let bytes = decoded::<32>(text, PUBLIC).ok_or_else(wrong)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| wrong())?;
        // Anybody can sign for such a key.
        if key.is_weak() { Err(wrong()) } else { Ok(Self(key)) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", STANDARD.encode(self.0.as_bytes()))
    }
}

/// A key that signs. It shows itself nowhere but in [`SecretKey::expose`].
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn from_random(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// The text of its file.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{SECRET}{}\n", STANDARD.encode(self.0.to_bytes()))
    }

    /// The key that checks its signatures.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The text of the signature file for this content under this plugin's name.
    #[must_use]
    pub fn sign(&self, plugin: &str, digest: Digest) -> String {
        let signature = self.0.sign(&message(plugin, digest));
        format!("{PUBLIC}{}\n", STANDARD.encode(signature.to_bytes()))
    }
}

impl FromStr for SecretKey {
    type Err = String;

    /// Errors never quote the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = decoded::<32>(text, SECRET);
        let bytes = bytes.ok_or("it holds no secret key of `bulkhead plugin keygen`")?;
        Ok(Self::from_random(&bytes))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// By what a file is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedBy {
    /// Everything is.
    Policy,
    /// Its digest is pinned.
    Pin,
    /// The key of this name signed it.
    Key(String),
}

impl fmt::Display for TrustedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy => f.write_str("the policy `any`"),
            Self::Pin => f.write_str("its pin"),
            Self::Key(name) => write!(f, "the signature of `{}`", name.escape_debug()),
        }
    }
}

/// What the operator trusts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// What makes a file trusted.
    pub policy: TrustPolicy,
    /// Digests by plugin.
    pub pins: BTreeMap<String, Vec<Digest>>,
    /// Keys by the names of those who sign.
    pub keys: BTreeMap<String, PublicKey>,
    /// The tenant of whose plugins it is said; none for the operator's.
    pub tenant: Option<TenantName>,
}

/// What one section says of trust in tenants' plugins; what it leaves open is said elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SaidTrust {
    /// What makes a file trusted.
    pub policy: Option<TrustPolicy>,
    /// Digests by plugin.
    pub pins: BTreeMap<String, Vec<Digest>>,
    /// Keys by the names of those who sign; if there is one, no others count.
    pub keys: BTreeMap<String, PublicKey>,
}

impl SaidTrust {
    /// Let what is said here hold before what was said.
    pub(crate) fn put_over(&self, trust: &mut Trust) {
        trust.policy = self.policy.unwrap_or(trust.policy);
        let pins = self.pins.iter().map(|(plugin, pins)| (plugin.clone(), pins.clone()));
        trust.pins.extend(pins);
        if !self.keys.is_empty() {
            trust.keys = self.keys.clone();
        }
    }
}

impl Trust {
    /// By what a plugin of this content is trusted; if it is not, why, and what to add.
    /// `signature` is the text of its signature file.
    pub fn judge(
        &self,
        plugin: &str,
        digest: Digest,
        signature: Option<&str>,
    ) -> Result<TrustedBy, String> {
        let pinned = || self.pins.get(plugin).is_some_and(|pins| pins.contains(&digest));
        let signed = || self.signer(plugin, digest, signature?);
        let (trusted, hints) = match self.policy {
            TrustPolicy::Any => return Ok(TrustedBy::Policy),
            TrustPolicy::Pinned => (pinned().then_some(TrustedBy::Pin), (true, false)),
            TrustPolicy::Signed => (signed(), (false, true)),
            TrustPolicy::PinnedOrSigned => {
                (pinned().then_some(TrustedBy::Pin).or_else(signed), (true, true))
            }
        };
        trusted.ok_or_else(|| self.distrust(plugin, digest, signature.is_some(), hints))
    }

    /// The name of the key that signed it.
    fn signer(&self, plugin: &str, digest: Digest, signature: &str) -> Option<TrustedBy> {
        let signature = Signature::from_bytes(&decoded::<64>(signature, PUBLIC)?);
        let message = message(plugin, digest);
        let signed = |key: &PublicKey| key.0.verify_strict(&message, &signature).is_ok();
        let (name, _) = self.keys.iter().find(|(_, key)| signed(key))?;
        Some(TrustedBy::Key(name.clone()))
    }

    fn distrust(
        &self,
        plugin: &str,
        digest: Digest,
        has_signature: bool,
        (by_pin, by_signature): (bool, bool),
    ) -> String {
        let section = match &self.tenant {
            Some(tenant) => format!("tenants.{}.trust", toml_key(tenant.as_str())),
            None => "plugins.trust".to_owned(),
        };
        let mut text = format!("`{section}.policy` is `{}`", self.policy.as_str());
        if by_pin {
            text.push_str(match self.pins.contains_key(plugin) {
                true => "; its digest is none of the plugin's pins",
                false => "; nothing is pinned for this plugin",
            });
        }
        if by_signature {
            text.push_str(&match has_signature {
                true => format!(
                    "; `{plugin}.wasm.sig` is no signature of this content under this name by \
                     any of `{section}.keys`"
                ),
                false => format!("; there is no `{plugin}.wasm.sig` beside it"),
            });
        }
        text.push_str("\nif you trust it, ");
        if by_signature {
            let key = if self.keys.is_empty() {
                format!(" and add the key under [{section}.keys]")
            } else {
                String::new()
            };
            text.push_str(&format!(
                "sign it with `bulkhead plugin sign --key FILE {plugin}.wasm`{key}"
            ));
        }
        if by_pin {
            if by_signature {
                text.push_str(", or ");
            }
            let mut pins = self.pins.get(plugin).cloned().unwrap_or_default();
            pins.push(digest);
            let pins: Vec<String> = pins.iter().map(|pin| format!("\"sha256:{pin}\"")).collect();
            text.push_str(&format!(
                "add this to bulkhead.toml:\n[{section}.pins]\n{} = [{}]",
                toml_key(plugin),
                pins.join(", ")
            ));
        }
        text
    }
}

/// A name as a key of TOML.
fn toml_key(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

/// What is signed.
fn message(plugin: &str, digest: Digest) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend_from_slice(&(plugin.len() as u64).to_le_bytes());
    message.extend_from_slice(plugin.as_bytes());
    message.extend_from_slice(&digest.0);
    message
}

fn decoded<const N: usize>(text: &str, prefix: &str) -> Option<[u8; N]> {
    let encoded = text.trim_ascii_end().strip_prefix(prefix)?;
    STANDARD.decode(encoded).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Digest = Digest([1; 32]);
    const OTHER: Digest = Digest([2; 32]);

    fn trust(policy: &str) -> Trust {
        let key = SecretKey::from_random(&[3; 32]).public();
        Trust {
            policy: policy.parse().unwrap(),
            pins: BTreeMap::from([("mail".into(), vec![MINE])]),
            keys: BTreeMap::from([("release".into(), key)]),
            tenant: None,
        }
    }

    #[test]
    fn a_pin_trusts_one_content_of_one_plugin() {
        let pinned = trust("pinned");
        assert_eq!(pinned.judge("mail", MINE, None), Ok(TrustedBy::Pin));
        let why = pinned.judge("mail", OTHER, None).unwrap_err();
        let lines = format!("[plugins.trust.pins]\nmail = [\"sha256:{MINE}\", \"sha256:{OTHER}\"]");
        assert!(why.contains("none of the plugin's pins") && why.ends_with(&lines), "{why}");
        let why = pinned.judge("my.post", MINE, None).unwrap_err();
        assert!(why.ends_with(&format!("\"my.post\" = [\"sha256:{MINE}\"]")), "{why}");
        let acmes = Trust { tenant: Some(TenantName::new("acme").unwrap()), ..pinned.clone() };
        let why = acmes.judge("post", MINE, None).unwrap_err();
        assert!(why.starts_with("`tenants.acme.trust.policy` is `pinned`"), "{why}");
        assert!(why.contains("[tenants.acme.trust.pins]\npost = "), "{why}");
        let signature = SecretKey::from_random(&[3; 32]).sign("post", MINE);
        assert!(pinned.judge("post", MINE, Some(&signature)).is_err(), "a signature is no pin");
        assert_eq!(trust("any").judge("post", OTHER, None), Ok(TrustedBy::Policy));
    }

    #[test]
    fn a_signature_is_for_one_content_one_name_and_one_key() {
        let signed = trust("signed");
        let key = SecretKey::from_random(&[3; 32]);
        let good = key.sign("post", OTHER);
        let by = Ok(TrustedBy::Key("release".into()));
        assert_eq!(signed.judge("post", OTHER, Some(&good)), by);
        assert_eq!(trust("pinned_or_signed").judge("post", OTHER, Some(&good)), by);
        assert_eq!(trust("pinned_or_signed").judge("mail", MINE, None), Ok(TrustedBy::Pin));
        let stranger = SecretKey::from_random(&[4; 32]).sign("post", OTHER);
        for (name, digest, signature) in [
            ("mail", OTHER, Some(good.as_str())),
            ("post", MINE, Some(good.as_str())),
            ("post", OTHER, Some(stranger.as_str())),
            ("post", OTHER, Some("ed25519:AAAA")),
            ("post", OTHER, Some("")),
            ("mail", MINE, None),
        ] {
            let why = signed.judge(name, digest, signature).unwrap_err();
            assert!(why.contains("plugin sign --key"), "{why}");
            assert!(!why.contains("[plugins.trust.pins]"), "a pin would not help: {why}");
        }
        let mut flipped = good.clone().into_bytes();
        flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).unwrap();
        assert!(signed.judge("post", OTHER, Some(&flipped)).is_err());
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_secret_ones_stay_unspoken() {
        let key = SecretKey::from_random(&[9; 32]);
        let again: SecretKey = key.expose().parse().unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        let secret = key.expose();
        let encoded = secret.trim_end().strip_prefix(SECRET).unwrap();
        assert!(!format!("{key:?}").contains(encoded));
        assert!(encoded.parse::<SecretKey>().unwrap_err().contains("no secret key"));
        assert!(secret.parse::<PublicKey>().is_err());
        // The neutral element, for which every signature could be made.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(format!("{PUBLIC}{}", STANDARD.encode(weak)).parse::<PublicKey>().is_err());
    }
}
