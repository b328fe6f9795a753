//! The last final block as the store knows it: what the next block continues from, and its record on disk.

use mingzhang_ledger::batch::LanePosition;
use mingzhang_ledger::codec::{CodecFault, Reader};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::merkle::Frontier;

use super::leaf::{put_frontier, read_frontier};

/// Everything that a child of the last final block needs, besides the state. At height 0 the genesis entry stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    pub height: u64,
    /// Header id; at height 0 the leaf hash of the genesis entry.
    pub id: Hash,
    /// Block time; 0 at height 0.
    pub time_ms: u64,
    /// Epoch that decides the next block.
    pub epoch: u64,
    /// Turn of that epoch at which the block became final; 0 if the block opened the epoch.
    pub turn: u64,
    pub state_size: u64,
    pub state_root: Hash,
    /// Right edge of the log, this block's header included.
    pub log: Frontier,
    /// Lane positions after the block, one per authority of the epoch that decides the next block; empty where a
    /// joiner does not know them.
    pub lanes: Vec<LanePosition>,
}

impl Tip {
    /// Size of the checkpoint that covers this block.
    pub fn tree_size(&self) -> u64 {
        self.log.size()
    }

    /// Root of that checkpoint.
    pub fn tree_root(&self) -> Hash {
        self.log.root()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.height.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.id);
        for number in [self.time_ms, self.epoch, self.turn, self.state_size] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.state_root);
        put_frontier(&mut bytes, &self.log);
        for lane in &self.lanes {
            bytes.extend_from_slice(&lane.run.to_be_bytes());
            bytes.extend_from_slice(&lane.next_seq.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let (height, id) = (reader.u64()?, reader.array()?);
        let (time_ms, epoch, turn, state_size) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
        let state_root = reader.array()?;
        let peaks = reader.u8()?;
        let log = read_frontier(&mut reader, peaks)?;
        let mut lanes = Vec::with_capacity(reader.remaining() / 16);
        while reader.remaining() > 0 {
            lanes.push(LanePosition { run: reader.u64()?, next_seq: reader.u64()? });
        }
        Ok(Self { height, id, time_ms, epoch, turn, state_size, state_root, log, lanes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_is_strict() {
        let tip = Tip {
            height: 1,
            id: [2; 32],
            time_ms: 3,
            epoch: 4,
            turn: 5,
            state_size: 6,
            state_root: [7; 32],
            log: Frontier::of(vec![[8; 32]; 11]),
            lanes: vec![LanePosition { run: 9, next_seq: 10 }; 4],
        };
        let bytes = tip.encode();
        assert_eq!(Tip::decode(&bytes), Ok(tip));
        assert!(Tip::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
