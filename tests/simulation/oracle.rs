//! What must hold whenever a block becomes final, judged by an auditor who sees only the log: it executes every entry
//! again, keeps its own Merkle tree, folds the money of every programme and knows what each record refers to. What must
//! hold in the end is in `audit`. Each failure names its oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use mingzhang_consensus::evidence::Evidence;
use mingzhang_consensus::{Alarm, Epoch};
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::entry::{Entry, genesis_id};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::{Frontier, leaf_hash};
use mingzhang_ledger::records::body::Mentions;
use mingzhang_ledger::records::fund::fold::Fold;
use mingzhang_ledger::records::fund::sums::Sums as Money;
use mingzhang_ledger::records::object::{Object, RecordLeaf, Ref};
use mingzhang_ledger::records::record_type;
use mingzhang_ledger::state::execute::{BlockContext, Candidate, execute};
use mingzhang_ledger::state::memory::MemoryState;
use mingzhang_ledger::state::{Overlay, Snapshot};
use mingzhang_ledger::transaction::Transaction;
use mingzhang_node::executor::Pending;

use crate::clerk::{PROGRAMMES, Record, accounts, programme};
use crate::founding::{Network, secret};
use crate::sums::Sums;

/// Where a record stands on the log.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub height: u64,
    pub index: u64,
    pub transaction: Arc<Transaction>,
}

/// A record that an honest node answered for.
#[derive(Debug, Clone)]
pub struct Promise {
    pub place: usize,
    pub record: Record,
}

/// The auditor, and what it knows and counts.
pub struct Oracle {
    network: Rc<Network>,
    pub sums: Sums,
    /// Every final header, from height 1 on.
    pub headers: Vec<Header>,
    pub leaves: Vec<Hash>,
    frontier: Frontier,
    pub state: MemoryState,
    /// By epoch.
    pub sets: Vec<AuthoritySet>,
    pub recorded: BTreeMap<Ref, Recorded>,
    pub promised: BTreeMap<Ref, Vec<Promise>>,
    /// What concerns each programme, by what the records themselves say.
    concerns: BTreeMap<Ref, BTreeSet<u64>>,
    pub concerned: BTreeMap<u64, Vec<u64>>,
    pub folds: Vec<Fold>,
    pub alarms: Vec<(usize, Alarm)>,
    pub accused: Vec<(String, String)>,
}

impl Oracle {
    pub fn new(network: &Rc<Network>) -> Self {
        let mut state = MemoryState::default();
        state.apply(&network.foundation.state).expect("the genesis state");
        let leaf = genesis_id(&network.genesis.hash);
        Self {
            network: Rc::clone(network),
            sums: Sums { runs: 1, ..Sums::default() },
            headers: Vec::new(),
            leaves: vec![leaf],
            frontier: Frontier::of([leaf]),
            state,
            sets: vec![network.genesis.set.clone()],
            recorded: BTreeMap::new(),
            promised: BTreeMap::new(),
            concerns: BTreeMap::new(),
            concerned: BTreeMap::new(),
            folds: (0..PROGRAMMES).map(|number| Fold::new(programme(number))).collect(),
            alarms: Vec::new(),
            accused: Vec::new(),
        }
    }

    pub fn fault(&mut self, kind: &'static str) {
        *self.sums.faults.entry(kind).or_default() += 1;
    }

    /// Adds to the history.
    pub fn note(&mut self, words: &[u64]) {
        for word in words {
            self.sums.history = (self.sums.history ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
    }

    /// Evidence is checked like by anybody who is shown it.
    pub fn accuse(&mut self, epoch: &Epoch, evidence: Evidence) {
        let encoded = evidence.encode(epoch);
        let decoded = Evidence::decode(&encoded, epoch).expect("evidence decodes");
        assert_eq!(decoded.encode(epoch), encoded, "oracle evidence: it has two encodings");
        let agency = epoch.set.member(evidence.accused()).map(|member| member.agency.clone()).unwrap_or_default();
        self.sums.evidence += 1;
        self.accused.push((agency, format!("{evidence:?}")));
    }

    pub fn expect(&mut self, place: usize, record: &Record) {
        let payload = record.payload();
        let reference = Ref::new(&payload.agency, &payload.record_id);
        self.promised.entry(reference).or_default().push(Promise { place, record: Arc::clone(record) });
    }

    /// Oracle: who submits again is told where the record stands.
    pub fn check_recorded(&mut self, record: &Record, transaction_id: &Hash, index: u64) {
        let payload = record.payload();
        let known = self.recorded.get(&Ref::new(&payload.agency, &payload.record_id));
        let same = known.is_some_and(|known| known.index == index && known.transaction.id() == *transaction_id);
        assert!(same, "oracle answer: a record is said to stand at {index}, where the log has it not");
        self.sums.checks += 1;
    }

    /// One block per height; the first time, everything about it.
    pub fn note_final(&mut self, block: &Arc<Pending>, certificate: &FinalCert) {
        let header = block.executed.header;
        let at = usize::try_from(header.height).expect("a small height") - 1;
        self.sums.checks += 1;
        if let Some(agreed) = self.headers.get(at) {
            assert_eq!(agreed.id(), header.id(), "oracle agreement: two final blocks of height {}", header.height);
            return;
        }
        assert_eq!(at, self.headers.len(), "oracle order: commits in height order");
        self.check_place(&header);
        self.check_certificate(&header, certificate);
        let transactions = self.check_log(&header, &block.executed.entries);
        self.check_execution(&header, &transactions);
        self.check_records(&header, &transactions);
        self.check_money();
        if header.is_boundary() {
            let next = block.executed.next_set.as_ref().expect("oracle boundary: it names its set");
            assert_eq!(next.hash(), header.next_set_hash, "oracle boundary: another set than the header's");
            self.sets.push(AuthoritySet::clone(next));
            self.fault(match next.members.len() {
                4 => "four members decide again",
                5 => "five members decide",
                6 => "six members decide",
                7 => "seven members decide",
                other => panic!("oracle boundary: a set of {other}"),
            });
        }
        self.headers.push(header);
        self.note(&[3, header.height, u64::from_le_bytes(*header.id().first_chunk().expect("a hash is longer"))]);
        self.sums.blocks += 1;
        self.sums.checks += 8;
    }

    /// Its parent, its epoch, its turn, its time.
    fn check_place(&self, header: &Header) {
        let (parent, parent_ms) =
            self.headers.last().map_or((self.leaves[0], 0), |parent| (parent.id(), parent.time_ms));
        assert_eq!(header.parent, parent, "oracle chain: height {} has another parent", header.height);
        assert!(header.time_ms > parent_ms, "oracle time: height {} is not after its parent", header.height);
        let set = self.sets.last().expect("the founding set");
        assert_eq!((header.epoch, header.set_hash), (set.epoch, set.hash()), "oracle epoch: another set decides");
        let opening = self.headers.iter().rposition(Header::is_boundary).map_or(0, |at| at as u64 + 1);
        assert_eq!(header.proposer, set.proposer(header.turn, opening), "oracle proposer: not the one on turn");
    }

    /// An auditor accepts the certificate, by quorum arithmetic of its own.
    fn check_certificate(&self, header: &Header, certificate: &FinalCert) {
        let set = self.sets.last().expect("the founding set");
        let enough = 3 * certificate.signers.len() >= 2 * set.members.len();
        assert!(enough && certificate.epoch == set.epoch, "oracle auditor: refuses the certificate of {certificate:?}");
        let sound = certificate.verify_signers(&self.network.genesis.hash, set);
        assert!(sound.is_ok(), "oracle auditor: {sound:?}");
        if certificate.height == header.height {
            let verdict = certificate.verify(&self.network.genesis.hash, header, set);
            assert!(verdict.is_ok(), "oracle auditor: height {}: {verdict:?}", header.height);
        }
    }

    /// The log is an RFC 6962 tree: its root before the header, over genesis, all records and all headers.
    fn check_log(&mut self, header: &Header, entries: &[Vec<u8>]) -> Vec<(u16, Arc<Transaction>)> {
        assert_eq!(header.first_index, self.leaves.len() as u64, "oracle log: first_index of {}", header.height);
        assert_eq!(header.entry_count as usize, entries.len(), "oracle log: entry_count of {}", header.height);
        let mut transactions = Vec::new();
        for bytes in entries {
            let entry = Entry::decode(bytes);
            let Ok(Entry::Record { outcome, transaction }) = entry else { panic!("oracle log: {entry:?}") };
            transactions.push((outcome, Arc::new(transaction)));
            self.leaves.push(leaf_hash(bytes));
            self.frontier.append(leaf_hash(bytes));
        }
        assert_eq!(header.log_root, self.frontier.root(), "oracle log: log_root of height {}", header.height);
        self.leaves.push(header.id());
        self.frontier.append(header.id());
        transactions
    }

    /// The log alone, executed again, gives outcomes and state root.
    fn check_execution(&mut self, header: &Header, transactions: &[(u16, Arc<Transaction>)]) {
        let context = BlockContext {
            height: header.height,
            epoch: header.epoch,
            time_ms: header.time_ms,
            first_index: header.first_index,
        };
        let candidate = |(_, transaction): &(u16, Arc<Transaction>)| Candidate {
            transaction: transaction.clone(),
            verified_with: None,
        };
        let candidates: Vec<Candidate> = transactions.iter().map(candidate).collect();
        let ledger = &self.network.genesis.founding.network;
        let execution = execute(&self.state, ledger, &context, &candidates).expect("oracle replay: execution");
        assert!(execution.left_out.is_empty(), "oracle replay: {:?} of the log do not pass", execution.left_out);
        for (record, (outcome, _)) in execution.records.iter().zip(transactions) {
            assert_eq!(record.outcome, *outcome, "oracle replay: outcome of {}", record.index);
            *self.sums.outcomes.entry(record.outcome).or_default() += 1;
        }
        let tree = self.state.apply(&execution.changes).expect("oracle replay: the state's tree");
        let replayed = (tree.root, tree.size);
        assert_eq!(replayed, (header.state_root, header.state_size), "oracle replay: state of {}", header.height);
    }

    /// Every record once, in time, by a known key; and whose trail it belongs to.
    fn check_records(&mut self, header: &Header, transactions: &[(u16, Arc<Transaction>)]) {
        for (index, (outcome, transaction)) in (header.first_index..).zip(transactions) {
            let payload = transaction.payload();
            let reference = Ref::new(&payload.agency, &payload.record_id);
            assert!(header.time_ms < payload.expires_at, "oracle expiry: {reference} was recorded after it expired");
            let keys = ["officer1", "officer2", "admin1", "admin2"];
            let signed = |key: &&str| transaction.is_signed_by(&secret(&format!("{}/{key}", payload.agency)).public());
            assert!(keys.iter().any(signed), "oracle signature: nobody signed {reference}");
            let kind = record_type(&payload.record_type).expect("a known type");
            let mut concerns = BTreeSet::new();
            for found in Mentions::of(kind, &payload.body).references {
                concerns.extend(self.concerns.get(&found.reference).into_iter().flatten());
            }
            for number in &concerns {
                self.concerned.entry(*number).or_default().push(index);
                let fold = &mut self.folds[usize::try_from(*number).expect("a small number")];
                let folded = fold.apply(*outcome, payload);
                assert!(folded.is_ok(), "oracle fold: {reference}: {folded:?}");
            }
            if let Some(number) = (0..PROGRAMMES).find(|number| reference == programme(*number)) {
                concerns.insert(number);
                self.concerned.entry(number).or_default().push(index);
                let fold = &mut self.folds[usize::try_from(number).expect("a small number")];
                fold.apply(*outcome, payload).expect("oracle fold: the programme itself");
            }
            self.concerns.insert(reference.clone(), concerns);
            let here = Recorded { height: header.height, index, transaction: Arc::clone(transaction) };
            let before = self.recorded.insert(reference.clone(), here).map(|before| before.index);
            assert_eq!(before, None, "oracle once: {reference} is recorded again at {index}");
            self.sums.records += 1;
        }
    }

    /// The sums of an account as the state has them.
    pub fn money_of(&self, account: &Ref) -> Option<(bool, Money)> {
        let leaf: Option<RecordLeaf> = Overlay::new(&self.state).get(&account.key()).expect("a state in memory");
        match leaf.and_then(|leaf| leaf.object) {
            Some(Object::Account(account)) => Some((account.kind.is_limited(), account.sums)),
            _ => None,
        }
    }

    /// Money is conserved and no account overspent, and every programme's trail holds all that concerns it.
    fn check_money(&mut self) {
        for number in 0..PROGRAMMES {
            let (mut debits, mut credits) = ((0, 0), (0, 0));
            for account in accounts(number) {
                let Some((limited, money)) = self.money_of(&account) else { continue };
                assert!(
                    !limited || money.credits_posted >= money.debits_posted + money.debits_pending,
                    "oracle money: {account} is overspent: {money:?}"
                );
                debits = (debits.0 + money.debits_posted, debits.1 + money.debits_pending);
                credits = (credits.0 + money.credits_posted, credits.1 + money.credits_pending);
                self.sums.checks += 1;
            }
            assert_eq!(debits, credits, "oracle money: programme {number} is not in balance");
            let stored = self.state.read(&programme(number).key());
            let count =
                stored.expect("a state in memory").and_then(|stored| stored.trail).map_or(0, |trail| trail.size());
            let concerned = self.concerned.get(&number).map_or(0, |indices| indices.len() as u64);
            assert_eq!(count, concerned, "oracle trail: of programme {number}, by its leaf and by the log");
            self.sums.checks += 2;
        }
    }

    pub fn origin(&self) -> &str {
        &self.network.genesis.origin
    }

    pub fn chain(&self) -> &Hash {
        &self.network.genesis.hash
    }
}
