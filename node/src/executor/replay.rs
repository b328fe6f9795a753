//! Executes blocks of the log again, from entries alone: how a node catches up and how an auditor checks. Outcomes and
//! both roots are compared; signatures are checked in parallel. Which blocks are certified is the caller's matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use mingzhang_consensus::BlockId;
use mingzhang_ledger::batch::batches_digest;
use mingzhang_ledger::crypto::{KeyId, PublicKey, Signature, verify_batch};
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::records::registry::OfficerKey;
use mingzhang_ledger::state::execute::Candidate;
use mingzhang_ledger::state::{Overlay, Snapshot, StateFault, key};
use mingzhang_ledger::transaction::Transaction;
use rayon::prelude::*;

use crate::store::Preimage;

use super::{Executor, ExecutorFault, Words, first_difference};

/// Signatures checked in one batch equation.
const BATCH_SIGNATURES: usize = 256;

/// A block as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedBlock {
    pub header: Header,
    /// Record entries in order, without the header.
    pub entries: Vec<Vec<u8>>,
    /// Preimage of the header's `batches`; without it the block can be applied, but no child of it proposed.
    pub preimage: Option<Preimage>,
}

impl Executor {
    /// Executes a block of the log on its parent, which is final or waits here, and keeps it like a validated one. The
    /// inner error says what is wrong with the block.
    pub fn replay(&self, block: &LoggedBlock) -> Result<Result<BlockId, String>, ExecutorFault> {
        let header = &block.header;
        if self.pending(&header.id()).is_some() {
            return Ok(Ok(header.id()));
        }
        let candidates = match decode(&block.entries) {
            Ok(candidates) => candidates,
            Err(reason) => return Ok(Err(reason)),
        };
        let (positions, references) = match &block.preimage {
            Some((positions, references)) if batches_digest(positions, references) == header.batches => {
                (positions.clone(), references.as_slice())
            }
            Some(_) => return Ok(Err("the preimage of batches does not hash to the header's".into())),
            None => (Vec::new(), [].as_slice()),
        };
        let (parent, view) = self.stand_without_lanes(&header.parent)?;
        if parent.is_boundary {
            return Ok(Err("a child of a boundary block that is not final".into()));
        }
        let candidates = verified(&view, candidates)?;
        let words = Words {
            turn: header.turn,
            proposer: self.proposer(&self.store.set(), header.turn)?,
            time_ms: header.time_ms,
            references,
            positions,
            batches: header.batches,
        };
        let pending = self.execute(&view, &parent, words, &candidates)?;
        if let Some((_, refusal)) = pending.left_out.first() {
            return Ok(Err(format!("a logged transaction does not pass the door: {refusal}")));
        }
        if let Some(at) = pending.executed.entries.iter().zip(&block.entries).position(|(ours, theirs)| ours != theirs)
        {
            return Ok(Err(format!("the outcome of record {at} differs from what execution gives")));
        }
        if pending.executed.header != *header {
            let what = first_difference(header, &pending.executed.header);
            return Ok(Err(format!("{what} differs from what execution gives")));
        }
        self.keep(pending);
        Ok(Ok(header.id()))
    }
}

fn decode(entries: &[Vec<u8>]) -> Result<Vec<Arc<Transaction>>, String> {
    let transaction = |bytes: &Vec<u8>| match Entry::decode(bytes) {
        Ok(Entry::Record { transaction, .. }) => Ok(Arc::new(transaction)),
        Ok(Entry::Genesis { .. } | Entry::Header(_)) => Err("an entry inside a block is no record".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    entries.par_iter().map(transaction).collect()
}

/// Checks the signatures under the keys that are registered before the block. A key that the block itself registers is
/// left to execution.
fn verified(view: &dyn Snapshot, transactions: Vec<Arc<Transaction>>) -> Result<Vec<Candidate>, StateFault> {
    let state = Overlay::new(view);
    let mut keys: BTreeMap<KeyId, Option<PublicKey>> = BTreeMap::new();
    for transaction in &transactions {
        if let std::collections::btree_map::Entry::Vacant(place) = keys.entry(transaction.key_id()) {
            let registered: Option<OfficerKey> = state.get(&key::officer_key(&transaction.key_id()))?;
            place.insert(registered.map(|registered| PublicKey(registered.key)));
        }
    }
    let check = |chunk: &[Arc<Transaction>]| -> Vec<Candidate> {
        let known = |transaction: &Transaction| {
            let registered = keys.get(&transaction.key_id()).copied().flatten();
            registered.filter(|key| transaction.names_as_signer(key))
        };
        let items: Vec<(PublicKey, &[u8], Signature)> =
            chunk.iter().filter_map(|one| Some((known(one)?, one.signed_bytes(), one.signature()))).collect();
        let mut verdicts = verify_batch(&items).into_iter();
        let candidate = |transaction: &Arc<Transaction>| {
            let verified_with = known(transaction).filter(|_| verdicts.next() == Some(true));
            Candidate { transaction: transaction.clone(), verified_with }
        };
        chunk.iter().map(candidate).collect()
    };
    Ok(transactions.par_chunks(BATCH_SIGNATURES).flat_map_iter(check).collect())
}
