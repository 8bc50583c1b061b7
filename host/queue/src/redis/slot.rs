//! Hash slots: which of a Cluster's 16,384 a key lives in, and which key a command names.

use redis::{Arg, Cmd};

/// Slots of every Cluster.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: the CRC of what stands between its first braces, else of all of it.
pub(super) fn of_key(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let after = &key[open + 1..];
        let close = after.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &after[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// The slot of a command's first key; nothing for a command that names none.
pub(super) fn of_command(command: &Cmd) -> Option<u16> {
    let mut arguments = command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        _ => b"0",
    });
    let name = arguments.next()?;
    let is = |names: &[&str]| names.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()));
    let key = if is(&["EVALSHA", "EVAL"]) {
        arguments.nth(2)?
    } else if is(&["XREAD", "XREADGROUP"]) {
        arguments.find(|argument| argument.eq_ignore_ascii_case(b"STREAMS"))?;
        arguments.next()?
    } else if is(&["SCAN"]) {
        // A pattern with a queue's braces means that queue's keys.
        arguments.find(|argument| argument.eq_ignore_ascii_case(b"MATCH"))?;
        arguments.next()?
    } else if is(&["INFO", "CONFIG", "PING", "ACL", "CLIENT", "CLUSTER", "SCRIPT", "TIME", "WAIT"])
    {
        return None;
    } else {
        arguments.next()?
    };
    Some(of_key(key))
}

/// CRC-16/XMODEM, the one that Redis Cluster is defined by.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_redis_documents() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(of_key(b"foo"), 12_182);
        assert_eq!(of_key(b"{user1000}.following"), of_key(b"user1000"));
        assert_eq!(of_key(b"foo{{bar}}zap"), of_key(b"{bar"));
        assert_eq!(of_key(b"foo{bar}{zap}"), of_key(b"bar"));
        assert_eq!(of_key(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    }

    #[test]
    fn a_command_goes_to_its_first_key() {
        let slot = |parts: &[&str]| {
            let mut command = redis::cmd(parts[0]);
            command.arg(&parts[1..]);
            of_command(&command)
        };
        let key = Some(of_key(b"k"));
        assert_eq!(slot(&["GET", "k"]), key);
        assert_eq!(slot(&["evalsha", "sha", "1", "k", "x"]), key);
        assert_eq!(slot(&["XREAD", "BLOCK", "5", "STREAMS", "k", "0"]), key);
        assert_eq!(slot(&["PUBLISH", "k", "m"]), key);
        assert_eq!(slot(&["SCAN", "0", "MATCH", "{k}:*", "COUNT", "5"]), key);
        assert_eq!(slot(&["INFO", "k"]), None);
        assert_eq!(slot(&["PING"]), None);
    }
}
