//! Files that are no plugin.

use crate::Expected::Refused;
use crate::{Behaviour, Expected, Guest};

const fn file(
    name: &'static str,
    bytes: fn() -> Vec<u8>,
    does: &'static str,
    expected: Expected,
) -> Behaviour {
    Behaviour { name, promise: "decodes-safely", guest: Guest::File { bytes, does }, expected }
}

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    file("file-empty", Vec::new, "An empty file.", Refused(&["invalid"])),
    file("file-text", text, "A component as text.", Refused(&["invalid"])),
    file("file-zeros", zeros, "A component's head and 1 MiB of zeros.", Refused(&["invalid"])),
    file("file-nested", nested, "Components in components, 2,000 deep.", Refused(&["invalid"])),
];

const HEAD: [u8; 8] = *b"\0asm\x0d\0\x01\0";

fn text() -> Vec<u8> {
    b"(component)".to_vec()
}

fn zeros() -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    bytes.resize(1 << 20, 0);
    bytes
}

fn nested() -> Vec<u8> {
    (0..2_000).fold(HEAD.to_vec(), |inner, _| {
        let mut outer = HEAD.to_vec();
        outer.push(4);
        let mut length = inner.len();
        while length > 0x7f {
            outer.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap_or_default());
        outer.extend(inner);
        outer
    })
}
