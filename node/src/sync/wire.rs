//! Questions between nodes and their answers, byte for byte: final blocks by range, one block by id, batches by
//! reference. All big-endian, strict, with a limit on every list.

use mingzhang_ledger::batch::{Batch, Reference, batches_preimage, decode_batches_preimage};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::codec::{CodecFault, Reader, put_counted};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::{HEADER_BYTES, Header};

use crate::executor::LoggedBlock;
use crate::network::frame::MAX_BULK_FRAME_BYTES;

/// Most references in one question for batches.
pub const MAX_ASKED_BATCHES: usize = 64;
/// Most blocks in one segment, and most headers above them.
pub const MAX_SEGMENT_BLOCKS: usize = 256;
/// A segment is closed when it holds this much.
pub const SEGMENT_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes of batches in one answer.
pub const ANSWER_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Final blocks after this height, asked from this epoch.
    Segment {
        after: u64,
        epoch: u64,
    },
    /// Header of a block, with the preimage of its `batches`.
    Block {
        id: Hash,
    },
    Batches {
        epoch: u64,
        references: Vec<Reference>,
    },
    /// What leads to the state that this peer gives.
    Manifest,
    /// A part of the leaf hashes of the state at that height.
    LeafHashes {
        height: u64,
        part: u64,
    },
    /// Leaves of that state in the order of their keys, from this one on.
    Leaves {
        height: u64,
        from: Hash,
    },
    /// Seals of the newest note, if it is of more entries than these.
    Note {
        above: u64,
    },
}

/// Consecutive final blocks of one epoch, the headers that lead from the last of them to the one that is proved final,
/// and its proof. No block, where nothing but a recovery manifest is new to whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub blocks: Vec<LoggedBlock>,
    pub above: Vec<Header>,
    pub proof: Proof,
}

/// What proves the last header of a segment final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    Certificate(FinalCert),
    /// A manifest, signed, whose base it is.
    Recovery(Vec<u8>),
}

impl Question {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Segment { after, epoch } => [&[1][..], &after.to_be_bytes(), &epoch.to_be_bytes()].concat(),
            Self::Block { id } => [&[2][..], id].concat(),
            Self::Batches { epoch, references } => {
                let mut bytes = vec![3];
                bytes.extend_from_slice(&epoch.to_be_bytes());
                put_count(&mut bytes, references.len());
                references.iter().for_each(|reference| reference.encode_into(&mut bytes));
                bytes
            }
            Self::Manifest => vec![4],
            Self::LeafHashes { height, part } => [&[5][..], &height.to_be_bytes(), &part.to_be_bytes()].concat(),
            Self::Leaves { height, from } => [&[6][..], &height.to_be_bytes(), from].concat(),
            Self::Note { above } => [&[7][..], &above.to_be_bytes()].concat(),
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let question = match reader.u8()? {
            1 => Self::Segment { after: reader.u64()?, epoch: reader.u64()? },
            2 => Self::Block { id: reader.array()? },
            3 => {
                let epoch = reader.u64()?;
                let count = read_count(&mut reader, MAX_ASKED_BATCHES)?;
                let references = (0..count).map(|_| Reference::read(&mut reader)).collect::<Result<_, _>>()?;
                Self::Batches { epoch, references }
            }
            4 => Self::Manifest,
            5 => Self::LeafHashes { height: reader.u64()?, part: reader.u64()? },
            6 => Self::Leaves { height: reader.u64()?, from: reader.array()? },
            7 => Self::Note { above: reader.u64()? },
            _ => return Err(CodecFault::Invalid("kind of question")),
        };
        reader.finish()?;
        Ok(question)
    }
}

impl Segment {
    /// `members`: size of the set that decides these blocks.
    pub fn encode(&self, members: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_count(&mut bytes, self.blocks.len());
        self.blocks.iter().for_each(|block| put_block(&mut bytes, block));
        put_count(&mut bytes, self.above.len());
        self.above.iter().for_each(|header| bytes.extend_from_slice(&header.encode()));
        match &self.proof {
            Proof::Certificate(certificate) => put_counted(&mut bytes, &certificate.encode(members)),
            Proof::Recovery(manifest) => {
                put_counted(&mut bytes, &[]);
                put_counted(&mut bytes, manifest);
            }
        }
        bytes
    }

    pub fn decode(bytes: &[u8], members: usize) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let count = read_count(&mut reader, MAX_SEGMENT_BLOCKS)?;
        let blocks = (0..count).map(|_| read_block(&mut reader)).collect::<Result<_, _>>()?;
        let count = read_count(&mut reader, MAX_SEGMENT_BLOCKS)?;
        let above = (0..count).map(|_| read_header(&mut reader)).collect::<Result<_, _>>()?;
        let proof = match reader.counted(MAX_BULK_FRAME_BYTES)? {
            [] => Proof::Recovery(reader.counted(MAX_BULK_FRAME_BYTES)?.to_vec()),
            certificate => Proof::Certificate(FinalCert::decode(certificate, members)?),
        };
        reader.finish()?;
        Ok(Self { blocks, above, proof })
    }
}

/// Header and preimage of its `batches`.
pub fn encode_block(header: &Header, preimage: &[u8]) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(preimage);
    bytes
}

pub fn decode_block(bytes: &[u8]) -> Result<(Header, &[u8]), CodecFault> {
    let (header, preimage) = bytes.split_at_checked(HEADER_BYTES).ok_or(CodecFault::Invalid("block"))?;
    Ok((Header::decode(header)?, preimage))
}

pub fn encode_batches<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for batch in batches {
        put_counted(&mut bytes, &batch.encode());
    }
    bytes
}

pub fn decode_batches(bytes: &[u8]) -> Result<Vec<Batch>, CodecFault> {
    let mut reader = Reader::new(bytes);
    let mut batches = Vec::new();
    while reader.remaining() > 0 && batches.len() < MAX_ASKED_BATCHES {
        batches.push(Batch::decode(reader.counted(ANSWER_BATCH_BYTES)?, ANSWER_BATCH_BYTES)?);
    }
    reader.finish()?;
    Ok(batches)
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn read_count(reader: &mut Reader<'_>, limit: usize) -> Result<usize, CodecFault> {
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count <= limit { Ok(count) } else { Err(CodecFault::Invalid("length of a list")) }
}

fn read_header(reader: &mut Reader<'_>) -> Result<Header, CodecFault> {
    Header::decode(reader.take(HEADER_BYTES)?)
}

/// A block of the log: header, entries, preimage of its `batches`.
pub fn put_block(bytes: &mut Vec<u8>, block: &LoggedBlock) {
    bytes.extend_from_slice(&block.header.encode());
    put_count(bytes, block.entries.len());
    block.entries.iter().for_each(|entry| put_counted(bytes, entry));
    let preimage = block.preimage.as_ref().map(|(positions, references)| batches_preimage(positions, references));
    put_counted(bytes, &preimage.unwrap_or_default());
}

pub fn read_block(reader: &mut Reader<'_>) -> Result<LoggedBlock, CodecFault> {
    let header = read_header(reader)?;
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count > reader.remaining() || u32::try_from(count).ok() != Some(header.entry_count) {
        return Err(CodecFault::Invalid("number of entries"));
    }
    let entries = (0..count).map(|_| Ok(reader.counted(MAX_BULK_FRAME_BYTES)?.to_vec())).collect::<Result<_, _>>()?;
    let preimage = reader.counted(MAX_BULK_FRAME_BYTES)?;
    let preimage = if preimage.is_empty() { None } else { Some(decode_batches_preimage(preimage)?) };
    Ok(LoggedBlock { header, entries, preimage })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mingzhang_ledger::batch::LanePosition;
    use mingzhang_ledger::certificate::Signers;
    use mingzhang_ledger::crypto::Signature;

    fn header(entry_count: u32) -> Header {
        Header {
            height: 1,
            epoch: 0,
            turn: 1,
            parent_turn: 0,
            proposer: 0,
            time_ms: 5,
            first_index: 1,
            entry_count,
            log_root: [1; 32],
            state_root: [2; 32],
            parent: [3; 32],
            batches: [4; 32],
            set_hash: [5; 32],
            next_set_hash: [5; 32],
            state_size: 9,
        }
    }

    fn reference(seq: u64) -> Reference {
        Reference { author: 1, run: 2, seq, records: 3, bytes: 4, hash: [6; 32] }
    }

    #[test]
    fn questions_round_trip_and_are_bounded() {
        let references = |count| Question::Batches { epoch: 7, references: (0..count).map(reference).collect() };
        let (hashes, leaves) =
            (Question::LeafHashes { height: 3, part: 1 }, Question::Leaves { height: 3, from: [7; 32] });
        let others =
            [Question::Segment { after: 9, epoch: 1 }, Question::Block { id: [8; 32] }, references(64), hashes, leaves];
        for question in others.into_iter().chain([Question::Note { above: 9 }]) {
            let bytes = question.encode();
            assert_eq!(Question::decode(&bytes), Ok(question));
            for end in 0..bytes.len() {
                assert!(Question::decode(&bytes[..end]).is_err());
            }
            assert!(Question::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        assert!(Question::decode(&references(65).encode()).is_err());
        assert_eq!(Question::decode(&Question::Manifest.encode()), Ok(Question::Manifest));
        assert!(Question::decode(&[4, 0]).is_err());
        assert!(Question::decode(&[8]).is_err());
    }

    #[test]
    fn segments_round_trip_and_no_cut_one_decodes() {
        let positions = vec![LanePosition { run: 2, next_seq: 1 }; 4];
        let blocks = vec![
            LoggedBlock { header: header(2), entries: vec![vec![1, 2], vec![3]], preimage: None },
            LoggedBlock { header: header(0), entries: Vec::new(), preimage: Some((positions, vec![reference(0)])) },
        ];
        let signers = Signers::new([(0, Signature([1; 64])), (2, Signature([2; 64])), (3, Signature([3; 64]))]);
        let certificate = FinalCert { epoch: 0, turn: 4, height: 3, block: [7; 32], signers };
        let segment = Segment { blocks, above: vec![header(1)], proof: Proof::Certificate(certificate) };
        let bytes = segment.encode(4);
        assert_eq!(Segment::decode(&bytes, 4).as_ref(), Ok(&segment));
        for end in 0..bytes.len() {
            assert!(Segment::decode(&bytes[..end], 4).is_err());
        }
        let ended = Segment { proof: Proof::Recovery(vec![8; 40]), ..segment };
        assert_eq!(Segment::decode(&ended.encode(4), 4), Ok(ended));
        let mut wrong_count = bytes;
        // The number of entries of the first block, behind the number of blocks and its header.
        wrong_count[4 + HEADER_BYTES + 3] ^= 1;
        assert!(Segment::decode(&wrong_count, 4).is_err());
    }

    #[test]
    fn batches_and_blocks_round_trip() {
        let batch = Batch { epoch: 1, author: 2, run: 3, seq: 4, payload: vec![5; 9], signature: Signature([6; 64]) };
        let bytes = encode_batches([&batch, &batch]);
        assert_eq!(decode_batches(&bytes), Ok(vec![batch.clone(), batch.clone()]));
        assert!(decode_batches(&bytes[1..]).is_err());
        let many = vec![batch; MAX_ASKED_BATCHES + 1];
        assert!(decode_batches(&encode_batches(&many)).is_err());
        let block = encode_block(&header(1), b"preimage");
        assert_eq!(decode_block(&block), Ok((header(1), b"preimage".as_slice())));
        assert!(decode_block(&block[..HEADER_BYTES - 1]).is_err());
    }
}
