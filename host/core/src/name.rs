//! Checked names: queues, tenants, task types and plugins.
//!
//! A name is part of Redis keys, log lines, URLs and HTML, so its alphabet is one
//! that needs no escaping in any of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest accepted name, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name was empty.
    #[error("the {0} is empty; use 1 to 128 of the characters A-Z a-z 0-9 . _ -")]
    Empty(&'static str),
    /// The name was over 128 bytes.
    #[error("the {what} has {bytes} bytes; at most 128 are allowed")]
    TooLong {
        /// What kind of name it was.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A key was over 256 bytes.
    #[error("the key has {bytes} bytes; at most 256 are allowed")]
    KeyTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A key had a space or a control character.
    #[error(
        "the key `{key}` has the character {character:?}; leave out spaces and control characters"
    )]
    BadKey {
        /// The key, control characters escaped.
        key: String,
        /// The first character that was refused.
        character: char,
    },
    /// The name had a character outside the alphabet.
    #[error(
        "the {what} `{name}` has the character {character:?}; use only A-Z a-z 0-9 . _ -, \
         with a letter or digit first"
    )]
    BadCharacter {
        /// What kind of name it was.
        what: &'static str,
        /// The name, control characters escaped.
        name: String,
        /// The first character that was refused.
        character: char,
    },
}

/// Check that `name` is 1 to 128 bytes of `A-Z a-z 0-9 . _ -` and starts with a
/// letter or digit. `what` names the kind of name in the error.
pub fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty(what));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { what, bytes: name.len() });
    }
    let refused = name
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_alphanumeric() || (*at > 0 && matches!(c, '.' | '_' | '-'))));
    match refused {
        None => Ok(()),
        Some((_, character)) => {
            Err(NameError::BadCharacter { what, name: name.escape_debug().to_string(), character })
        }
    }
}

/// A kind of checked name.
pub trait Name: Sized {
    /// What the name is called in messages.
    const WHAT: &'static str;
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl Name for $type {
            const WHAT: &'static str = $what;
        }

        impl $type {
            /// Check `name` and keep it.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check_name(Self::WHAT, name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;
            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a queue.
    QueueName,
    "queue name"
);
name!(
    /// The name of a tenant.
    TenantName,
    "tenant name"
);
name!(
    /// The name of a task type.
    TaskType,
    "task type"
);
name!(
    /// The name of a plugin.
    PluginName,
    "plugin's name"
);

impl Default for QueueName {
    fn default() -> Self {
        Self("default".into())
    }
}

impl Default for TenantName {
    fn default() -> Self {
        Self("default".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_alphabet_and_refuses_the_rest() {
        for good in ["a", "0", "resize-image", "v1.text_stats", &"x".repeat(128)] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a:b", "a{b}", "ä", "a\n", &"x".repeat(129)] {
            assert!(check_name("name", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_message_escapes_control_characters() {
        let error = check_name("queue name", "a\u{1b}[31m").unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
        assert!(error.contains("queue name"), "{error}");
    }
}
