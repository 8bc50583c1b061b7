//! A secret's value in the host's memory.
//!
//! It is wiped when it is dropped, shown by nothing, and compared in a time that depends on its
//! length only. Copies that the engine makes on the way to a guest, and the guest's own memory,
//! are out of reach.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A value that is to be told to nobody.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Keep a value. The caller has no other copy of it, or wipes its own.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value, for whoever may have it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for SecretValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretValue {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_compared_and_never_shown() {
        let value = |text: &str| SecretValue::new(text.to_owned());
        assert_eq!(value("s3cret"), value("s3cret"));
        assert_ne!(value("s3cret"), value("s3creT"));
        assert_ne!(value("s3cret"), value("s3cret-"));
        assert_eq!(
            format!("{:?} {:#?}", value("s3cret"), Some(value("s3cret"))),
            "*** Some(\n    ***,\n)"
        );
    }
}
