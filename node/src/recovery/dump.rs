//! What a stopped survivor holds at and above its last final block, as a file that others check: certificates with their
//! signatures, and the blocks that lead to the highest of them, executed here once more.

use std::sync::Arc;

use mingzhang_consensus::justification::{EndorseCert, Parent};
use mingzhang_consensus::safety::Endorsed;
use mingzhang_consensus::{Epoch, Verdict};
use mingzhang_ledger::batch::{Reference, transactions};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::codec::Reader;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::proof::bytes;
use mingzhang_ledger::state::execute::Candidate;
use mingzhang_ledger::transaction::Transaction;
use serde::{Deserialize, Serialize};

use super::Fault;
use crate::executor::{Executor, HeldBatch, LoggedBlock};
use crate::store::{Store, StoreFault};
use crate::sync::wire::{put_block, read_block};

const FORMAT: &str = "mingzhang/recovery-dump/v1";
/// Largest dump that is read: as many full blocks as may be unfinal, in base64.
pub const MAX_DUMP_BYTES: usize = 256 * 1024 * 1024;

/// A survivor's dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dump {
    format: String,
    #[serde(with = "bytes::hex")]
    genesis_hash: Hash,
    pub agency: String,
    pub epoch: u64,
    /// Header of the last final block; empty where there is none.
    #[serde(with = "bytes::base64")]
    tip: Vec<u8>,
    /// Its certificate; empty where it opened the epoch.
    #[serde(with = "bytes::base64")]
    tip_certificate: Vec<u8>,
    /// Certificates above it, highest turn first.
    certified: Vec<Certificate>,
    /// The blocks from above the last final one up to the highest certified one that is held here.
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    /// As the parent of a justification: 02 ‖ EndorseCert or 03 ‖ FinalCert.
    #[serde(with = "bytes::base64")]
    certificate: Vec<u8>,
    /// This node confirmed the block.
    confirmed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    #[serde(with = "bytes::base64")]
    block: Vec<u8>,
}

/// What a certificate that holds speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    pub turn: u64,
    pub height: u64,
    pub block: Hash,
}

/// A dump whose every word was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub tip: Option<(Spoken, Header)>,
    pub certified: Vec<Spoken>,
    pub blocks: Vec<LoggedBlock>,
}

impl Dump {
    /// Of a stopped node.
    pub fn of(store: &Store, executor: &Executor, agency: &str) -> Result<Self, Fault> {
        let (epoch, tip, above) = (store.epoch()?, store.tip(), store.above_final()?);
        let mut blocks = Vec::new();
        for (_, chain) in above.chains(&tip.id) {
            if let Some(executed) = execute(store, executor, &epoch, &chain)? {
                blocks = executed;
                break;
            }
        }
        let header = store.header(tip.height)?;
        let certificate = match tip.turn {
            0 => None,
            _ => store.certificate(tip.height)?,
        };
        let members = epoch.members();
        let coded = |block: &LoggedBlock| {
            let mut bytes = Vec::new();
            put_block(&mut bytes, block);
            Block { block: bytes }
        };
        Ok(Self {
            format: FORMAT.to_owned(),
            genesis_hash: epoch.chain,
            agency: agency.to_owned(),
            epoch: epoch.number(),
            tip: header.map_or(Vec::new(), |header| header.encode().to_vec()),
            tip_certificate: certificate.map_or(Vec::new(), |certificate| encode(&Parent::Final(certificate), members)),
            certified: above
                .certified
                .iter()
                .map(|known| Certificate {
                    certificate: encode(&known.certificate, members),
                    confirmed: known.confirmed,
                })
                .collect(),
            blocks: blocks.iter().map(coded).collect(),
        })
    }

    /// How many certificates and blocks above the last final one there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.certified.len(), self.blocks.len())
    }

    /// The blocks, in height order; nothing is checked but their form.
    pub fn blocks(&self) -> Result<Vec<LoggedBlock>, Fault> {
        let read = |block: &Block| {
            let mut reader = Reader::new(&block.block);
            let block = read_block(&mut reader)?;
            reader.finish().map(|()| block)
        };
        let blocks = self.blocks.iter().map(read).collect::<Result<Vec<_>, _>>();
        blocks.map_err(|fault| Fault::Unfit(format!("dump of {}: {fault}", self.agency)))
    }

    /// Checks every certificate against the epoch's set, and that the blocks continue the last final one.
    pub fn check(&self, epoch: &Epoch) -> Result<Checked, Fault> {
        let unfit = |what: &dyn std::fmt::Display| Fault::Unfit(format!("dump of {}: {what}", self.agency));
        if self.format != FORMAT || self.genesis_hash != epoch.chain {
            return Err(unfit(&"it is of another form or network"));
        }
        let tip = match self.tip.as_slice() {
            [] => None,
            tip => Some(Header::decode(tip).map_err(|fault| unfit(&fault))?),
        };
        let tip = match (tip, self.tip_certificate.as_slice()) {
            (None, _) => None,
            (Some(header), []) if header.id() == epoch.opening_block() => {
                Some((Spoken { turn: 0, height: header.height, block: header.id() }, header))
            }
            (Some(header), certificate) => {
                let spoken = decode(certificate, epoch).map_err(|fault| unfit(&fault))?;
                if spoken.block != header.id() {
                    return Err(unfit(&"its last final block has another certificate"));
                }
                Some((spoken, header))
            }
        };
        let certified = self.certified.iter().map(|known| decode(&known.certificate, epoch)).collect::<Result<_, _>>();
        let blocks = self.blocks()?;
        let mut parent = tip.map_or(epoch.opening_block(), |(spoken, _)| spoken.block);
        for block in &blocks {
            if block.header.parent != parent {
                return Err(unfit(&"its blocks do not continue its last final one"));
            }
            parent = block.header.id();
        }
        Ok(Checked { tip, certified: certified.map_err(|fault| unfit(&fault))?, blocks })
    }
}

/// Runs the blocks of a chain; None if something about them is missing here.
fn execute(
    store: &Store,
    executor: &Executor,
    epoch: &Epoch,
    chain: &[&Endorsed],
) -> Result<Option<Vec<LoggedBlock>>, Fault> {
    let mut blocks = Vec::new();
    for endorsed in chain {
        let mut held = Vec::new();
        for reference in &endorsed.references {
            match held_batch(store, epoch, reference)? {
                Some(batch) => held.push(batch),
                None => return Ok(None),
            }
        }
        if !matches!(executor.validate(&endorsed.header, &endorsed.references, &held), Verdict::Valid { .. }) {
            return Ok(None);
        }
        let Some(pending) = executor.pending(&endorsed.block()) else { return Ok(None) };
        let executed = &pending.executed;
        let preimage = Some((executed.positions.clone(), executed.references.clone()));
        blocks.push(LoggedBlock { header: executed.header, entries: executed.entries.clone(), preimage });
    }
    Ok(Some(blocks))
}

fn held_batch(store: &Store, epoch: &Epoch, reference: &Reference) -> Result<Option<HeldBatch>, StoreFault> {
    let max_records = usize::try_from(epoch.set.parameters.max_batch_records).unwrap_or(usize::MAX);
    let Some(batch) = store.batch(epoch.number(), reference)? else { return Ok(None) };
    let decoded = transactions(&batch.payload, max_records).filter_map(|bytes| Transaction::decode(bytes).ok());
    let candidates =
        decoded.map(|transaction| Candidate { transaction: Arc::new(transaction), verified_with: None }).collect();
    Ok(Some(HeldBatch { reference: batch.reference(max_records), candidates }))
}

fn encode(parent: &Parent, members: usize) -> Vec<u8> {
    match parent {
        Parent::Start(_) => Vec::new(),
        Parent::Endorsed(certificate) => {
            let mut bytes = vec![2];
            certificate.encode_into(&mut bytes, members);
            bytes
        }
        Parent::Final(certificate) => [&[3][..], &certificate.encode(members)].concat(),
    }
}

/// Reads a certificate and checks it against the set of the epoch.
fn decode(bytes: &[u8], epoch: &Epoch) -> Result<Spoken, String> {
    let mut reader = Reader::new(bytes);
    let text = |fault: mingzhang_ledger::codec::CodecFault| fault.to_string();
    let (number, spoken, signers, message) = match reader.u8().map_err(text)? {
        2 => {
            let certificate = EndorseCert::read(&mut reader, epoch.members()).map_err(text)?;
            let spoken = Spoken { turn: certificate.turn, height: certificate.height, block: certificate.block };
            let message = certificate.statement().signed_bytes(&epoch.chain);
            (certificate.epoch, spoken, certificate.signers, message)
        }
        3 => {
            let certificate = FinalCert::read(&mut reader, epoch.members()).map_err(text)?;
            let spoken = Spoken { turn: certificate.turn, height: certificate.height, block: certificate.block };
            let FinalCert { epoch: number, turn, height, block, signers } = certificate;
            let message = mingzhang_ledger::certificate::confirm_bytes(&epoch.chain, number, turn, height, &block);
            (number, spoken, signers, message)
        }
        _ => return Err("a certificate of no kind".into()),
    };
    reader.finish().map_err(text)?;
    if number != epoch.number() {
        return Err(format!("a certificate of epoch {number}, this is {}", epoch.number()));
    }
    signers.verify(&epoch.set, &message).map_err(|fault| fault.to_string())?;
    Ok(spoken)
}
