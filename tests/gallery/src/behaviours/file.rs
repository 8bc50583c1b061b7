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
    file("file-nested", nested, "Components in components, 20,000 deep.", Refused(&["invalid"])),
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

/// From the inside out, and put together at the end: each level's head says how long the rest is.
fn nested() -> Vec<u8> {
    let mut heads = vec![HEAD.to_vec()];
    let mut length = HEAD.len();
    for _ in 0..20_000 {
        let mut head = HEAD.to_vec();
        head.push(4);
        let mut rest = length;
        while rest > 0x7f {
            head.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
            rest >>= 7;
        }
        head.push(u8::try_from(rest).unwrap_or_default());
        length += head.len();
        heads.push(head);
    }
    heads.into_iter().rev().flatten().collect()
}
