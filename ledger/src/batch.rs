//! Batches of transactions and the references by which a block names them. A batch's content can never make a block
//! invalid: a payload is cut at the first framing error. Who may author a batch is the consensus crate's matter.

use crate::codec::{CodecFault, Reader, put_counted};
use crate::crypto::{Hash, Signature, sha256};

/// Length of an encoded reference.
pub const REFERENCE_BYTES: usize = 58;

/// Where an author's lane stands: its current run and the next sequence number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LanePosition {
    pub run: u64,
    pub next_seq: u64,
}

/// What a block says about one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    pub author: u16,
    pub run: u64,
    pub seq: u64,
    pub records: u32,
    pub bytes: u32,
    /// SHA-256 of the payload.
    pub hash: Hash,
}

impl Reference {
    pub fn encode_into(&self, target: &mut Vec<u8>) {
        target.extend_from_slice(&self.author.to_be_bytes());
        target.extend_from_slice(&self.run.to_be_bytes());
        target.extend_from_slice(&self.seq.to_be_bytes());
        target.extend_from_slice(&self.records.to_be_bytes());
        target.extend_from_slice(&self.bytes.to_be_bytes());
        target.extend_from_slice(&self.hash);
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            author: reader.u16()?,
            run: reader.u64()?,
            seq: reader.u64()?,
            records: reader.u32()?,
            bytes: reader.u32()?,
            hash: reader.array()?,
        })
    }
}

/// Transactions admitted by one authority, signed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub epoch: u64,
    pub author: u16,
    pub run: u64,
    pub seq: u64,
    /// (length u32 ‖ COSE_Sign1 bytes)*
    pub payload: Vec<u8>,
    pub signature: Signature,
}

/// What the author of a batch signs with its consensus key.
pub fn batch_bytes(chain: &Hash, epoch: u64, author: u16, (run, seq): (u64, u64), hash: &Hash) -> Vec<u8> {
    let mut bytes = b"mingzhang/batch/v1\0".to_vec();
    bytes.extend_from_slice(chain);
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.extend_from_slice(&author.to_be_bytes());
    bytes.extend_from_slice(&run.to_be_bytes());
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(hash);
    bytes
}

impl Batch {
    pub fn hash(&self) -> Hash {
        sha256(&[&self.payload])
    }

    pub fn signed_bytes(&self, chain: &Hash) -> Vec<u8> {
        batch_bytes(chain, self.epoch, self.author, (self.run, self.seq), &self.hash())
    }

    pub fn reference(&self, max_records: usize) -> Reference {
        let records = transactions(&self.payload, max_records).count();
        Reference {
            author: self.author,
            run: self.run,
            seq: self.seq,
            records: u32::try_from(records).unwrap_or(u32::MAX),
            bytes: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
            hash: self.hash(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len().saturating_add(94));
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.author.to_be_bytes());
        bytes.extend_from_slice(&self.run.to_be_bytes());
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        put_counted(&mut bytes, &self.payload);
        bytes.extend_from_slice(&self.signature.0);
        bytes
    }

    /// `max_bytes` bounds the payload.
    pub fn decode(bytes: &[u8], max_bytes: usize) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let batch = Self {
            epoch: reader.u64()?,
            author: reader.u16()?,
            run: reader.u64()?,
            seq: reader.u64()?,
            payload: reader.counted(max_bytes)?.to_vec(),
            signature: Signature(reader.array()?),
        };
        reader.finish()?;
        Ok(batch)
    }
}

/// The framed transactions of a payload, cut at the first framing error or after `max_records`.
pub fn transactions(payload: &[u8], max_records: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (transaction, tail) = tail.split_at_checked(length)?;
        rest = tail;
        Some(transaction)
    })
    .take(max_records)
}

/// Digest of the lane positions after a block and the references that it holds.
pub fn batches_digest(positions: &[LanePosition], references: &[Reference]) -> Hash {
    sha256(&[b"mingzhang/batches/v1\0", &batches_preimage(positions, references)])
}

/// What the digest covers after its prefix: n u16, lane positions, count u32, references.
pub fn batches_preimage(positions: &[LanePosition], references: &[Reference]) -> Vec<u8> {
    let mut bytes = u16::try_from(positions.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    for position in positions {
        bytes.extend_from_slice(&position.run.to_be_bytes());
        bytes.extend_from_slice(&position.next_seq.to_be_bytes());
    }
    bytes.extend_from_slice(&u32::try_from(references.len()).unwrap_or(u32::MAX).to_be_bytes());
    for reference in references {
        reference.encode_into(&mut bytes);
    }
    bytes
}

/// Reads a preimage back: lane positions and references.
pub fn decode_batches_preimage(bytes: &[u8]) -> Result<(Vec<LanePosition>, Vec<Reference>), CodecFault> {
    let mut reader = Reader::new(bytes);
    let lanes = reader.u16()?;
    let positions = (0..lanes)
        .map(|_| Ok(LanePosition { run: reader.u64()?, next_seq: reader.u64()? }))
        .collect::<Result<_, CodecFault>>()?;
    let count = usize::try_from(reader.u32()?).map_err(|_| CodecFault::Invalid("count"))?;
    if count.checked_mul(REFERENCE_BYTES) != Some(reader.remaining()) {
        return Err(CodecFault::Invalid("number of references"));
    }
    let references = (0..count).map(|_| Reference::read(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok((positions, references))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_cut_at_the_first_framing_error_and_at_the_limit() {
        let mut payload = Vec::new();
        put_counted(&mut payload, b"one");
        put_counted(&mut payload, b"two");
        payload.extend_from_slice(&[0, 0, 0, 9, 1]);
        assert_eq!(transactions(&payload, 10).collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(transactions(&payload, 1).collect::<Vec<_>>(), [b"one"]);
    }

    #[test]
    fn batch_and_preimage_round_trip() {
        let batch =
            Batch { epoch: 1, author: 2, run: 3, seq: 4, payload: vec![0, 0, 0, 1, 9], signature: Signature([5; 64]) };
        assert_eq!(Batch::decode(&batch.encode(), 5), Ok(batch.clone()));
        assert!(Batch::decode(&batch.encode(), 4).is_err());
        let positions = vec![LanePosition { run: 7, next_seq: 1 }; 4];
        let references = vec![batch.reference(10)];
        let preimage = batches_preimage(&positions, &references);
        assert_eq!(decode_batches_preimage(&preimage), Ok((positions, references)));
        assert!(decode_batches_preimage(&preimage[..preimage.len() - 1]).is_err());
    }
}
