//! A small network for the tests of verification: two epochs, a log, a state, and whatever lie a test asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::authority::{AuthoritySet, Member, Parameters};
use crate::codec::Value;
use crate::crypto::{Hash, SigningKey, sha256};
use crate::entry::{genesis_entry, genesis_id, record_entry};
use crate::header::Header;
use crate::merkle::{Frontier, leaf_hash};
use crate::proof::{
    BUNDLE_FORMAT, BundledTrail, EvidenceBundle, Handoff, KeyProof, SealedHeader, StateProof, SubjectKind, Trail,
    TrailItem,
};
use crate::prove;
use crate::records::body::ref_value;
use crate::records::calendar::Day;
use crate::records::fund::programme::Programme;
use crate::records::fund::sums::Sums;
use crate::records::object::{Mode, Object, Person, RecordLeaf, Ref};
use crate::records::registry::OfficerKey;
use crate::seal::{Checkpoint, Note, Seal};
use crate::state::memory::MemoryState;
use crate::state::{Overlay, key};
use crate::transaction::{Payload, RecordId, Transaction};
use crate::verify::{Authorities, entry_view, receipt, registration};

pub const AGENCIES: [&str; 4] = ["finance", "civil", "audit", "rural"];
pub const PROGRAMME: &str = "civil/P-1";
const TIME_S: u64 = 1_764_000_000;

pub struct World {
    pub chain: Hash,
    pub origin: String,
    pub sets: Vec<AuthoritySet>,
    pub log: Vec<Hash>,
    pub entries: Vec<Vec<u8>>,
    pub state: MemoryState,
    /// By height; 0 is the state of genesis.
    pub states: Vec<MemoryState>,
    pub headers: Vec<Header>,
    /// Log indices of the programme's trail.
    pub trail: Vec<u64>,
    /// While it is set, the quorum leaves records out of the programme's trail.
    pub omits: bool,
}

pub fn id(text: &str) -> RecordId {
    key::parse_id(text).expect("a record id")
}

pub fn officer(agency: &str) -> SigningKey {
    SigningKey::from_seed(&sha256(&[b"officer", agency.as_bytes()]))
}

pub fn sealing(index: u16, epoch: u64) -> SigningKey {
    SigningKey::from_seed(&sha256(&[b"sealing", &index.to_be_bytes(), &epoch.to_be_bytes()]))
}

pub fn set(epoch: u64) -> AuthoritySet {
    let member = |(index, agency): (u16, &str)| Member {
        agency: agency.to_owned(),
        consensus_key: SigningKey::from_seed(&[1; 32]).public(),
        sealing_key: sealing(index, epoch).public(),
        peer_key: SigningKey::from_seed(&[2; 32]).public(),
        url: format!("https://{agency}.example.gov/"),
    };
    AuthoritySet { epoch, parameters: Parameters::default(), members: (0..).zip(AGENCIES).map(member).collect() }
}

/// The leaf of the programme whose trail it is.
pub fn programme_leaf(leaf: RecordLeaf) -> RecordLeaf {
    let programme = Programme {
        currency: "CNY".into(),
        purpose: "aid".into(),
        years: vec![2026],
        owner: "civil".into(),
        finance: "finance".into(),
        bank: "rural".into(),
        supervisor: "audit".into(),
        scope: "aid".into(),
        standard_minor: None,
        exclusive_with: Vec::new(),
        closed: false,
        closed_years: Vec::new(),
        sources: Vec::new(),
        held: Sums::default(),
        released_by: None,
    };
    RecordLeaf { object: Some(Object::Programme(Arc::new(programme))), ..leaf }
}

pub fn record_leaf(index: u64, outcome: u16, transaction: &Transaction) -> RecordLeaf {
    RecordLeaf {
        index,
        outcome,
        record_type: transaction.payload().record_type.as_str().into(),
        transaction_id: transaction.id(),
        mode: Mode::Live,
        key_id: transaction.key_id(),
        persons: Vec::new(),
        recorded: Day(0),
        effective: Day(0),
        flags: Vec::new(),
        subjects: [].into(),
        object: None,
        waiting: None,
    }
}

impl World {
    pub fn new() -> Self {
        let chain = sha256(&[b"a genesis file"]);
        let origin = format!("ledger.example.gov/main-{}", hex::encode(&chain[..8]));
        let mut state = MemoryState::default();
        let mut changes = Overlay::new(&state);
        for agency in AGENCIES {
            let public = officer(agency).public();
            let value = OfficerKey {
                agency: agency.to_owned(),
                person: Person([7; 16]),
                key: public.0,
                active_from: 0,
                revoked_from: None,
            };
            changes.put(key::officer_key(&public.key_id()), &value).expect("value");
        }
        let changes = changes.into_parts().sorted().expect("encodes").0;
        state.apply(&changes).expect("genesis state");
        let entries = vec![genesis_entry(&chain)];
        let log = vec![genesis_id(&chain)];
        let states = vec![state.clone()];
        Self {
            chain,
            origin,
            sets: vec![set(0)],
            log,
            entries,
            state,
            states,
            headers: Vec::new(),
            trail: Vec::new(),
            omits: false,
        }
    }

    /// Five blocks in two epochs: the third is a boundary; the programme has six records, one of them rejected.
    pub fn sample() -> Self {
        let mut world = Self::new();
        let record = |world: &World, name: &str| world.transaction("civil", "civil", name, 5_000);
        let opening = record(&world, "P-1");
        world.block(1_000, &[(opening, 0)]);
        let (one, two) = (record(&world, "PAY-1"), record(&world, "PAY-2"));
        world.block(2_000, &[(one, 0), (two, 3201)]);
        let three = record(&world, "PAY-3");
        world.lying_block(3_000, &[(three, 0)], Some(set(1)), |_| ());
        let four = record(&world, "PAY-4");
        world.block(4_000, &[(four, 0)]);
        let five = record(&world, "PAY-5");
        world.block(6_000, &[(five, 0)]);
        world
    }

    /// Two blocks of one epoch, two records: every byte of its proofs is tried.
    pub fn small() -> Self {
        let mut world = Self::new();
        let opening = world.transaction("civil", "civil", "P-1", 5_000);
        world.block(1_000, &[(opening, 0)]);
        let payment = world.transaction("civil", "civil", "PAY-1", 5_000);
        world.block(2_000, &[(payment, 0)]);
        world
    }

    pub fn authorities(&self) -> Authorities {
        let log_key = SigningKey::from_seed(&[9; 32]).public();
        Authorities::new(&self.origin, self.chain, self.sets[0].clone()).with_log_keys(vec![log_key])
    }

    /// Led over all hand-offs.
    pub fn led(&self) -> Authorities {
        let mut authorities = self.authorities();
        for handoff in self.handoffs() {
            authorities.pass(&handoff).expect("hand-off");
        }
        authorities
    }

    pub fn transaction(&self, signer: &str, agency: &str, name: &str, expires_at: u64) -> Transaction {
        let payload = Payload {
            origin: self.origin.as_str().into(),
            record_type: "document_anchor".into(),
            record_id: id(name),
            agency: agency.into(),
            expires_at,
            body: Value::text_map([
                ("root", Value::bytes(&sha256(&[name.as_bytes()]))),
                ("subject", ref_value(&Ref::new("civil", &id("P-1")))),
            ]),
        };
        Transaction::sign(&payload, &officer(signer)).expect("transaction")
    }

    pub fn block(&mut self, time_ms: u64, records: &[(Transaction, u16)]) -> Header {
        self.lying_block(time_ms, records, None, |_| ())
    }

    /// A block whose header a test may twist before it is appended and sealed.
    pub fn lying_block(
        &mut self,
        time_ms: u64,
        records: &[(Transaction, u16)],
        next: Option<AuthoritySet>,
        twist: impl FnOnce(&mut Header),
    ) -> Header {
        let first_index = self.log.len() as u64;
        let mut overlay = Overlay::new(&self.state);
        let programme = key::record("civil", &id("P-1"));
        for (index, (transaction, outcome)) in (first_index..).zip(records) {
            let entry = record_entry(*outcome, transaction.bytes());
            let payload = transaction.payload();
            let leaf = record_leaf(index, *outcome, transaction);
            let leaf = if payload.record_id == id("P-1") { programme_leaf(leaf) } else { leaf };
            overlay.put(key::record(&payload.agency, &payload.record_id), &leaf).expect("value");
            if !self.omits {
                overlay.append_to_trail(programme, index, &leaf_hash(&entry)).expect("the programme is first");
                self.trail.push(index);
            }
            self.log.push(leaf_hash(&entry));
            self.entries.push(entry);
        }
        let changes = overlay.into_parts().sorted().expect("encodes").0;
        let update = self.state.apply(&changes).expect("changes");
        let set = self.sets.last().expect("set of genesis").clone();
        let mut header = Header {
            height: self.headers.len() as u64 + 1,
            epoch: set.epoch,
            turn: 1,
            parent_turn: 0,
            proposer: 0,
            time_ms,
            first_index,
            entry_count: records.len() as u32,
            log_root: Frontier::of(self.log.iter().copied()).root(),
            state_root: update.root,
            parent: self.headers.last().map_or(self.log[0], Header::id),
            batches: [0; 32],
            set_hash: set.hash(),
            next_set_hash: next.as_ref().unwrap_or(&set).hash(),
            state_size: update.size,
        };
        twist(&mut header);
        self.log.push(header.id());
        self.entries.push(header.encode().to_vec());
        self.headers.push(header);
        self.states.push(self.state.clone());
        self.sets.extend(next);
        header
    }

    /// The header at a height.
    pub fn header(&self, height: usize) -> Header {
        self.headers[height - 1]
    }

    pub fn checkpoint(&self, size: u64) -> Checkpoint {
        let root = Frontier::of(self.log[..size as usize].iter().copied()).root();
        Checkpoint { origin: self.origin.clone(), size, root }
    }

    pub fn note_by(&self, size: u64, epoch: u64, signers: &[u16]) -> Note {
        let checkpoint = self.checkpoint(size);
        let seal = |signer: &u16| Seal::sign(&checkpoint, epoch, *signer, TIME_S, &sealing(*signer, epoch));
        let seals: Vec<Seal> = signers.iter().map(seal).collect();
        Note::of(checkpoint, &set(epoch), &[], &seals)
    }

    /// The checkpoint of a height, sealed by three of four.
    pub fn note(&self, height: usize) -> Note {
        let header = self.header(height);
        self.note_by(header.tree_size(), header.epoch, &[0, 1, 3])
    }

    pub fn sealed(&self, height: usize) -> SealedHeader {
        prove::sealed_header(self.log.as_slice(), &self.note(height), &self.header(height)).expect("path")
    }

    pub fn receipt(&self, index: u64, height: usize) -> String {
        let entry = &self.entries[index as usize];
        prove::receipt(self.log.as_slice(), &self.note(height), index, entry).expect("path").text()
    }

    pub fn handoffs(&self) -> Vec<Handoff> {
        let boundaries = (1..=self.headers.len()).filter(|height| self.header(*height).is_boundary());
        let handoff = |(height, next): (usize, &AuthoritySet)| {
            prove::handoff(self.log.as_slice(), &self.note(height), &self.header(height), next).expect("path")
        };
        boundaries.zip(&self.sets[1..]).map(handoff).collect()
    }

    pub fn state_proof(&self, height: usize, key: &key::Key) -> StateProof {
        prove::state(&self.states[height], self.header(height).state_size, key).expect("memory")
    }

    pub fn officer_proof(&self, agency: &str, height: usize) -> StateProof {
        self.state_proof(height, &key::officer_key(&officer(agency).public().key_id()))
    }

    pub fn key_proof(&self, agency: &str, height: usize) -> KeyProof {
        let sealed = self.sealed(height);
        KeyProof {
            registration: registration(&officer(agency).public().key_id()),
            state_proof: self.officer_proof(agency, height),
            header: sealed.header,
            header_path: sealed.header_path,
        }
    }

    /// The programme's trail as it stood at a height.
    pub fn programme_trail(&self, height: usize) -> Trail {
        let end = self.header(height).own_index();
        let item = |index: &u64| TrailItem { index: *index, entry: self.entries[*index as usize].clone() };
        let items = self.trail.iter().filter(|index| **index < end).map(item).collect();
        let size = self.header(height).state_size;
        prove::trail(&self.states[height], size, SubjectKind::Programme, PROGRAMME, items).expect("trail")
    }

    /// Receipt, key and trail of the newest height, with every hand-off.
    pub fn bundle(&self) -> EvidenceBundle {
        let height = self.headers.len();
        let index = self.trail[1];
        let led = self.led();
        let facts = receipt(&led, &self.receipt(index, height), None).facts.expect("facts");
        EvidenceBundle {
            format: BUNDLE_FORMAT.into(),
            origin: self.origin.clone(),
            genesis_hash: self.chain,
            handoffs: self.handoffs().into_iter().map(Into::into).collect(),
            receipt: Some(self.receipt(index, height)),
            policy: led.policy(facts.tree_size),
            entry: Some(entry_view(&facts)),
            key: Some(self.key_proof("civil", height)),
            trail: Some(BundledTrail {
                sealed: self.sealed(height),
                trail: self.programme_trail(height),
                registries: Vec::new(),
                leaves: vec![self.officer_proof("civil", height)],
            }),
            consistency: None,
        }
    }
}

/// Officer keys of all agencies, as a verifier that needs no proof of them would hold them.
pub fn known_keys() -> BTreeMap<crate::crypto::KeyId, crate::verify::RegisteredKey> {
    let key = |agency: &&str| {
        let key = officer(agency).public();
        (key.key_id(), crate::verify::RegisteredKey { agency: (*agency).to_owned(), key })
    };
    AGENCIES.iter().map(key).collect()
}
