//! Imports of the real files into a ledger in memory: the same records, the same rules, no network. The sums are those
//! of the files' own ground truth.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use mingzhang_ledger::authority::{AuthoritySet, Parameters};
use mingzhang_ledger::crypto::{Hash, SigningKey};
use mingzhang_ledger::door;
use mingzhang_ledger::outcome::Refusal;
use mingzhang_ledger::records::calendar::{DAY_MS, Day};
use mingzhang_ledger::records::object::{RecordLeaf, Ref};
use mingzhang_ledger::records::registry::{Founding, FoundingAgency, FoundingOfficer, FoundingRole, found};
use mingzhang_ledger::state::execute::{BlockContext, Candidate, Network, execute};
use mingzhang_ledger::state::key::{self, Key};
use mingzhang_ledger::state::{Overlay, Snapshot, StateFault, Stored};
use mingzhang_ledger::transaction::{Payload, Transaction};

use super::identity::{Identity, Secret};
use super::item::{Kind, Source};
use super::load::{Effect, Ledger, Load, Officer, Outcome, Outgoing, Standing, Verdict, run};
use super::map::Map;
use super::report::{Report, make};
use super::{Format, read};
use crate::output::{Failure, Language};

mod bad_rows;
mod grown;
mod permits;
mod personal;
mod proofs;
mod returns;

/// 2026-11-25.
const TODAY: Day = Day(20_782);
const RECORDS_OF_A_BLOCK: usize = 500;

#[derive(Default)]
struct Memory(BTreeMap<Key, Stored>);

impl Snapshot for Memory {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
        Ok(self.0.get(key).cloned())
    }
}

/// A ledger in memory with an importer and a supervisor.
struct MemoryLedger {
    state: Memory,
    network: Network,
    height: u64,
    next_index: u64,
    /// What is on the log by agency and id, with the answer it got.
    log: BTreeMap<(String, [u8; 16]), (Transaction, Verdict)>,
    /// Records that are still taken before sending fails, as if the importer were killed.
    left: usize,
    /// Seed of the key with which the importer signs: two officers have one.
    importer: u8,
}

fn key_of(officer: Officer) -> SigningKey {
    SigningKey::from_seed(&match officer {
        Officer::Importer => [1; 32],
        Officer::Supervisor => [2; 32],
    })
}

/// The seed of a second importer's key.
const SECOND: u8 = 3;

impl MemoryLedger {
    fn found() -> Self {
        let network = Network {
            origin: "test-0102030405060708".into(),
            chain: [7; 32],
            utc_offset_minutes: 480,
            development: true,
        };
        let agency = |id: &str, role: &str, (person, key): (u8, SigningKey)| FoundingAgency {
            id: id.into(),
            name: id.into(),
            kind: "bureau".into(),
            roles: vec![role.into()],
            admin_keys: Vec::new(),
            officers: vec![FoundingOfficer {
                person: [person; 16],
                key: key.public(),
                roles: vec![FoundingRole { role: role.into(), scope: None, max_minor: None }],
            }],
        };
        let mut archive = agency("archive", "importer", (1, key_of(Officer::Importer)));
        archive.officers.extend(agency("archive", "importer", (3, SigningKey::from_seed(&[SECOND; 32]))).officers);
        let agencies = vec![archive, agency("market", "supervisor", (2, key_of(Officer::Supervisor)))];
        let set = AuthoritySet { epoch: 0, parameters: Parameters::default(), members: Vec::new() };
        let founding = Founding { network: network.clone(), agencies, parameters: BTreeMap::new(), set };
        let (state, _) = found(&founding).expect("a network is founded");
        let (height, next_index, log) = (1, 1, BTreeMap::new());
        Self { state: Memory(state), network, height, next_index, log, left: usize::MAX, importer: 1 }
    }

    fn time_ms(&self) -> u64 {
        u64::try_from(TODAY.0).expect("after 1970") * DAY_MS + self.height
    }

    fn key_of(&self, officer: Officer) -> SigningKey {
        match officer {
            Officer::Importer => SigningKey::from_seed(&[self.importer; 32]),
            Officer::Supervisor => key_of(officer),
        }
    }

    fn sign(&self, record: &Outgoing<'_>) -> Transaction {
        let payload = Payload {
            origin: self.network.origin.as_str().into(),
            record_type: record.record_type.into(),
            record_id: record.id,
            agency: self.agency(record.officer).into(),
            // Differs from run to run, as envelopes do.
            expires_at: self.time_ms() + 600_000,
            body: record.body.clone(),
        };
        Transaction::sign(&payload, &self.key_of(record.officer)).expect("a transaction")
    }

    fn standing(&self, transaction: &Transaction, verdict: Verdict, repeated: bool) -> Standing {
        let payload = transaction.payload();
        let key = key::record(&payload.agency, &payload.record_id);
        let leaf: Option<RecordLeaf> = Overlay::new(&self.state).get(&key).expect("the state is readable");
        let effect = match leaf.as_ref().and_then(|leaf| leaf.waiting.as_ref()) {
            None => Effect::Effective,
            Some(waiting) if waiting.is_effective() => Effect::Effective,
            Some(waiting) if waiting.is_open() => Effect::Waiting,
            Some(_) => Effect::Void,
        };
        let flags = leaf.map(|leaf| leaf.flags).unwrap_or_default();
        let record = Ref::new(&payload.agency, &payload.record_id);
        let (transaction_id, own, detail) = (transaction.id(), !repeated, String::new());
        let (index, before, differs) = (None, false, None);
        Standing { record, transaction_id, own, index, verdict, effect, flags, repeated, before, differs, detail }
    }

    /// What the door says to a record before it runs, if it does not let it in.
    fn at_the_door(&self, transaction: &Transaction) -> Option<Standing> {
        let payload = transaction.payload();
        let refused = |refusal: Refusal| {
            let standing = self.standing(transaction, Verdict::Refused(refusal.code.0), false);
            // What is decided by it is no text: a node may word it otherwise.
            let (differs, detail) = (refusal.differs.map(str::to_owned), "another record".to_owned());
            let detail = if differs.is_some() { detail } else { refusal.detail };
            Some(Standing { differs, detail, ..standing })
        };
        if let Some((earlier, verdict)) = self.log.get(&(payload.agency.to_string(), payload.record_id)) {
            return match door::repeat(earlier, transaction) {
                None => Some(self.standing(earlier, *verdict, true)),
                Some(refusal) => refused(refusal),
            };
        }
        let answer = door::check(&self.state, &self.network, self.time_ms(), transaction);
        answer.expect("the state is readable").err().and_then(refused)
    }

    fn block(&mut self, transactions: &[Transaction]) -> Vec<Standing> {
        let candidates: Vec<Candidate> = transactions
            .iter()
            .map(|transaction| Candidate {
                transaction: Arc::new(transaction.clone()),
                verified_with: [Officer::Importer, Officer::Supervisor]
                    .map(|officer| self.key_of(officer).public())
                    .into_iter()
                    .find(|key| key.key_id() == transaction.key_id()),
            })
            .collect();
        let (height, first_index, time_ms) = (self.height, self.next_index, self.time_ms());
        let block = BlockContext { height, epoch: 0, time_ms, first_index };
        let execution = execute(&self.state, &self.network, &block, &candidates).expect("the state is readable");
        assert!(execution.left_out.is_empty(), "{:?}", execution.left_out);
        self.state.0.extend(execution.changes);
        self.height += 1;
        self.next_index += u64::try_from(execution.entries.len()).expect("few") + 1;
        let mut standings = Vec::new();
        for (transaction, record) in transactions.iter().zip(execution.records) {
            let verdict = if record.outcome == 0 { Verdict::Applied } else { Verdict::Rejected(record.outcome) };
            let key = (record.agency.to_string(), record.record_id);
            self.log.insert(key, (transaction.clone(), verdict));
            standings.push(Standing { detail: record.detail, ..self.standing(transaction, verdict, false) });
        }
        standings
    }
}

impl Ledger for MemoryLedger {
    fn agency(&self, officer: Officer) -> &str {
        match officer {
            Officer::Importer => "archive",
            Officer::Supervisor => "market",
        }
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Standing>, Failure> {
        let mut standings = Vec::new();
        for chunk in records.chunks(RECORDS_OF_A_BLOCK) {
            let mut waiting = Vec::new();
            let mut answers: Vec<Option<Standing>> = Vec::new();
            for record in chunk {
                let transaction = self.sign(record);
                let answer = self.at_the_door(&transaction);
                if answer.is_none() {
                    waiting.push(transaction);
                }
                answers.push(answer);
            }
            let taken = waiting.len().min(self.left);
            let mut new = self.block(&waiting[..taken]).into_iter();
            self.left -= taken;
            if taken < waiting.len() {
                return Err(Failure::unreachable("killed"));
            }
            standings.extend(answers.into_iter().map(|answer| answer.or_else(|| new.next()).expect("an answer")));
        }
        Ok(standings)
    }

    fn check_earlier(&self, record: &Outgoing<'_>, id: &Hash) -> Result<(), Failure> {
        let earlier = self.log.get(&(self.agency(record.officer).to_owned(), record.id)).map(|(earlier, _)| earlier);
        let same = earlier.filter(|earlier| door::repeat(earlier, &self.sign(record)).is_none());
        assert_eq!(same.map(Transaction::id), Some(*id));
        Ok(())
    }

    fn transaction(&self, id: &Hash) -> Result<Transaction, Failure> {
        let of_id = |(transaction, _): &&(Transaction, Verdict)| transaction.id() == *id;
        Ok(self.log.values().find(of_id).expect("it is on the log").0.clone())
    }

    fn leaves(&mut self, records: &[Ref], _: bool) -> Result<Vec<Option<RecordLeaf>>, Failure> {
        let state = Overlay::new(&self.state);
        Ok(records.iter().map(|record| state.get(&record.key()).expect("the state is readable")).collect())
    }
}

/// The real file, or None with a word that the test is skipped.
fn data(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("MINGZHANG_DATA").map_or_else(|| PathBuf::from("../../shared/data"), PathBuf::from);
    let path = folder.join(file);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

const LLOYDS: &str = "grants_360giving/lloyds_bank_foundation_2010_2015.json";
const WOLFSON: &str = "grants_360giving/wolfson_foundation_2014.json";
const HUBEI: &str = "charity_cny/hubei_redcross_donations_2020.csv";
const CALGARY: &str = "permits/calgary_building_permits.csv";
const ALBANIA: &str = "treasury/albania_treasury_2014.csv";

fn map_of(format: Format) -> Map {
    let text = match format {
        Format::Grants => return Map::default(),
        Format::Payments => include_str!("../../maps/albania-payments.toml"),
        Format::Donations => include_str!("../../maps/hubei-donations.toml"),
        Format::Permits => include_str!("../../maps/calgary-permits.toml"),
    };
    Map::parse(text, format.columns()).expect("a map")
}

fn source(format: Format, path: &std::path::Path, strict: bool) -> Source {
    read(format, path, (&map_of(format), strict)).expect("the file is read")
}

fn import(ledger: &mut MemoryLedger, format: Format, strict: bool, source: &Source) -> Result<Outcome, Failure> {
    let identity = Identity::new(ledger.network.chain, format.name(), &source.name, strict);
    let (mut source, secret) = (source.clone(), Secret::new([9; 32], TODAY));
    source.name_rows(&secret);
    run(format, strict, &[Load { source: &source, identity, secret }], ledger)
}

/// Imports a file into a ledger of its own and hands the report to the check.
fn judge(format: Format, file: &str, strict: bool, check: impl Fn(&Report<'_>, &Outcome)) {
    let Some(path) = data(file) else { return };
    let source = source(format, &path, strict);
    let mut ledger = MemoryLedger::found();
    let outcome = import(&mut ledger, format, strict, &source).expect("the import runs");
    for closing in &outcome.closings {
        assert_eq!(closing.verdict, Verdict::Applied, "an import is closed with its sums: {}", closing.detail);
    }
    let sources = [source];
    let report = make(&outcome, &sources);
    let counters = &report.counters;
    assert_eq!(counters.read, counters.submitted() + counters.duplicates + counters.skipped_total());
    check(&report, &outcome);
}

fn total(report: &Report<'_>, kind: Kind, currency: &str) -> i128 {
    report.totals.get(&(kind, currency.to_owned())).copied().unwrap_or(0)
}

#[test]
fn lloyds_grants_are_committed_to_the_penny() {
    for strict in [false, true] {
        judge(Format::Grants, LLOYDS, strict, |report, outcome| {
            let counters = &report.counters;
            assert_eq!((counters.read, counters.applied, counters.rejected), (4_116, 4_115, 0));
            assert_eq!(counters.skipped, BTreeMap::from([("zero_amount", 1)]));
            assert_eq!(total(report, Kind::Grant, "GBP"), 11_579_563_569);
            assert_eq!(outcome.plan.programmes.len(), 46);
            assert_eq!(counters.by_code, BTreeMap::from([(3707, 4_115)]), "no budget is stated");
        });
    }
}

#[test]
fn wolfson_grants_and_disbursements() {
    for strict in [false, true] {
        judge(Format::Grants, WOLFSON, strict, |report, outcome| {
            let grants = &report.by_kind[&Kind::Grant];
            assert_eq!((grants.read, grants.applied, grants.skipped_total()), (379, 265, 114));
            assert_eq!(report.by_kind[&Kind::Disbursement].applied, 144);
            assert_eq!(total(report, Kind::Grant, "GBP"), 3_117_845_600);
            assert_eq!(total(report, Kind::Disbursement, "GBP"), 893_377_100);
            assert_eq!(outcome.plan.programmes.len(), 4);
            assert!(!report.counters.by_code.contains_key(&3911) && !report.counters.by_code.contains_key(&3207));
            assert_eq!(report.counters.notes, BTreeMap::new(), "all dates are proven to be day/month/year");
        });
    }
}

fn hubei(strict: bool) {
    judge(Format::Donations, HUBEI, strict, |report, outcome| {
        let counters = &report.counters;
        assert_eq!((counters.read, counters.applied, counters.rejected), (37_241, 35_246, 1_995));
        assert_eq!(counters.by_code, BTreeMap::from([(3706, 1_995), (3911, 577)]));
        assert_eq!(counters.flagged, 577);
        assert_eq!(total(report, Kind::Donation, "CNY"), 70_140_126_391);
        assert_eq!((outcome.batches.len(), outcome.closings.len(), outcome.plan.programmes.len()), (14, 13, 1));
    });
}

#[test]
fn hubei_donations_by_published_file() {
    hubei(false);
}

#[test]
fn hubei_donations_as_if_they_were_new() {
    hubei(true);
}

#[test]
fn calgary_permits_and_their_lateness() {
    judge(Format::Permits, CALGARY, false, |report, outcome| {
        assert_eq!((report.counters.read, report.counters.applied), (5_000, 5_000));
        let issued = outcome.plan.records.iter().zip(&outcome.standings).filter(|(record, standing)| {
            let applied = standing.as_ref().is_some_and(|standing| standing.verdict == Verdict::Applied);
            record.record_type == "licence_issue" && applied
        });
        assert_eq!(issued.count(), 4_784);
        assert_eq!(report.counters.by_code.get(&3307), Some(&1_859));
        assert_eq!(report.counters.by_code.get(&3009), None);
    });
}

#[test]
fn albania_payments() {
    for strict in [false, true] {
        judge(Format::Payments, ALBANIA, strict, |report, outcome| {
            assert_eq!((report.counters.read, report.counters.applied), (40, 40));
            assert_eq!(total(report, Kind::Payment, "ALL"), 3_329_965_300);
            assert_eq!(outcome.plan.programmes.len(), 1);
            let reference = |record: &super::plan::Planned| record.body.get("bank_ref")?.as_text().map(str::len);
            let lengths: Vec<usize> = outcome.plan.records.iter().filter_map(reference).collect();
            assert_eq!(lengths, [14; 40], "each payment names its receipt");
        });
    }
}

#[test]
fn a_second_import_changes_nothing_and_a_killed_one_goes_on() {
    let Some(path) = data(WOLFSON) else { return };
    let source = source(Format::Grants, &path, false);
    let mut whole = MemoryLedger::found();
    import(&mut whole, Format::Grants, false, &source).expect("the import runs");
    let mut ledger = MemoryLedger::found();
    ledger.left = 700;
    import(&mut ledger, Format::Grants, false, &source).map(|_| ()).expect_err("killed in the middle");
    ledger.left = usize::MAX;
    let outcome = import(&mut ledger, Format::Grants, false, &source).expect("the rest");
    assert!(outcome.closings.iter().all(|closing| closing.verdict == Verdict::Applied));
    assert_eq!(ledger.log.len(), whole.log.len());
    assert!(ledger.log.keys().eq(whole.log.keys()), "the same records, however often it was begun");
    let (height, records) = (ledger.next_index, ledger.log.len());
    let again = import(&mut ledger, Format::Grants, false, &source).expect("the import runs");
    let sources = [source];
    let report = make(&again, &sources);
    assert_eq!((report.counters.duplicates, report.counters.submitted()), (265 + 144, 0));
    assert_eq!((report.transactions, ledger.log.len()), (0, records));
    assert!(ledger.next_index > height, "only empty blocks were added");
}

#[test]
fn nothing_personal_enters_a_body() {
    let Some(path) = data(ALBANIA) else { return };
    let source = source(Format::Payments, &path, false);
    let mut ledger = MemoryLedger::found();
    import(&mut ledger, Format::Payments, false, &source).expect("the import runs");
    for (transaction, _) in ledger.log.values() {
        let text = String::from_utf8_lossy(transaction.bytes()).into_owned();
        for name in ["FRANKO", "ITIRANA", "LE SPOT"] {
            assert!(!text.contains(name), "{} names {name}", transaction.payload().record_type);
        }
    }
}
