//! The questions that the API and peers ask of the ledger. Values only: JSON, proofs and wire formats are made
//! elsewhere.

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::{LanePosition, Reference, decode_batches_preimage};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::codec::{CodecFault, Reader};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::trail_entry;

use super::Store;
use super::fault::StoreFault;
use super::schema::{self, Column};
use super::view::View;

/// Most entries or trail positions that one call returns.
pub const MAX_RANGE: usize = 10_000;

/// What a header's `batches` is the digest of: lane positions after the block, and its references.
pub type Preimage = (Vec<LanePosition>, Vec<Reference>);

/// Where a transaction stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    pub index: u64,
    pub height: u64,
}

/// An authority set and the block that opened its epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEpoch {
    /// 0 for the genesis entry.
    pub opening_height: u64,
    pub set: AuthoritySet,
}

fn decoded<T>(what: &str, number: u64, value: Result<T, CodecFault>) -> Result<T, StoreFault> {
    value.map_err(|error| StoreFault::corrupt(format!("{what} {number}"), error))
}

fn decode_certificate(height: u64, bytes: &[u8]) -> Result<FinalCert, StoreFault> {
    let mut reader = Reader::new(bytes);
    let members = decoded("certificate", height, reader.u16())?;
    let certificate = FinalCert::decode(bytes.get(2..).unwrap_or_default(), usize::from(members));
    decoded("certificate", height, certificate)
}

fn decode_location(bytes: &[u8]) -> Result<Location, CodecFault> {
    let mut reader = Reader::new(bytes);
    let location = Location { index: reader.u64()?, height: reader.u64()? };
    reader.finish()?;
    Ok(location)
}

impl View<'_> {
    /// The header of a final block; height 0 has none.
    pub fn header(&self, height: u64) -> Result<Option<Header>, StoreFault> {
        let bytes = self.get(Column::Headers, &height.to_be_bytes())?;
        bytes.map(|bytes| decoded("header", height, Header::decode(&bytes))).transpose()
    }

    /// The exact bytes of a log entry: genesis, record or header.
    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreFault> {
        self.get(Column::Entries, &index.to_be_bytes())
    }

    /// Entries [first, end) in order, at most [`MAX_RANGE`]; fewer where the log ends.
    pub fn entries(&self, first: u64, end: u64) -> Result<Vec<Vec<u8>>, StoreFault> {
        let mut entries = Vec::new();
        for (expected, item) in (first..).zip(self.scan(Column::Entries, &first.to_be_bytes()).take(MAX_RANGE)) {
            let (key, entry) = item?;
            if expected >= end {
                break;
            }
            if key[..] != expected.to_be_bytes() {
                return Err(StoreFault::corrupt(format!("log entry {expected}"), "it is missing"));
            }
            entries.push(entry.to_vec());
        }
        Ok(entries)
    }

    /// Height of the block that holds a log index; 0 for the genesis entry.
    pub fn height_of(&self, index: u64) -> Result<Option<u64>, StoreFault> {
        if index == 0 {
            return Ok(Some(0));
        }
        let Some(item) = self.scan(Column::HeaderAt, &index.to_be_bytes()).next() else { return Ok(None) };
        let (_, height) = item?;
        let height = height[..].try_into().map_err(|_| StoreFault::corrupt("a header's place", "not 8 bytes"))?;
        Ok(Some(u64::from_be_bytes(height)))
    }

    /// Height of the block whose checkpoint has this size; 0 for size 1.
    pub fn height_of_size(&self, size: u64) -> Result<Option<u64>, StoreFault> {
        let Some(own_index) = size.checked_sub(1) else { return Ok(None) };
        let height = self.height_of(own_index)?;
        let Some(found) = height.filter(|height| *height > 0) else { return Ok(height) };
        Ok(self.header(found)?.filter(|header| header.own_index() == own_index).map(|header| header.height))
    }

    /// Where the log holds the transaction with this id.
    pub fn location(&self, transaction_id: &Hash) -> Result<Option<Location>, StoreFault> {
        let bytes = self.get(Column::Transactions, transaction_id)?;
        bytes.map(|bytes| decoded("transaction at", 0, decode_location(&bytes))).transpose()
    }

    /// The certificate that was stored with this block; an ancestor may have none of its own.
    pub fn certificate(&self, height: u64) -> Result<Option<FinalCert>, StoreFault> {
        let bytes = self.get(Column::Certificates, &height.to_be_bytes())?;
        bytes.map(|bytes| decode_certificate(height, &bytes)).transpose()
    }

    /// The certificate at or next above a height: what makes that block final.
    pub fn certificate_from(&self, height: u64) -> Result<Option<FinalCert>, StoreFault> {
        let Some(item) = self.scan(Column::Certificates, &height.to_be_bytes()).next() else { return Ok(None) };
        let (_, bytes) = item?;
        decode_certificate(height, &bytes).map(Some)
    }

    /// Lane positions and references behind a header's `batches`, for recent heights.
    pub fn preimage(&self, height: u64) -> Result<Option<Preimage>, StoreFault> {
        let bytes = self.get(Column::Preimages, &height.to_be_bytes())?;
        bytes.map(|bytes| decoded("batches of block", height, decode_batches_preimage(&bytes))).transpose()
    }

    /// Trail entries from position `from`, at most `limit` and [`MAX_RANGE`]: index ‖ entry hash. Positions at or
    /// beyond the trail's count at the view's height are the caller's to leave out; the count stands in the leaf.
    pub fn trail(&self, subject: &Key, from: u64, limit: usize) -> Result<Vec<[u8; 40]>, StoreFault> {
        let indices = self.trail_indices(subject, from, limit)?;
        let log = self.log();
        let entry = |index| Ok(trail_entry(index, &log.hashes(0, index, 1)?[0]));
        indices.into_iter().map(entry).collect()
    }

    /// Log indices of a trail from position `from`, at most `limit` and [`MAX_RANGE`].
    pub fn trail_indices(&self, subject: &Key, from: u64, limit: usize) -> Result<Vec<u64>, StoreFault> {
        let (limit, mut indices) = (limit.min(MAX_RANGE), Vec::new());
        for item in self.scan(Column::Trails, &schema::trail(subject, from)) {
            let (key, bytes) = item?;
            if !key.starts_with(subject) || indices.len() >= limit {
                break;
            }
            let (joined, rest) = bytes.as_chunks::<8>();
            let last = key.last_chunk::<8>().filter(|_| rest.is_empty() && key.len() == 40);
            let last = last.ok_or_else(|| StoreFault::corrupt("a trail entry", "it has another length"))?;
            let wanted = from.saturating_add(u64::try_from(indices.len()).unwrap_or(u64::MAX));
            // Of these positions the last is named by the key.
            let first = u64::from_be_bytes(*last).saturating_add(1).checked_sub(joined.len() as u64);
            let Some(known) = first.and_then(|first| wanted.checked_sub(first)) else {
                let oldest = self.store().base();
                return Err(StoreFault::NotKept { height: 0, oldest, newest: self.tip().height });
            };
            let known = usize::try_from(known).unwrap_or(usize::MAX);
            let new = joined.iter().skip(known).take(limit - indices.len());
            indices.extend(new.map(|index| u64::from_be_bytes(*index)));
        }
        Ok(indices)
    }

    /// The authority set of an epoch.
    pub fn stored_epoch(&self, epoch: u64) -> Result<Option<StoredEpoch>, StoreFault> {
        let Some(bytes) = self.get(Column::Epochs, &epoch.to_be_bytes())? else { return Ok(None) };
        let mut reader = Reader::new(&bytes);
        let opening_height = decoded("epoch", epoch, reader.u64())?;
        let set = decoded("epoch", epoch, AuthoritySet::decode(bytes.get(8..).unwrap_or_default()))?;
        Ok(Some(StoredEpoch { opening_height, set }))
    }
}

/// The questions that peers and the engine ask one at a time; each takes a view of its own.
impl Store {
    pub fn header(&self, height: u64) -> Result<Option<Header>, StoreFault> {
        self.view()?.header(height)
    }

    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoreFault> {
        self.view()?.entry(index)
    }

    pub fn entries(&self, first: u64, end: u64) -> Result<Vec<Vec<u8>>, StoreFault> {
        self.view()?.entries(first, end)
    }

    pub fn location(&self, transaction_id: &Hash) -> Result<Option<Location>, StoreFault> {
        self.view()?.location(transaction_id)
    }

    pub fn certificate(&self, height: u64) -> Result<Option<FinalCert>, StoreFault> {
        self.view()?.certificate(height)
    }

    pub fn stored_epoch(&self, epoch: u64) -> Result<Option<StoredEpoch>, StoreFault> {
        self.view()?.stored_epoch(epoch)
    }
}
