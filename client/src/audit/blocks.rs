//! In which block, hence when, each entry of a proven trail was recorded: headers that are shown to be in the proven log.

use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::{leaf_hash, verify_inclusion};
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::HeaderProof;
use mingzhang_ledger::seal::Checkpoint;

use super::fetch;
use crate::node_api::NodeApi;
use crate::output::Failure;

/// Entries asked for in one request.
const ENTRIES_PER_REQUEST: usize = 100;

/// A header that a node names, if it is in the log of the checkpoint. MZ-4108 if not.
pub fn proven(checkpoint: &Checkpoint, proof: &HeaderProof) -> Result<Header, Failure> {
    let failed = |detail: String| Failure::coded(Code(4108), detail);
    let header = Header::decode(&proof.header).map_err(|fault| failed(fault.to_string()))?;
    verify_inclusion(leaf_hash(&proof.header), header.own_index(), checkpoint.size, &proof.path, &checkpoint.root)
        .map_err(|fault| failed(fault.to_string()))?;
    Ok(header)
}

/// The headers of the blocks that hold the entries at these ascending indices, one for each entry.
pub fn holding(api: &NodeApi, checkpoint: &Checkpoint, indices: &[u64]) -> Result<Vec<Header>, Failure> {
    let mut found = Vec::with_capacity(indices.len());
    for part in indices.chunks(ENTRIES_PER_REQUEST) {
        let headers = fetch::headers(api, part, checkpoint.size)?;
        let headers: Vec<Header> =
            headers.iter().map(|proof| proven(checkpoint, proof)).collect::<Result<_, Failure>>()?;
        found.extend(assign(&headers, part)?);
    }
    Ok(found)
}

/// To each entry the header of the block that holds it.
fn assign(headers: &[Header], indices: &[u64]) -> Result<Vec<Header>, Failure> {
    let of = |index: &u64| {
        let holds = |header: &&Header| (header.first_index..header.own_index()).contains(index);
        let missing = || Failure::coded(Code(4108), format!("no header covers entry {index}"));
        headers.iter().find(holds).copied().ok_or_else(missing)
    };
    indices.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::merkle::Frontier;

    use super::*;

    fn header(height: u64, first_index: u64, entry_count: u32) -> Header {
        Header {
            height,
            epoch: 0,
            turn: height,
            parent_turn: height.saturating_sub(1),
            proposer: 0,
            time_ms: 1_000 * height,
            first_index,
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

    #[test]
    fn every_entry_gets_the_block_that_holds_it_or_none_does() {
        let headers = [header(1, 1, 3), header(2, 5, 1)];
        let heights = |indices: &[u64]| -> Result<Vec<u64>, Option<Code>> {
            let found = assign(&headers, indices).map_err(|failure| failure.code)?;
            Ok(found.iter().map(|header| header.height).collect())
        };
        assert_eq!(heights(&[1, 3, 5]), Ok(vec![1, 1, 2]));
        assert_eq!(heights(&[4]), Err(Some(Code(4108))), "a header's own place is no record's");
        assert_eq!(heights(&[7]), Err(Some(Code(4108))));
    }

    #[test]
    fn a_header_that_is_not_in_the_log_is_refused() {
        let header = header(1, 1, 0);
        let genesis = leaf_hash(b"genesis");
        let mut log = Frontier::of([genesis]);
        log.append(header.id());
        let checkpoint = Checkpoint { origin: "demo".into(), size: 2, root: log.root() };
        let proof = HeaderProof { header: header.encode().to_vec(), path: vec![genesis] };
        assert_eq!(proven(&checkpoint, &proof).map(|header| header.height).ok(), Some(1));
        let mut other = header;
        other.time_ms += 1;
        let proof = HeaderProof { header: other.encode().to_vec(), path: vec![genesis] };
        assert_eq!(proven(&checkpoint, &proof).map_err(|failure| failure.code).err(), Some(Some(Code(4108))));
    }
}
