//! What is fuzzed: for every decoder, verifier and importer, and for the consensus core, a function that takes any bytes and
//! must not panic, and good bytes to begin with. Here are the table and the shared chain; the functions are in `decoders`,
//! `verifiers`, `texts` and `core`. The folder `fuzz` feeds them without end; the tests feed them the good bytes, cut and
//! flipped, so that they cannot rot.

mod core;
mod decoders;
mod texts;
mod verifiers;

use std::sync::{Arc, OnceLock};

use mingzhang_consensus::{Epoch, Opening};
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::SigningKey;
use mingzhang_ledger::verify::Authorities;

use crate::chain::{Chain, secret};
use crate::load::Dice;

/// Something that takes bytes from outside.
pub struct Target {
    pub name: &'static str,
    /// Panics only where a promise is broken.
    pub run: fn(&[u8]),
    /// Good bytes.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Everything that takes bytes from outside.
pub const TARGETS: [Target; 19] = [
    Target { name: "transaction", run: decoders::transaction, seeds: decoders::transactions },
    Target { name: "value", run: decoders::value, seeds: decoders::values },
    Target { name: "batch", run: decoders::batch, seeds: decoders::batches },
    Target { name: "block", run: decoders::block, seeds: decoders::blocks },
    Target { name: "authority_set", run: decoders::authority_set, seeds: decoders::authority_sets },
    Target { name: "consensus_message", run: decoders::message, seeds: decoders::messages },
    Target { name: "consensus_record", run: decoders::record, seeds: decoders::records },
    Target { name: "question", run: decoders::question, seeds: decoders::questions },
    Target { name: "segment", run: decoders::segment, seeds: decoders::segments },
    Target { name: "certificate", run: verifiers::certificate, seeds: verifiers::certificates },
    Target { name: "receipt", run: verifiers::receipt, seeds: verifiers::receipts },
    Target { name: "checkpoint", run: verifiers::checkpoint, seeds: verifiers::checkpoints },
    Target { name: "bundle", run: verifiers::bundle, seeds: verifiers::bundles },
    Target { name: "proofs", run: verifiers::proofs, seeds: verifiers::good_proofs },
    Target { name: "genesis", run: texts::genesis, seeds: texts::genesis_files },
    Target { name: "seeds", run: texts::seeds, seeds: texts::seeds_files },
    Target { name: "importers", run: texts::importers, seeds: texts::imports },
    Target { name: "rules", run: core::rules, seeds: core::bodies },
    Target { name: "engine", run: core::engine, seeds: core::stories },
];

pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Spoilt forms of good bytes: cut, flipped, overwritten, doubled, and with a number that is too large.
pub fn spoil(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let at = dice.below(bytes.len().max(1));
    match dice.below(5) {
        0 => bytes.truncate(at),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
        2 => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = u8::MAX),
        3 => bytes.extend_from_slice(&good[at..]),
        _ => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = dice.below(256) as u8),
    }
    bytes
}

/// The chain against which everything is judged: two epochs, seven blocks.
struct Fixture {
    chain: Chain,
    /// The first epoch.
    epoch: Epoch,
    /// Led over both epochs.
    authorities: Authorities,
}

impl Fixture {
    fn set(&self) -> &AuthoritySet {
        &self.epoch.set
    }

    fn members(&self) -> usize {
        self.epoch.members()
    }

    fn key(&self, seat: u16) -> SigningKey {
        let agency = &self.set().member(seat).expect("a member").agency;
        secret(&format!("{agency}/consensus"))
    }

    /// Three of four confirm a block.
    fn certificate(&self, height: usize) -> FinalCert {
        let header = self.chain.header(height);
        let statement = mingzhang_consensus::statement::Statement::Confirm {
            epoch: 0,
            turn: header.turn,
            height: header.height,
            block: header.id(),
        };
        let bytes = statement.signed_bytes(&self.epoch.chain);
        let signers = Signers::new([0, 1, 3].map(|seat| (seat, self.key(seat).sign(&bytes))));
        FinalCert { epoch: 0, turn: header.turn, height: header.height, block: header.id(), signers }
    }
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let chain = Chain::sample();
        let opening = Opening::Genesis { block: chain.log[0] };
        let epoch = Epoch { chain: chain.genesis.hash, set: Arc::new(chain.sets[0].clone()), opening };
        let mut authorities = Authorities::new(chain.origin(), chain.genesis.hash, chain.sets[0].clone());
        for handoff in chain.handoffs() {
            authorities.pass(&handoff).expect("a good hand-off");
        }
        Fixture { chain, epoch, authorities }
    })
}
