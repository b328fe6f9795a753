//! Frames on direct streams: length u32 ‖ channel u8 ‖ body, the length counting channel and body. What a body means
//! is the reader's matter.

use std::io;
use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt as _};

/// Largest frame on a vote stream: a proposal with attached batches and its justification.
pub const MAX_VOTE_FRAME_BYTES: usize = 1024 * 1024;
/// Largest frame on a bulk stream: an answer with blocks.
pub const MAX_BULK_FRAME_BYTES: usize = 8 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;

/// Two streams lead to each peer, so that bulk never stands before a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Votes,
    Bulk,
}

impl Class {
    pub fn max_frame_bytes(self) -> usize {
        match self {
            Self::Votes => MAX_VOTE_FRAME_BYTES,
            Self::Bulk => MAX_BULK_FRAME_BYTES,
        }
    }
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Votes, proposals, justifications, status.
    Consensus,
    /// Seals on checkpoints.
    Seal,
    /// A question with its number.
    Request,
    /// The answer to a question, with the same number.
    Answer,
}

impl Channel {
    pub fn class(self) -> Class {
        match self {
            Self::Consensus | Self::Seal => Class::Votes,
            Self::Request | Self::Answer => Class::Bulk,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Consensus => 1,
            Self::Seal => 2,
            Self::Request => 3,
            Self::Answer => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Consensus, Self::Seal, Self::Request, Self::Answer].into_iter().find(|channel| channel.code() == code)
    }
}

/// An encoded frame, made once and shared by the queues of all peers that get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    class: Class,
    bytes: Arc<[u8]>,
}

impl Frame {
    /// None if the body is larger than its class allows.
    pub fn new(channel: Channel, parts: &[&[u8]]) -> Option<Self> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>() + 1;
        if length > channel.class().max_frame_bytes() {
            return None;
        }
        let mut bytes = Vec::with_capacity(LENGTH_BYTES + length);
        bytes.extend_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
        bytes.push(channel.code());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Some(Self { class: channel.class(), bytes: bytes.into() })
    }

    pub fn class(&self) -> Class {
        self.class
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads one frame; None at a clean end of the stream. A frame of another class, an unknown channel or too long a
/// frame is `InvalidData`: only a faulty peer sends it.
pub async fn read<R: AsyncRead + Unpin>(reader: &mut R, class: Class) -> io::Result<Option<(Channel, Vec<u8>)>> {
    let mut head = [0u8; LENGTH_BYTES + 1];
    let got = reader.read(&mut head).await?;
    if got == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[got..]).await?;
    let [a, b, c, d, code] = head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let channel = Channel::from_code(code).filter(|channel| channel.class() == class);
    let Some(channel) = channel else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of channel {code} on the wrong stream")));
    };
    if length == 0 || length > class.max_frame_bytes() {
        let text = format!("frame of {length} bytes, at most {} are allowed", class.max_frame_bytes());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    // The buffer grows with what arrives, not with what was announced.
    let mut body = Vec::new();
    let wanted = u64::try_from(length - 1).unwrap_or(u64::MAX);
    reader.take(wanted).read_to_end(&mut body).await?;
    if body.len() + 1 == length { Ok(Some((channel, body))) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;

    fn read_all(bytes: &[u8], class: Class) -> io::Result<Option<(Channel, Vec<u8>)>> {
        block_on(read(&mut Cursor::new(bytes), class))
    }

    #[test]
    fn frames_round_trip_and_end_cleanly() {
        let frame = Frame::new(Channel::Consensus, &[b"ab", b"c"]).expect("small");
        assert_eq!(frame.bytes(), b"\0\0\0\x04\x01abc");
        let read = read_all(frame.bytes(), Class::Votes).expect("valid");
        assert_eq!(read, Some((Channel::Consensus, b"abc".to_vec())));
        assert_eq!(read_all(b"", Class::Votes).expect("clean end"), None);
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_beyond() {
        let body = vec![0; MAX_VOTE_FRAME_BYTES];
        assert!(Frame::new(Channel::Consensus, &[&body]).is_none());
        let largest = Frame::new(Channel::Consensus, &[&body[1..]]).expect("at the limit");
        assert!(read_all(largest.bytes(), Class::Votes).is_ok());
        let mut announced = u32::try_from(MAX_VOTE_FRAME_BYTES + 1).expect("fits").to_be_bytes().to_vec();
        announced.push(1);
        assert_eq!(read_all(&announced, Class::Votes).expect_err("too long").kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn wrong_stream_unknown_channel_and_truncation_are_refused() {
        let bulk = Frame::new(Channel::Request, &[b"x"]).expect("small");
        assert!(read_all(bulk.bytes(), Class::Votes).is_err());
        assert!(read_all(b"\0\0\0\x02\x09a", Class::Votes).is_err());
        assert!(read_all(b"\0\0\0\0\x01", Class::Votes).is_err());
        assert!(read_all(&bulk.bytes()[..5], Class::Bulk).is_err());
        assert!(read_all(&bulk.bytes()[..3], Class::Bulk).is_err());
    }
}
