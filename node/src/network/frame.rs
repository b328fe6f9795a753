//! Frames on direct streams: length u32 ‖ channel u8 ‖ body, the length counting channel and body. What a body means
//! is the reader's matter.

use std::io;
use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt as _};
use mingzhang_consensus::message::MAX_MESSAGE_BYTES;
use mingzhang_ledger::outcome::{Code, peers};

/// Largest frame on a vote stream: a proposal with attached batches and its justification.
pub const MAX_VOTE_FRAME_BYTES: usize = 1024 * 1024;
/// Largest frame on a bulk stream: an answer with blocks.
pub const MAX_BULK_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// Largest frame on a stream for what is too large for the one of votes: a proposal or justification after thousands of
/// failed turns, with its channel.
pub const MAX_LARGE_FRAME_BYTES: usize = MAX_MESSAGE_BYTES + 1;

const LENGTH_BYTES: usize = 4;

/// Three streams lead to each peer, so that nothing large ever stands before a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Votes,
    Bulk,
    Large,
}

impl Class {
    pub fn max_frame_bytes(self) -> usize {
        match self {
            Self::Votes => MAX_VOTE_FRAME_BYTES,
            Self::Bulk => MAX_BULK_FRAME_BYTES,
            Self::Large => MAX_LARGE_FRAME_BYTES,
        }
    }

    /// Whether a frame of this channel and length, the channel counted, may come on such a stream.
    fn takes(self, channel: Channel, length: usize) -> bool {
        channel.class(length) == self && length <= self.max_frame_bytes()
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
    /// The stream for a frame of this length, the channel counted.
    fn class(self, length: usize) -> Class {
        match self {
            Self::Consensus if length > MAX_VOTE_FRAME_BYTES => Class::Large,
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
        let class = channel.class(length);
        if !class.takes(channel, length) {
            return None;
        }
        let mut bytes = Vec::with_capacity(LENGTH_BYTES + length);
        bytes.extend_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
        bytes.push(channel.code());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Some(Self { class, bytes: bytes.into() })
    }

    pub fn class(&self) -> Class {
        self.class
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a frame's first bytes announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub channel: Channel,
    /// Length of the body.
    pub bytes: usize,
}

/// A frame that only a faulty peer sends.
#[derive(Debug)]
struct FrameFault {
    class: Class,
    channel: u8,
    length: usize,
}

impl std::fmt::Display for FrameFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channel, length, .. } = self;
        write!(formatter, "frame of channel {channel} and {length} bytes on a stream that takes none")
    }
}

impl std::error::Error for FrameFault {}

/// By which a frame that could not be read is refused of its sender.
pub fn peer_code(error: &io::Error) -> Code {
    let fault = error.get_ref().and_then(|source| source.downcast_ref::<FrameFault>());
    let is_long = fault.is_some_and(|fault| fault.length > fault.class.max_frame_bytes());
    if is_long { peers::OVER_LIMIT } else { peers::MALFORMED }
}

/// Reads the beginning of a frame; None at a clean end of the stream. A frame of another class, an unknown channel or too
/// long a frame is `InvalidData`: only a faulty peer sends it.
pub async fn read_head<R: AsyncRead + Unpin>(reader: &mut R, class: Class) -> io::Result<Option<Head>> {
    let mut head = [0u8; LENGTH_BYTES + 1];
    let got = reader.read(&mut head).await?;
    if got == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[got..]).await?;
    let [a, b, c, d, code] = head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let channel = Channel::from_code(code).filter(|channel| length > 0 && class.takes(*channel, length));
    let Some(channel) = channel else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, FrameFault { class, channel: code, length }));
    };
    Ok(Some(Head { channel, bytes: length - 1 }))
}

/// Reads the body that a head announced.
pub async fn read_body<R: AsyncRead + Unpin>(reader: &mut R, head: Head) -> io::Result<Vec<u8>> {
    // The buffer grows with what arrives, not with what was announced.
    let mut body = Vec::new();
    let wanted = u64::try_from(head.bytes).unwrap_or(u64::MAX);
    reader.take(wanted).read_to_end(&mut body).await?;
    if body.len() == head.bytes { Ok(body) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;

    fn read_all(bytes: &[u8], class: Class) -> io::Result<Option<(Channel, Vec<u8>)>> {
        block_on(async {
            let mut reader = Cursor::new(bytes);
            let Some(head) = read_head(&mut reader, class).await? else { return Ok(None) };
            Ok(Some((head.channel, read_body(&mut reader, head).await?)))
        })
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
        let body = vec![0; MAX_LARGE_FRAME_BYTES];
        for (channel, class) in
            [(Channel::Seal, Class::Votes), (Channel::Answer, Class::Bulk), (Channel::Consensus, Class::Large)]
        {
            let most = class.max_frame_bytes();
            assert!(Frame::new(channel, &[&body[..most]]).is_none());
            let largest = Frame::new(channel, &[&body[..most - 1]]).expect("at the limit");
            assert_eq!(largest.class(), class);
            assert!(read_all(largest.bytes(), class).is_ok());
            let mut announced = u32::try_from(most + 1).expect("fits").to_be_bytes().to_vec();
            announced.push(channel.code());
            let error = read_all(&announced, class).expect_err("too long");
            assert_eq!((error.kind(), peer_code(&error)), (io::ErrorKind::InvalidData, peers::OVER_LIMIT));
        }
    }

    #[test]
    fn what_is_too_large_for_the_stream_of_votes_goes_beside_it_and_nothing_else_does() {
        let body = vec![0; MAX_VOTE_FRAME_BYTES];
        let small = Frame::new(Channel::Consensus, &[&body[1..]]).expect("at the limit of votes");
        let large = Frame::new(Channel::Consensus, &[&body]).expect("one beyond");
        assert_eq!((small.class(), large.class()), (Class::Votes, Class::Large));
        assert!(read_all(small.bytes(), Class::Large).is_err() && read_all(large.bytes(), Class::Votes).is_err());
        assert!(read_all(large.bytes(), Class::Bulk).is_err());
    }

    #[test]
    fn wrong_stream_unknown_channel_and_truncation_are_refused() {
        let bulk = Frame::new(Channel::Request, &[b"x"]).expect("small");
        let error = read_all(bulk.bytes(), Class::Votes).expect_err("another stream's");
        assert_eq!(peer_code(&error), peers::MALFORMED);
        assert!(read_all(b"\0\0\0\x02\x09a", Class::Votes).is_err());
        assert!(read_all(b"\0\0\0\0\x01", Class::Votes).is_err());
        assert!(read_all(&bulk.bytes()[..5], Class::Bulk).is_err());
        assert!(read_all(&bulk.bytes()[..3], Class::Bulk).is_err());
    }
}
