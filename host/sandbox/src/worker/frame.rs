//! Frames: a length, the number of descriptors that come with it, and MessagePack.
//!
//! Descriptors travel with a frame's first byte. A reader takes no more memory than has
//! arrived, whatever length it was told.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes before what a frame says.
pub(super) const HEAD_BYTES: usize = 8;

/// Most descriptors of one frame, which the kernel bounds at 253.
pub(super) const MAX_DESCRIPTORS: usize = 240;

/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A message as it is sent.
pub(super) fn encode(message: &impl Serialize, descriptors: usize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEAD_BYTES];
    // By the names of fields, since some leave out those that say nothing.
    rmp_serde::encode::write_named(&mut frame, message).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - HEAD_BYTES).map_err(io::Error::other)?;
    if descriptors > MAX_DESCRIPTORS {
        return Err(io::Error::other("a worker can be passed 240 folders at one time"));
    }
    let descriptors = u32::try_from(descriptors).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..HEAD_BYTES].copy_from_slice(&descriptors.to_le_bytes());
    Ok(frame)
}

/// A message of a frame's bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    rmp_serde::from_slice(bytes).map_err(|error| invalid(error.to_string()))
}

/// Length and descriptors that a head tells of.
pub(super) fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let descriptors = rest.first_chunk::<4>()?;
    Some((u32::from_le_bytes(*length) as usize, u32::from_le_bytes(*descriptors) as usize))
}

/// Send some of a frame's first bytes and its descriptors; how many bytes went.
pub(super) fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[OwnedFd],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("too many descriptors for one frame"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// The child's end for reading. Blocks.
pub(super) struct Inbox {
    socket: OwnedFd,
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Inbox {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, bytes: Vec::new(), descriptors: VecDeque::new() }
    }

    /// The next message and what came with it; none when the host hung up.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            if let Some((length, descriptors)) = head(&self.bytes)
                && self.bytes.len() >= HEAD_BYTES + length
                && self.descriptors.len() >= descriptors
            {
                let message = decode(&self.bytes[HEAD_BYTES..HEAD_BYTES + length])?;
                self.bytes.drain(..HEAD_BYTES + length);
                return Ok(Some((message, self.descriptors.drain(..descriptors).collect())));
            }
            if !self.receive()? {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let at = self.bytes.len();
        self.bytes.resize(at + CHUNK_BYTES, 0);
        let mut chunk = [IoSliceMut::new(&mut self.bytes[at..])];
        let received = recvmsg(&self.socket, &mut chunk, &mut control, RecvFlags::CMSG_CLOEXEC);
        let received = match received {
            Ok(received) => received,
            Err(Errno::INTR) => {
                self.bytes.truncate(at);
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        self.bytes.truncate(at + received.bytes);
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("descriptors were lost on the way"));
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        Ok(received.bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_together_and_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::new(theirs.into());
        let mut files = Vec::new();
        for text in ["one", "two"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            files.push(OwnedFd::from(file));
        }
        let plain = encode(&"plain", 0).unwrap();
        let with = encode(&"with", 2).unwrap();
        (&ours).write_all(&plain).unwrap();
        let sent = send_with(ours.as_fd(), &with, &files).unwrap();
        (&ours).write_all(&with[sent..]).unwrap();
        (&ours).write_all(&plain).unwrap();
        drop(ours);
        let mut heard = Vec::new();
        while let Some((message, descriptors)) = inbox.next::<String>().unwrap() {
            let texts = descriptors.into_iter().map(|descriptor| {
                let (mut file, mut text) = (std::fs::File::from(descriptor), String::new());
                file.rewind().unwrap();
                file.read_to_string(&mut text).unwrap();
                text
            });
            heard.push((message, texts.collect::<Vec<_>>()));
        }
        let plain = || ("plain".to_owned(), Vec::new());
        let with = ("with".to_owned(), vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(heard, [plain(), with, plain()]);
    }

    #[test]
    fn fields_that_say_nothing_are_left_out_and_the_others_keep_their_places() {
        use bulkhead_core::Terms;
        let with = |change: fn(&mut Terms)| {
            let mut terms = Terms::default();
            change(&mut terms);
            terms
        };
        for terms in [
            with(|_| {}),
            with(|terms| terms.depth = 3),
            with(|terms| terms.not_before = Some(7)),
            with(|terms| (terms.key, terms.depth) = ("k".parse().ok(), 1)),
        ] {
            let frame = encode(&terms, 0).unwrap();
            assert_eq!(decode::<Terms>(&frame[HEAD_BYTES..]).unwrap(), terms);
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(decode::<String>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(decode::<Vec<String>>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(decode::<String>(&[]).is_err());
        assert_eq!(head(&[1, 0, 0]), None);
    }
}
