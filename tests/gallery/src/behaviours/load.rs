//! What goes wrong before a plugin serves: at its imports and in what it says of itself.

use crate::Behaviour;
use crate::Expected::Refused;

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    text!("import-unknown", "granted-only", Refused(&["imports"])),
    text!("import-kv", "granted-only", Refused(&["imports"])),
    text!("import-secrets", "granted-only", Refused(&["imports"])),
    text!("import-enqueue", "granted-only", Refused(&["imports"])),
    text!("describe-trap", "alone", Refused(&["describe"])),
    text!("describe-nothing", "decodes-safely", Refused(&["description"])),
    text!("describe-many", "decodes-safely", Refused(&["describe"])),
    text!("describe-lie", "decodes-safely", Refused(&["describe"])),
    text!("describe-twice", "decodes-safely", Refused(&["description"])),
    text!("describe-name", "plain-text", Refused(&["description"])),
    text!("describe-path", "plain-text", Refused(&["description"])),
    text!("describe-utf8", "decodes-safely", Refused(&["describe"])),
    text!("describe-schema", "decodes-safely", Refused(&["description"])),
    text!("describe-huge-schema", "decodes-safely", Refused(&["description"])),
    text!("describe-backoff", "decodes-safely", Refused(&["description"])),
    text!("describe-batch", "decodes-safely", Refused(&["description"])),
];
