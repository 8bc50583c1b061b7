//! What the host and a compile worker say to one another: a length, a JSON header, and where
//! the header says so, bytes.
//!
//! The worker reads a [`Request`] and the file, and answers [`Answer::Checked`] or
//! [`Answer::Refused`]. The host, having compared what the file asks for with what it is
//! granted, writes [`GO`] or hangs up. The worker answers [`Answer::Compiled`] and the machine
//! code, or [`Answer::Refused`].

use std::io::{self, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::artifact::Facts;
use crate::engine::CodeSettings;
use crate::{Gate, Rejection};

/// The byte by which the host asks for machine code.
pub(in crate::load) const GO: u8 = b'g';

/// Longest header: a thousand imports of 256 bytes, twice escaped.
pub(in crate::load) const MAX_HEADER_BYTES: usize = 2 << 20;

/// What the host wants compiled, and within which limits.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::load) struct Request {
    /// What the machine code is for.
    pub(in crate::load) code: CodeSettings,
    /// What it must fit, so that another build of this program answers nothing wrong.
    pub(in crate::load) compatibility: [u8; 32],
    /// Most memory beyond the program itself, in bytes of address space.
    pub(in crate::load) memory_bytes: u64,
    /// Most CPU time, in seconds.
    pub(in crate::load) cpu_s: u64,
    /// Largest plugin file.
    pub(in crate::load) max_component_bytes: usize,
    /// The length of the file that follows.
    pub(in crate::load) file_bytes: usize,
}

/// What the worker has to say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::load) enum Answer {
    /// The file is valid.
    Checked(Facts),
    /// The machine code of so many bytes follows.
    Compiled(usize),
    /// The file failed a gate.
    Refused(Gate, String),
    /// The worker cannot do what it is asked, whatever the file.
    Unable(String),
}

impl From<Rejection> for Answer {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection.gate, rejection.message)
    }
}

/// A header as it is sent.
pub(in crate::load) fn encode(header: &impl Serialize) -> io::Result<Vec<u8>> {
    let header = serde_json::to_vec(header)?;
    let length = u32::try_from(header.len()).map_err(|_| too_long())?;
    let mut frame = Vec::with_capacity(header.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&header);
    Ok(frame)
}

/// The length of a header, of its first four bytes.
pub(in crate::load) fn length(prefix: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_HEADER_BYTES { Err(too_long()) } else { Ok(length) }
}

/// Read one header.
pub(in crate::load) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    let mut header = vec![0; length(prefix)?];
    from.read_exact(&mut header)?;
    Ok(serde_json::from_slice(&header)?)
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a header is too long")
}
