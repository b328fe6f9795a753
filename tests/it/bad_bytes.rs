//! Spoilt messages between nodes and spoilt proofs, given to the decoders and verifiers that nodes and auditors run: all
//! are refused by their code. Messages that are whole, and false or out of place, are in `bad_messages`, the public
//! interface in `bad_input`.

use std::fmt::Write as _;
use std::sync::Arc;

use mingzhang_consensus::justification::Just;
use mingzhang_consensus::message::{Ask, MAX_MESSAGE_BYTES, Message, Proposal, Status, Waiting};
use mingzhang_consensus::statement::{Statement, Vote};
use mingzhang_consensus::verify::verify;
use mingzhang_consensus::{Epoch, Opening};
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::Batch;
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::codec::{CodecFault, put_counted};
use mingzhang_ledger::crypto::{Signature, SigningKey};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::outcome::{Code, catalogue, peers};
use mingzhang_ledger::proof::EvidenceBundle;
use mingzhang_ledger::receipt::Receipt;
use mingzhang_ledger::seal::Seal;
use mingzhang_ledger::transaction::Transaction;
use mingzhang_ledger::verify::{Authorities, Verdict, bundle, receipt};
use mingzhang_tests::assured;
use mingzhang_tests::chain::{Chain, secret};

/// Largest payload of a batch in these tests.
const MAX_PAYLOAD: usize = 64 * 1024;
/// Log index of the record whose receipt is spoilt, and a height whose checkpoint covers it.
const INDEX: u64 = 1;
const HEIGHT: usize = 2;

/// Takes bytes, or says by which code they are refused.
type Accepts<'a> = Box<dyn Fn(&[u8]) -> Result<(), Code> + 'a>;

/// What travels, and how a node takes it.
struct Wire<'a> {
    name: &'static str,
    bytes: Vec<u8>,
    accepts: Accepts<'a>,
    /// Whether a signature covers every bit.
    is_signed: bool,
    /// What it is refused by when its end is missing.
    cut: Code,
}

impl<'a> Wire<'a> {
    fn new(name: &'static str, bytes: Vec<u8>, is_signed: bool, accepts: Accepts<'a>) -> Self {
        Self { name, bytes, accepts, is_signed, cut: peers::MALFORMED }
    }
}

fn malformed(_: CodecFault) -> Code {
    peers::MALFORMED
}

/// A refusal that both languages explain.
fn is_refusal(code: Code) -> bool {
    catalogue().get(&code).is_some_and(|entry| entry.family == "refusal")
}

/// A message as a node takes it that is in this epoch.
pub fn take(bytes: &[u8], epoch: &Epoch) -> Result<(), Code> {
    let message = Message::decode(bytes, epoch).map_err(malformed)?;
    verify(message, epoch).map(drop).map_err(|refusal| refusal.peer_code())
}

pub struct Nodes<'a> {
    pub chain: &'a Chain,
    pub epoch: Epoch,
}

impl<'a> Nodes<'a> {
    pub fn of(chain: &'a Chain) -> Self {
        let set = Arc::new(chain.sets[0].clone());
        let epoch = Epoch { chain: chain.genesis.hash, set, opening: Opening::Genesis { block: chain.log[0] } };
        Self { chain, epoch }
    }

    pub fn set(&self) -> &AuthoritySet {
        &self.epoch.set
    }

    pub fn key(&self, seat: u16) -> SigningKey {
        let agency = &self.set().member(seat).expect("a member").agency;
        secret(&format!("{agency}/consensus"))
    }

    pub fn sign(&self, seat: u16, statement: &Statement) -> Signature {
        self.key(seat).sign(&statement.signed_bytes(&self.epoch.chain))
    }

    pub fn confirm(&self, header: &Header) -> Statement {
        Statement::Confirm { epoch: 0, turn: header.turn, height: header.height, block: header.id() }
    }

    pub fn certificate(&self, header: &Header) -> FinalCert {
        let statement = self.confirm(header);
        let signers = Signers::new([0, 1, 3].map(|seat| (seat, self.sign(seat, &statement))));
        FinalCert { epoch: 0, turn: header.turn, height: header.height, block: header.id(), signers }
    }

    pub fn batch(&self) -> Batch {
        let mut payload = Vec::new();
        put_counted(&mut payload, &self.chain.entries[1][3..]);
        let mut batch = Batch { epoch: 0, author: 2, run: 1, seq: 0, payload, signature: Signature([0; 64]) };
        batch.signature = self.key(2).sign(&batch.signed_bytes(&self.epoch.chain));
        batch
    }

    pub fn proposal(&self) -> Proposal {
        // References are bound by a digest in the header, which the rules of voting check, and by no signature here.
        let mut proposal = Proposal {
            header: self.chain.header(1),
            references: Vec::new(),
            batches: vec![self.batch()],
            just: Just::opening(&self.epoch),
            signature: Signature([0; 64]),
        };
        let statement = proposal.statement(&self.epoch);
        proposal.signature = self.sign(self.epoch.proposer(proposal.turn()), &statement);
        proposal
    }

    fn message(&self, name: &'static str, message: &Message, is_signed: bool) -> Wire<'_> {
        let accepts = move |bytes: &[u8]| take(bytes, &self.epoch);
        Wire::new(name, message.encode(&self.epoch), is_signed, Box::new(accepts))
    }

    fn messages(&self) -> Vec<Wire<'_>> {
        let header = self.chain.header(1);
        let statement = self.confirm(&header);
        let vote = Vote { statement, signer: 3, signature: self.sign(3, &statement) };
        let waiting = Waiting { epoch: 0, references: vec![self.batch().reference(1)] };
        let status = Status {
            epoch: 0,
            final_height: 1,
            final_block: header.id(),
            turn: 2,
            waits: true,
            asks: false,
            last_vote: Some(vote),
        };
        let certificate = self.certificate(&header);
        vec![
            self.message("proposal", &Message::Proposal(Box::new(self.proposal())), true),
            self.message("vote", &Message::Vote(vote), true),
            self.message("final block", &Message::Final { header, certificate }, true),
            self.message("status", &Message::Status(status), false),
            self.message("question", &Message::Ask(Ask { epoch: 0, turn: 3, just: Some([7; 32]) }), false),
            self.message("waiting batches", &Message::Waiting(waiting), false),
        ]
    }

    fn records(&self) -> Vec<Wire<'_>> {
        let header = self.chain.header(1);
        let certificate = self.certificate(&header);
        let batch = self.batch();
        let origin = self.chain.origin();
        let checkpoint = self.chain.note(1).checkpoint;
        let agency = &self.set().member(1).expect("a member").agency;
        let seal = Seal::sign(&checkpoint, 0, 1, 1_780_272_001, &secret(&format!("{agency}/sealing/0")));
        let officer = secret("civil/officer").public();
        vec![
            Wire::new(
                "header",
                header.encode().to_vec(),
                false,
                Box::new(move |bytes: &[u8]| Header::decode(bytes).map(drop).map_err(malformed)),
            ),
            Wire::new(
                "certificate",
                certificate.encode(4),
                true,
                Box::new(move |bytes: &[u8]| {
                    let found = FinalCert::decode(bytes, 4).map_err(malformed)?;
                    found.verify(&self.epoch.chain, &header, self.set()).map_err(|fault| fault.peer_code())
                }),
            ),
            Wire::new(
                "batch",
                batch.encode(),
                true,
                Box::new(move |bytes: &[u8]| {
                    let batch = Batch::decode(bytes, MAX_PAYLOAD).map_err(malformed)?;
                    let key = self.set().member(batch.author).ok_or(peers::STRANGER)?.consensus_key;
                    let signed = batch.signed_bytes(&self.epoch.chain);
                    key.verify(&signed, &batch.signature).then_some(()).ok_or(peers::NOT_SIGNED)
                }),
            ),
            Wire::new(
                "seal",
                seal.encode(),
                true,
                Box::new(move |bytes: &[u8]| {
                    let seal = Seal::decode(bytes).map_err(malformed)?;
                    seal.verify(origin, self.set()).map_err(|fault| fault.peer_code())
                }),
            ),
            Wire {
                name: "transaction",
                bytes: self.chain.entries[1][3..].to_vec(),
                accepts: Box::new(move |bytes: &[u8]| {
                    let found = Transaction::decode(bytes).map_err(|_| Code(1001))?;
                    found.is_signed_by(&officer).then_some(()).ok_or(Code(1006))
                }),
                is_signed: true,
                cut: Code(1001),
            },
        ]
    }
}

#[test]
fn no_spoilt_message_is_taken() {
    let chain = Chain::sample();
    let nodes = Nodes::of(&chain);
    let (mut tried, mut taken) = (0, String::new());
    for wire in nodes.messages().into_iter().chain(nodes.records()) {
        assert_eq!((wire.accepts)(&wire.bytes), Ok(()), "{} is good before it is spoilt", wire.name);
        let mut refuse = |what: &str, bytes: &[u8], wanted: Option<Code>| {
            tried += 1;
            let found = (wire.accepts)(bytes).err();
            if found.is_none_or(|code| !is_refusal(code)) || (wanted.is_some() && found != wanted) {
                writeln!(taken, "{} {what}: {found:?}", wire.name).expect("writing to a string cannot fail");
            }
        };
        for end in 0..wire.bytes.len() {
            refuse(&format!("cut at {end}"), &wire.bytes[..end], Some(wire.cut));
        }
        refuse("with a byte too many", &[&wire.bytes[..], &[0]].concat(), Some(wire.cut));
        refuse("twice", &wire.bytes.repeat(2), Some(wire.cut));
        for at in (0..wire.bytes.len()).filter(|_| wire.is_signed) {
            let mut bytes = wire.bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            refuse(&format!("with a flipped bit in byte {at}"), &bytes, None);
        }
    }
    for (what, bytes) in oversized() {
        tried += 1;
        let found = take(&bytes, &nodes.epoch);
        if found != Err(peers::MALFORMED) {
            writeln!(taken, "{what}: {found:?}").expect("writing to a string cannot fail");
        }
    }
    println!("{tried} spoilt messages, all refused");
    assured::count("bad_inputs", "spoilt wire messages, all refused", tried);
    assert!(taken.is_empty(), "{taken}");
}

/// Counts and lengths that promise more than there is.
fn oversized() -> Vec<(&'static str, Vec<u8>)> {
    let waiting = [&[7][..], &[0; 8], &[0xff; 4]].concat();
    vec![
        ("no message at all", Vec::new()),
        ("an unknown type of message", vec![99; 64]),
        ("four billion references", waiting),
        ("a message over its limit", vec![7; MAX_MESSAGE_BYTES + 1]),
        ("a proposal of ones", [&[1][..], &[0xff; 4_096]].concat()),
    ]
}

fn code(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Verified => 0,
        Verdict::Failed { code, .. } | Verdict::Inconclusive { code, .. } => code.0,
    }
}

fn authorities(chain: &Chain) -> Authorities {
    chain.founding()
}

/// A way to spoil a receipt, and the code that names it.
type SpoiltReceipt = (&'static str, u16, fn(&mut Receipt, &Chain));

const RECEIPTS: [SpoiltReceipt; 11] = [
    ("as it was", 0, |_, _| {}),
    ("another record in its place", 4103, |receipt, chain| receipt.entry.clone_from(&chain.entries[2])),
    ("another index", 4103, |receipt, _| receipt.index += 1),
    ("a path too short", 4103, |receipt, _| receipt.path.truncate(1)),
    ("a path too long", 4103, |receipt, _| receipt.path.push([0; 32])),
    ("another outcome", 4103, |receipt, _| receipt.entry[2] ^= 1),
    ("a header for a record", 4102, |receipt, chain| receipt.entry.clone_from(&chain.entries[3])),
    ("half an entry", 4102, |receipt, _| receipt.entry.truncate(40)),
    ("a seal too few", 4105, |receipt, _| drop(receipt.note.lines.pop())),
    ("a seal twice", 4124, |receipt, _| receipt.note.lines.extend_from_within(1..2)),
    ("a seal with a flipped bit", 4104, |receipt, _| receipt.note.lines[1].signature[20] ^= 1),
];

#[test]
fn spoilt_receipts_are_judged_by_their_code() {
    let chain = Chain::sample();
    let text = chain.receipt(INDEX, HEIGHT);
    let mut rows: Vec<(&str, u16, String)> = Vec::new();
    for (what, wanted, spoil) in RECEIPTS {
        let mut receipt = Receipt::parse(&text).expect("a good receipt");
        spoil(&mut receipt, &chain);
        rows.push((what, wanted, receipt.text()));
    }
    rows.push(("nothing", 4101, String::new()));
    rows.push(("another format", 4101, text.replacen("@v1", "@v2", 1)));
    rows.push(("a number with a zero in front", 4101, text.replacen("\nindex 1\n", "\nindex 01\n", 1)));
    rows.push(("no base64", 4101, text.replacen("extra ", "extra !", 1)));
    rows.push(("carriage returns", 4101, text.replace('\n', "\r\n")));
    rows.push(("a tail", 4101, format!("{text}more\n")));
    rows.push(("sealed in a later epoch, without hand-offs", 4107, chain.receipt(INDEX, chain.height())));
    let known = authorities(&chain);
    let mut wrong = String::new();
    for (what, wanted, text) in &rows {
        let found = code(&receipt(&known, text, None).report.verdict);
        if found != *wanted {
            writeln!(wrong, "{what}: wanted {wanted}, got {found}").expect("writing to a string cannot fail");
        }
    }
    let stranger = Authorities::new("other.example/main-00", [9; 32], chain.sets[0].clone());
    assert_eq!(code(&receipt(&stranger, &text, None).report.verdict), 4001);
    println!("{} receipts judged", rows.len() + 1);
    assured::count("bad_inputs", "receipts, each judged with its code", rows.len() + 1);
    assert!(wrong.is_empty(), "{wrong}");
}

/// A way to spoil a bundle, and the code that names it.
type SpoiltBundle = (&'static str, u16, fn(&mut EvidenceBundle));

const BUNDLES: [SpoiltBundle; 9] = [
    ("as it was", 0, |_| {}),
    ("another format", 4101, |bundle| bundle.format.push('x')),
    ("another origin", 4001, |bundle| bundle.origin.push('x')),
    ("another genesis", 4001, |bundle| bundle.genesis_hash[0] ^= 1),
    ("no hand-offs", 4107, |bundle| bundle.handoffs.clear()),
    ("a stated outcome that is not the proven one", 4112, |bundle| {
        bundle.entry.iter_mut().for_each(|entry| entry.outcome.code = 3001);
    }),
    ("a stated index that is not the proven one", 4102, |bundle| {
        bundle.entry.iter_mut().for_each(|entry| entry.index += 1);
    }),
    ("a record left out of the trail", 4110, |bundle| {
        bundle.trail.iter_mut().for_each(|bundled| drop(bundled.trail.entries.pop()));
    }),
    ("no proof of the signer's key", 4118, |bundle| {
        bundle.trail.iter_mut().for_each(|bundled| bundled.leaves.clear());
    }),
];

#[test]
fn spoilt_bundles_are_judged_by_their_code() {
    let chain = Chain::sample();
    let known = authorities(&chain);
    let mut wrong = String::new();
    for (what, wanted, spoil) in BUNDLES {
        let mut evidence = chain.bundle(INDEX, "civil");
        spoil(&mut evidence);
        let found = code(&bundle(&known, &evidence).report.verdict);
        if found != wanted {
            writeln!(wrong, "{what}: wanted {wanted}, got {found}").expect("writing to a string cannot fail");
        }
    }
    println!("{} bundles judged", BUNDLES.len());
    assured::count("bad_inputs", "bundles of evidence, each judged with its code", BUNDLES.len());
    assert!(wrong.is_empty(), "{wrong}");
}
