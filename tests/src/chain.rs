//! A whole chain run by the pure crates alone: genesis, execution, headers, state, log, seals. No consensus and no node:
//! the blocks are the caller's.

use std::collections::BTreeMap;
use std::sync::Arc;

use mingzhang_genesis::Genesis;
use mingzhang_genesis::document::{
    Admin, Agency, Document, FORMAT, HeldKey, Key, Node, Numbers, Officer, Person, Recovery, Role,
};
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::block::{Frame, header};
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{Hash, SigningKey, sha256};
use mingzhang_ledger::entry::{genesis_entry, genesis_id};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::{Frontier, leaf_hash};
use mingzhang_ledger::proof::{
    BUNDLE_FORMAT, BundledTrail, EvidenceBundle, Handoff, KeyProof, SealedHeader, SealedState, StateProof, SubjectKind,
    Trail, TrailItem,
};
use mingzhang_ledger::prove;
use mingzhang_ledger::records::registry::founding::found;
use mingzhang_ledger::seal::{Checkpoint, Note, Seal, log_line, policy};
use mingzhang_ledger::state::execute::{BlockContext, Candidate, execute};
use mingzhang_ledger::state::key::{self, Key as StateKey};
use mingzhang_ledger::state::memory::MemoryState;
use mingzhang_ledger::transaction::{Payload, Transaction};
use mingzhang_ledger::verify::{Authorities, entry_view, receipt, registration};

/// The authorities, in turn order.
pub const AUTHORITIES: [&str; 4] = ["finance", "civil", "audit", "rural"];
/// Time of the first block, milliseconds since 1970.
pub const START_MS: u64 = 1_780_272_000_000;

/// Everything that a network of honest nodes would hold in common.
pub struct Chain {
    pub genesis: Genesis,
    pub state: MemoryState,
    /// The state after each height; 0 is genesis.
    pub states: Vec<MemoryState>,
    pub entries: Vec<Vec<u8>>,
    pub log: Vec<Hash>,
    pub headers: Vec<Header>,
    /// By epoch.
    pub sets: Vec<AuthoritySet>,
    /// Log indices of every trail.
    pub trails: BTreeMap<StateKey, Vec<u64>>,
    frontier: Frontier,
}

/// The private key of that name: `civil/officer`, `civil/consensus`, `civil/sealing/0`, `log`.
pub fn secret(name: &str) -> SigningKey {
    SigningKey::from_seed(&sha256(&[b"test chain ", name.as_bytes()]))
}

fn public(name: &str) -> Key {
    Key(secret(name).public())
}

fn person(name: &str) -> Person {
    let digest = sha256(&[b"test person ", name.as_bytes()]);
    let mut person = [0; 16];
    person.copy_from_slice(&digest[..16]);
    Person(person)
}

fn agency(id: &str, roles: &[&str]) -> Agency {
    let admin = |label: &str| Admin { person: person(&format!("{id}/{label}")), key: public(&format!("{id}/{label}")) };
    let role = |role: &&str| Role { role: (*role).to_owned(), max_minor: None };
    Agency {
        id: id.to_owned(),
        name: format!("{id} 局"),
        kind: "bureau".to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        admin_keys: vec![admin("admin1"), admin("admin2")],
        officers: vec![Officer {
            person: person(&format!("{id}/officer")),
            key: public(&format!("{id}/officer")),
            roles: roles.iter().map(role).collect(),
        }],
        node: AUTHORITIES.contains(&id).then(|| Node {
            consensus_key: public(&format!("{id}/consensus")),
            sealing_key: public(&format!("{id}/sealing/0")),
            peer_key: public(&format!("{id}/peer")),
            url: format!("https://{id}.ledger.example.gov/"),
        }),
    }
}

/// The genesis of the test chain.
pub fn document() -> Document {
    Document {
        format: FORMAT.to_owned(),
        name: "ledger.example.gov/main".to_owned(),
        suite: 1,
        development: true,
        test_keys: true,
        utc_offset_minutes: 480,
        currencies: vec!["CNY".to_owned()],
        consensus: Numbers::default(),
        rules: Numbers::default(),
        agencies: vec![
            agency("finance", &["finance"]),
            agency("civil", &["programme_owner", "window"]),
            agency("audit", &["auditor"]),
            agency("rural", &["supervisor"]),
            agency("bank", &["agent_bank"]),
        ],
        recovery: Recovery::default(),
        log_keys: vec![HeldKey { agency: "finance".to_owned(), key: public("log") }],
    }
}

/// A set document with the sealing keys of an epoch.
pub fn next_set(set: &AuthoritySet) -> AuthoritySet {
    let mut next = set.clone();
    next.epoch += 1;
    for member in &mut next.members {
        member.sealing_key = secret(&format!("{}/sealing/{}", member.agency, next.epoch)).public();
    }
    next
}

impl Chain {
    /// Height 0.
    pub fn found() -> Self {
        let bytes = document().to_bytes().expect("a document is JSON");
        let genesis = Genesis::parse(&bytes).expect("the test genesis is valid");
        let (changes, appends) = found(&genesis.founding).expect("the test genesis founds a state");
        let mut state = MemoryState::default();
        state.apply(&changes).expect("the state of genesis");
        let mut trails: BTreeMap<StateKey, Vec<u64>> = BTreeMap::new();
        for append in appends {
            trails.entry(append.trail).or_default().push(0);
        }
        let leaf = genesis_id(&genesis.hash);
        Self {
            states: vec![state.clone()],
            state,
            entries: vec![genesis_entry(&genesis.hash)],
            log: vec![leaf],
            headers: Vec::new(),
            sets: vec![genesis.set.clone()],
            trails,
            frontier: Frontier::of([leaf]),
            genesis,
        }
    }

    pub fn origin(&self) -> &str {
        &self.genesis.origin
    }

    /// A record of an agency's officer, good for one day after the first block.
    pub fn transaction(&self, agency: &str, record_type: &str, id: &str, body: Vec<(&str, Value)>) -> Transaction {
        let payload = Payload {
            origin: self.origin().into(),
            record_type: record_type.into(),
            record_id: key::parse_id(id).expect("a record id"),
            agency: agency.into(),
            expires_at: START_MS + 86_400_000,
            body: Value::text_map(body),
        };
        Transaction::sign(&payload, &secret(&format!("{agency}/officer"))).expect("a transaction")
    }

    /// Executes and appends a block; with `next`, a boundary. Panics if the door leaves a record out.
    pub fn block(&mut self, time_ms: u64, transactions: &[Transaction], next: Option<AuthoritySet>) {
        let set = self.sets.last().expect("the set of genesis").clone();
        let context = BlockContext {
            height: self.headers.len() as u64 + 1,
            epoch: set.epoch,
            time_ms,
            first_index: self.log.len() as u64,
        };
        let candidate =
            |transaction: &Transaction| Candidate { transaction: Arc::new(transaction.clone()), verified_with: None };
        let candidates: Vec<Candidate> = transactions.iter().map(candidate).collect();
        let execution = execute(&self.state, &self.genesis.founding.network, &context, &candidates).expect("execution");
        assert!(execution.left_out.is_empty(), "{:?}", execution.left_out);
        let tree = self.state.apply(&execution.changes).expect("changes apply");
        let frame = Frame {
            height: context.height,
            epoch: set.epoch,
            turn: context.height,
            parent_turn: context.height - 1,
            proposer: set.proposer(context.height, 0),
            time_ms,
            first_index: context.first_index,
            parent: self.headers.last().map_or(self.log[0], Header::id),
            batches: sha256(&[&context.height.to_be_bytes()]),
            set_hash: set.hash(),
            next_set_hash: next.as_ref().unwrap_or(&set).hash(),
        };
        let (header, frontier) = header(&frame, &execution, &self.frontier, &tree);
        for append in &execution.appends {
            let index = u64::from_be_bytes(append.entry[..8].try_into().expect("eight bytes"));
            self.trails.entry(append.trail).or_default().push(index);
        }
        self.log.extend(execution.entries.iter().map(|entry| leaf_hash(entry)));
        self.entries.extend(execution.entries);
        self.log.push(header.id());
        self.entries.push(header.encode().to_vec());
        self.headers.push(header);
        self.states.push(self.state.clone());
        self.sets.extend(next);
        self.frontier = frontier;
    }

    pub fn height(&self) -> usize {
        self.headers.len()
    }

    pub fn header(&self, height: usize) -> Header {
        self.headers[height - 1]
    }

    /// The checkpoint of a height with the log key's line and the seals of three of four.
    pub fn note(&self, height: usize) -> Note {
        let header = self.header(height);
        let size = header.tree_size();
        let root = Frontier::of(self.log[..size as usize].iter().copied()).root();
        let checkpoint = Checkpoint { origin: self.origin().to_owned(), size, root };
        let set = &self.sets[header.epoch as usize];
        let seal = |signer: &u16| {
            let agency = &set.members[usize::from(*signer)].agency;
            let key = secret(&format!("{agency}/sealing/{}", set.epoch));
            Seal::sign(&checkpoint, set.epoch, *signer, header.time_ms.div_ceil(1_000), &key)
        };
        let seals: Vec<Seal> = [0, 1, 3].iter().map(seal).collect();
        Note::of(checkpoint.clone(), set, &[log_line(&checkpoint, &secret("log"))], &seals)
    }

    pub fn receipt(&self, index: u64, height: usize) -> String {
        let entry = &self.entries[index as usize];
        prove::receipt(self.log.as_slice(), &self.note(height), index, entry).expect("path").text()
    }

    pub fn sealed(&self, height: usize) -> SealedHeader {
        prove::sealed_header(self.log.as_slice(), &self.note(height), &self.header(height)).expect("path")
    }

    pub fn handoffs(&self) -> Vec<Handoff> {
        let boundaries = (1..=self.height()).filter(|height| self.header(*height).is_boundary());
        let handoff = |(height, next): (usize, &AuthoritySet)| {
            prove::handoff(self.log.as_slice(), &self.note(height), &self.header(height), next).expect("path")
        };
        boundaries.zip(&self.sets[1..]).map(handoff).collect()
    }

    pub fn state_proof(&self, height: usize, key: &StateKey) -> StateProof {
        prove::state(&self.states[height], self.header(height).state_size, key).expect("a state in memory")
    }

    pub fn sealed_state(&self, height: usize, key: &StateKey) -> SealedState {
        SealedState { sealed: self.sealed(height), state: self.state_proof(height, key) }
    }

    /// The complete trail of a subject at a height.
    pub fn trail(&self, height: usize, kind: SubjectKind, id: &str) -> Trail {
        let key = mingzhang_ledger::proof::subject_key(kind, id).expect("an id of that kind");
        let end = self.header(height).own_index();
        let item = |index: &u64| TrailItem { index: *index, entry: self.entries[*index as usize].clone() };
        let items = self.trails[&key].iter().filter(|index| **index < end).map(item).collect();
        prove::trail(&self.states[height], self.header(height).state_size, kind, id, items).expect("a trail")
    }

    fn officer_leaf(&self, agency: &str, height: usize) -> StateProof {
        let key_id = secret(&format!("{agency}/officer")).public().key_id();
        self.state_proof(height, &key::officer_key(&key_id))
    }

    /// The bundle of the record at `index` and of the trail of its signer's key, at the newest height.
    pub fn bundle(&self, index: u64, agency: &str) -> EvidenceBundle {
        let height = self.height();
        let signer = secret(&format!("{agency}/officer")).public().key_id();
        let key_id = hex::encode(signer);
        let facts = receipt(&self.founding(), &self.receipt(index, height), None).facts.expect("facts");
        let sealed = self.sealed(height);
        EvidenceBundle {
            format: BUNDLE_FORMAT.to_owned(),
            origin: self.origin().to_owned(),
            genesis_hash: self.genesis.hash,
            handoffs: self.handoffs().into_iter().map(Into::into).collect(),
            receipt: Some(self.receipt(index, height)),
            policy: self.policy(self.sets.len() - 1),
            entry: Some(entry_view(&facts)),
            key: Some(KeyProof {
                registration: registration(&signer),
                state_proof: self.officer_leaf(agency, height),
                header: sealed.header.clone(),
                header_path: sealed.header_path.clone(),
            }),
            trail: Some(BundledTrail {
                sealed,
                trail: self.trail(height, SubjectKind::Officer, &key_id),
                registries: Vec::new(),
                leaves: vec![self.officer_leaf(agency, height)],
            }),
            consistency: Some(
                prove::consistency(self.log.as_slice(), self.header(1).tree_size(), self.header(height).tree_size())
                    .expect("path"),
            ),
        }
    }

    /// What the genesis file alone tells a verifier.
    pub fn founding(&self) -> Authorities {
        Authorities::new(self.origin(), self.genesis.hash, self.sets[0].clone())
            .with_log_keys(vec![secret("log").public()])
    }

    pub fn policy(&self, epoch: usize) -> String {
        policy(self.origin(), &[secret("log").public()], &self.sets[epoch], None)
    }

    /// Two epochs, seven blocks, records of two agencies, one of them rejected.
    pub fn sample() -> Self {
        let mut chain = Self::found();
        let anchor = |chain: &Self, agency: &str, id: &str| {
            let root = Value::bytes(&sha256(&[id.as_bytes()]));
            chain.transaction(agency, "document_anchor", id, vec![("root", root), ("kind", Value::text("minutes"))])
        };
        for number in 0..3u64 {
            let ours = anchor(&chain, "civil", &format!("DOC-{number}"));
            let theirs = anchor(&chain, "rural", &format!("DOC-{number}"));
            chain.block(START_MS + number * 1_000, &[ours, theirs], None);
        }
        let nothing = mingzhang_ledger::records::body::ref_value(&mingzhang_ledger::records::object::Ref::new(
            "civil",
            &key::parse_id("NOTHING").expect("an id"),
        ));
        let wrong = chain.transaction(
            "civil",
            "correct",
            "FIX-1",
            vec![("record", nothing), ("fields", Value::bytes(&[1; 32])), ("reason", Value::text("no such record"))],
        );
        let next = next_set(&chain.sets[0]);
        chain.block(START_MS + 3_000, &[wrong], Some(next));
        for number in 3..5u64 {
            let ours = anchor(&chain, "civil", &format!("DOC-{number}"));
            chain.block(START_MS + number * 1_000 + 1_000, &[ours], None);
        }
        chain.block(START_MS + 90_000_000, &[], None);
        chain
    }
}
