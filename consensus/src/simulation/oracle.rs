//! What must hold after every step, and the sums that show that the checks were made at all. Each failure names its
//! oracle.

use std::collections::{BTreeMap, BTreeSet};

use mingzhang_ledger::certificate::FinalCert;

use super::door::holds;
use super::ledger::Executed;
use super::{Place, World};
use crate::evidence::{Evidence, conflict};
use crate::justification::check_final;
use crate::statement::{Kind, Statement, Vote};
use crate::{Alarm, BlockId, Epoch, Height, Peer, Turn};

/// What the oracles know and count.
#[derive(Debug, Default)]
pub struct Oracle {
    pub agreed: BTreeMap<Height, BlockId>,
    /// Height of the last final block that holds records.
    pub agreed_work: Height,
    signed: BTreeMap<(u64, Turn, Peer), Vec<Statement>>,
    pub evidence: Vec<Evidence>,
    pub alarms: Vec<(Place, Alarm)>,
    pub messages: u64,
    pub bytes: u64,
    /// Messages and bytes by the type byte of the frame.
    pub sent: BTreeMap<u8, (u64, u64)>,
    /// Transactions that an honest node answered for.
    pub expected: BTreeSet<u64>,
    pub records: u64,
    pub epochs: u64,
    pub checks: u64,
    pub faults: BTreeMap<&'static str, u64>,
    /// Folds everything that happened, in order.
    pub history: u64,
}

impl Oracle {
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Adds to the history.
    pub fn note(&mut self, words: &[u64]) {
        for word in words {
            self.history = (self.history ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
    }
}

impl World {
    /// Oracle: no honest authority ever signs two statements that exclude each other.
    pub fn note_signed(&mut self, vote: &Vote) {
        let honest = !self.behaviours.contains_key(&vote.signer);
        let (epoch, turn) = (vote.statement.epoch(), vote.statement.turn());
        let statements = self.oracle.signed.entry((epoch, turn, vote.signer)).or_default();
        for earlier in statements.iter() {
            let conflict = conflict(earlier, &vote.statement);
            self.oracle.checks += 1;
            assert!(
                conflict.is_none() || !honest,
                "oracle contradiction: an honest authority signed {earlier:?} and {:?}",
                vote.statement
            );
        }
        if !statements.contains(&vote.statement) {
            statements.push(vote.statement);
        }
    }

    /// Oracle: whoever confirms still stands by the endorsement that it signed, justification included.
    pub fn check_endorsed_once(&mut self, node: Place, confirmed: &Statement) {
        let (place, honest) = (self.node(node), self.is_honest(node));
        let Some(core) = place.core.as_ref().filter(|_| honest && confirmed.kind() == Kind::Confirm) else { return };
        let key = (confirmed.epoch(), confirmed.turn(), place.key);
        let signed = self.oracle.signed.get(&key).into_iter().flatten();
        let mut endorsed = signed.filter(|statement| statement.kind() == Kind::Endorse);
        let open = confirmed.turn() > core.last_final.turn;
        let kept = !open || endorsed.all(|statement| core.book.holds(statement));
        assert!(kept, "oracle endorsed once: another justification replaced the one that was signed");
        self.oracle.checks += 1;
    }

    /// Whether a key signed exactly this.
    pub fn has_signed(&self, signer: Peer, statement: &Statement) -> bool {
        let key = (statement.epoch(), statement.turn(), signer);
        self.oracle.signed.get(&key).is_some_and(|statements| statements.contains(statement))
    }

    /// What was signed in an epoch in this turn and the two after it.
    pub fn signed_in(&self, epoch: u64, turn: Turn) -> Vec<(Peer, Statement)> {
        let range = (epoch, turn, 0)..=(epoch, turn + 2, Peer::MAX);
        let signed = self.oracle.signed.range(range);
        signed.flat_map(|((_, _, signer), all)| all.iter().map(|statement| (*signer, *statement))).collect()
    }

    /// Authorities of which two statements exclude each other: whom an accuser with all votes can convict.
    pub fn convictable(&self) -> BTreeSet<Peer> {
        let contradict = |statements: &[Statement]| {
            statements
                .iter()
                .enumerate()
                .any(|(at, first)| statements[at + 1..].iter().any(|second| conflict(first, second).is_some()))
        };
        let guilty = self.oracle.signed.iter().filter(|(_, statements)| contradict(statements));
        guilty.map(|((_, _, signer), _)| *signer).collect()
    }

    /// Oracle: one block per height, each with the words of its place, each certified for anybody who checks.
    pub fn note_final(&mut self, blocks: &[Executed], certificate: &FinalCert, epoch: &Epoch) {
        for block in blocks {
            let header = block.header.expect("genesis is never committed");
            let known = self.oracle.agreed.len();
            let agreed = *self.oracle.agreed.entry(block.height).or_insert(block.id);
            assert_eq!(agreed, block.id, "oracle agreement: two final blocks of height {}", block.height);
            assert_eq!(header.proposer, epoch.proposer(header.turn), "oracle proposer: not the one on turn");
            assert_eq!(header.epoch, epoch.number(), "oracle epoch: a block of another epoch became final");
            self.oracle.checks += 3;
            if self.oracle.agreed.len() > known {
                self.oracle.records += u64::from(header.entry_count);
                self.oracle.note(&[3, block.height, u64::from_le_bytes(block.id[..8].try_into().expect("8 bytes"))]);
            }
        }
        let boundary = blocks.iter().position(Executed::is_boundary);
        assert!(
            boundary.is_none_or(|at| at + 1 == blocks.len()),
            "oracle boundary: a child of a boundary block became final in its epoch"
        );
        self.audit(certificate, epoch);
        let filled = blocks.iter().filter(|block| block.header.is_some_and(|header| header.entry_count > 0));
        let filled = filled.map(|block| block.height).max().unwrap_or(0);
        self.oracle.agreed_work = self.oracle.agreed_work.max(filled);
    }

    /// Oracle: an auditor accepts the certificate, by quorum arithmetic of its own.
    fn audit(&mut self, certificate: &FinalCert, epoch: &Epoch) {
        let mut items = Vec::new();
        let form = check_final(certificate, epoch, &mut items);
        let enough = 3 * certificate.signers.len() >= 2 * epoch.members();
        let sound = form.is_ok() && enough && items.iter().all(holds);
        assert!(sound, "oracle auditor: refuses the certificate of height {}: {form:?}", certificate.height);
        self.oracle.checks += 1;
    }

    /// Oracle: memory is bounded by what is not final.
    pub fn check_memory(&mut self, node: Place) {
        let honest = self.is_honest(node);
        let Some(core) = self.node(node).core.as_ref() else { return };
        let above = core.cur.saturating_sub(core.last_final.turn) + core.window() + 1;
        let (turns, blocks) = (core.turns.len() as u64, core.blocks.len() as u64);
        // Forks above the tip: what is certified or proposed in the open turns.
        let most = 64 + 2 * core.window() + above;
        assert!(!honest || (turns <= above && blocks <= most), "oracle memory: {turns} turns, {blocks} blocks");
        self.oracle.checks += 1;
    }

    /// Oracle: evidence accuses nobody honest, and nobody honest is alarmed.
    pub fn check_quiet(&self) {
        for evidence in &self.oracle.evidence {
            let guilty = self.behaviours.contains_key(&evidence.accused());
            assert!(guilty, "oracle evidence: an honest authority is accused: {evidence:?}");
        }
        let loud = self.oracle.alarms.iter().find(|(node, _)| self.is_honest(*node) && !self.node(*node).doubted);
        assert!(loud.is_none(), "oracle alarm: {loud:?}");
    }

    #[cfg(test)]
    pub fn heights(&self) -> Vec<Height> {
        self.nodes.iter().map(|node| node.executor.tip().height).collect()
    }

    /// Where every place stands, for people.
    fn situation(&self) -> String {
        let one = |place: Place| match &self.node(place).core {
            None => format!("{place}: down"),
            Some(core) => format!(
                "{place}: epoch {}, turn {} on {}, final {:?}, tip {}, {:?}, demand {}, needs {:?}",
                core.epoch().number(),
                core.cur,
                core.just.parent.turn(),
                core.final_point(),
                core.tip.height,
                core.signing,
                core.has_demand(),
                core.fetches.keys().collect::<Vec<_>>()
            ),
        };
        self.places().map(one).collect::<Vec<_>>().join(" | ")
    }

    /// What is wrong while some honest node that is up lacks a final block with records, or a record that an honest
    /// node answered for. Nobody needs the finality of an empty block, so a node may lack that.
    pub fn incomplete(&self) -> Option<String> {
        for node in self.places().filter(|node| self.is_honest(*node) && self.is_up(*node)) {
            let tip = self.node(node).executor.tip();
            if tip.height < self.oracle.agreed_work {
                let heights: Vec<Height> = self.nodes.iter().map(|node| node.executor.tip().height).collect();
                return Some(format!("node {node} is behind: {heights:?}"));
            }
            let missing: Vec<&u64> = self.oracle.expected.difference(&tip.spent).collect();
            if !missing.is_empty() {
                return Some(format!("not on the log of node {node}: {missing:?}"));
            }
        }
        None
    }

    /// Oracle: every honest node is up to date, and everything that was answered is on its log.
    pub fn check_complete(&self) {
        if let Some(fault) = self.incomplete() {
            panic!("oracle progress: {fault}; {}", self.situation());
        }
    }
}
