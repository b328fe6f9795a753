//! How fast a new node takes over the state of a running one, and in how much memory: a store filled by the ledger's own
//! execution, then two real node processes on loopback, one of which has nothing. Everything that a joiner checks is
//! checked.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mingzhang_consensus::Build;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::{FinalCert, Signers, confirm_bytes};
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{PublicKey, SigningKey, key_file, sha256};
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::state::execute::Candidate;
use mingzhang_ledger::state::key::parse_id;
use mingzhang_ledger::transaction::{Payload, RecordId, Transaction};
use mingzhang_node::executor::{Executor, HeldBatch};
use mingzhang_node::store::{Foundation, Settings, Store};
use rayon::prelude::*;
use serde_json::{Value as Json, json};

/// Accounts of one programme and year; the ledger allows 4,096.
const ACCOUNTS_PER_PROGRAMME: u64 = 4_000;
/// Records of a batch, and batches of a block: within the limits of every network.
const BATCH_RECORDS: usize = 500;
const BLOCK_BATCHES: usize = 7;
const BLOCK_INTERVAL_MS: u64 = 100;
const LIFE_MS: u64 = 6 * 3_600_000;
const YEAR: u64 = 2024;
/// Longest wait for a node to start or to have joined.
const PATIENCE: Duration = Duration::from_secs(1_800);
const LOOK: Duration = Duration::from_millis(50);

/// What came out.
pub struct Join {
    pub accounts: u64,
    pub state_leaves: u64,
    pub fill_s: f64,
    pub transferred_bytes: u64,
    /// Asking, checking and storing.
    pub transfer_s: f64,
    pub megabytes_per_s: f64,
    /// From the start of the process until it answers at the giver's height.
    pub until_ready_s: f64,
    pub joiner_peak_mib: f64,
    pub giver_peak_mib: f64,
}

impl Join {
    pub fn json(&self) -> Json {
        let tenth = |number: f64| (number * 10.0).round() / 10.0;
        json!({
            "accounts": self.accounts, "state_leaves": self.state_leaves, "fill_s": tenth(self.fill_s),
            "transferred_bytes": self.transferred_bytes, "transfer_s": tenth(self.transfer_s),
            "megabytes_per_s": tenth(self.megabytes_per_s), "until_ready_s": tenth(self.until_ready_s),
            "joiner_peak_mib": self.joiner_peak_mib.round(), "giver_peak_mib": self.giver_peak_mib.round(),
        })
    }
}

/// Fills one node of a devnet in `dir` and lets another join from it.
pub fn measure(binary: &Path, dir: &Path, accounts: u64) -> Result<Join, String> {
    let devnet = Devnet { binary: binary.to_owned(), dir: dir.to_owned() };
    devnet.ask(&["devnet", "up", "--agencies", "1", "--dir"])?;
    devnet.ask(&["devnet", "down", "--dir"])?;
    let added = Command::new(binary).args(["devnet", "add", "--json", "--dir"]).arg(dir).arg("audit").output();
    let added: Json = serde_json::from_slice(&added.map_err(text)?.stdout).map_err(text)?;
    let joiner_api = added["data"]["api"].as_str().ok_or("devnet add names no address")?.to_owned();
    let (giver, joiner) = (dir.join("nodes/approval"), dir.join("nodes/audit"));
    std::fs::remove_dir_all(giver.join("data")).map_err(text)?;
    // A key that signed with another store would be in doubt.
    std::fs::remove_file(giver.join("keys/consensus.used")).map_err(text)?;
    let start = Instant::now();
    let (height, state_leaves) = fill(dir, &giver, accounts)?;
    let fill_s = start.elapsed().as_secs_f64();
    eprintln!("filled: {accounts} accounts, {state_leaves} state leaves, {height} blocks in {fill_s:.0} s");
    let config = joiner.join("node.toml");
    let settings = std::fs::read_to_string(&config).map_err(text)?;
    let settings = settings.replace("snapshot_from_blocks = 10000", "snapshot_from_blocks = 1");
    std::fs::write(&config, settings).map_err(text)?;
    let giving = Running::start(binary, &giver)?;
    let settings = std::fs::read_to_string(giver.join("node.toml")).map_err(text)?;
    let giver_api = setting(&settings, "api_listen").ok_or("the giver's address is not in its configuration")?;
    wait(|| height_of(&format!("http://{giver_api}")) == Some(height))?;
    let start = Instant::now();
    let joining = Running::start(binary, &joiner)?;
    wait(|| height_of(&joiner_api) == Some(height))?;
    let until_ready_s = start.elapsed().as_secs_f64();
    let said = || {
        let log = std::fs::read_to_string(&joining.log).ok()?;
        Some(log.lines().find(|line| line.contains("joined from a peer's state"))?.to_owned())
    };
    wait(|| said().is_some())?;
    let line = said().ok_or("the joiner's line is missing")?;
    let number = |name: &str| -> Result<u64, String> {
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("no {name} in: {line}"))
    };
    let (transferred_bytes, elapsed_ms) = (number("bytes")?, number("elapsed_ms")?);
    Ok(Join {
        accounts,
        state_leaves,
        fill_s,
        transferred_bytes,
        transfer_s: elapsed_ms as f64 / 1_000.0,
        megabytes_per_s: transferred_bytes as f64 / 1_000.0 / elapsed_ms.max(1) as f64,
        until_ready_s,
        joiner_peak_mib: joining.peak_mib(),
        giver_peak_mib: giving.peak_mib(),
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

struct Devnet {
    binary: PathBuf,
    dir: PathBuf,
}

impl Devnet {
    fn ask(&self, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new(&self.binary).args(arguments).arg(&self.dir).output().map_err(text)?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

/// A node process that ends with this value.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(binary: &Path, folder: &Path) -> Result<Self, String> {
        let log = folder.join("bench.log");
        let file = std::fs::File::create(&log).map_err(text)?;
        let config = folder.join("node.toml");
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(config).stdout(Stdio::null()).stderr(file);
        Ok(Self { child: command.spawn().map_err(text)?, log })
    }

    fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1_024.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("a node could not be ended: {error}");
        }
    }
}

fn setting(file: &str, name: &str) -> Option<String> {
    let line = file.lines().find(|line| line.split('=').next().is_some_and(|key| key.trim() == name))?;
    Some(line.split('=').nth(1)?.trim().trim_matches('"').to_owned())
}

fn wait(mut done: impl FnMut() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > PATIENCE {
            return Err(format!("a node did not get there within {PATIENCE:?}"));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Height of a node that answers. While a state is being taken it does not.
fn height_of(api: &str) -> Option<u64> {
    let address = api.trim_start_matches("http://").trim_end_matches('/').parse().ok()?;
    let status = mingzhang_node::command::probe::get_json(address, "/api/v1/status").ok()?;
    status["height"].as_u64()
}

/// Whoever signs what the store is filled with.
struct Importer {
    origin: String,
    key: SigningKey,
    expires_at: u64,
    day: String,
}

impl Importer {
    fn sign(&self, record_type: &str, id: &str, mut fields: Vec<(&str, Value)>, imported: bool) -> Transaction {
        if imported {
            fields.push(("import", reference("IMPORT")));
            fields.push(("effective_date", Value::text(&self.day)));
        }
        self.sign_as(("data", &self.key), record_type, id, fields)
    }

    fn sign_as(
        &self,
        (agency, key): (&str, &SigningKey),
        record_type: &str,
        id: &str,
        fields: Vec<(&str, Value)>,
    ) -> Transaction {
        let payload = Payload {
            origin: self.origin.as_str().into(),
            record_type: record_type.into(),
            record_id: record_id(id),
            agency: agency.into(),
            expires_at: self.expires_at,
            body: Value::text_map(fields),
        };
        Transaction::sign(&payload, key).expect("the bench signs well-formed records")
    }

    /// A batch of history is opened by the importer.
    fn opening(&self, accounts: u64) -> Transaction {
        let fields = vec![
            ("source", Value::text("bench")),
            ("rows_root", Value::bytes(&sha256(&[&accounts.to_be_bytes()]))),
            ("count", Value::Uint(accounts)),
            ("total_minor", Value::Uint(0)),
            ("licence", Value::text("as published")),
            ("format", Value::text("payments")),
            ("strict", Value::Bool(false)),
            ("period_end", Value::text(&self.day)),
        ];
        self.sign("import_open", "IMPORT", fields, false)
    }

    fn programme(&self, number: u64) -> Transaction {
        let own = || Value::text("data");
        let fields = vec![
            ("mode", Value::text("historical")),
            ("currency", Value::text("CNY")),
            ("purpose", Value::text("import")),
            ("years", Value::Array(vec![Value::Uint(YEAR)])),
            ("legal_ref", Value::text("bench")),
            ("owner", own()),
            ("finance", own()),
            ("bank", own()),
            ("supervisor", own()),
            ("scope", Value::text("bench")),
        ];
        self.sign("programme_open", &format!("P{number}"), fields, true)
    }

    /// One of many accounts for returned money, told apart by what it is earmarked for.
    fn account(&self, number: u64) -> Transaction {
        let fields = vec![
            ("account_kind", Value::text("RETURNED")),
            ("programme", reference(&format!("P{}", number / ACCOUNTS_PER_PROGRAMME))),
            ("agency", Value::text("data")),
            ("year", Value::Uint(YEAR)),
            ("earmark", Value::text(&format!("e{number}"))),
        ];
        self.sign("account_open", &format!("A{number}"), fields, true)
    }
}

fn record_id(text: &str) -> RecordId {
    parse_id(text).expect("ids of the bench are short names")
}

fn reference(id: &str) -> Value {
    Value::Array(vec![Value::text("data"), Value::bytes(&record_id(id))])
}

fn key(path: &Path) -> Result<SigningKey, String> {
    let file = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    key_file::read(&file, None).map_err(|error| format!("{}: {error}", path.display()))
}

/// Executes blocks of new accounts, each final by the only member's signature. Height and leaves at the end.
fn fill(dir: &Path, giver: &Path, accounts: u64) -> Result<(u64, u64), String> {
    let bytes = std::fs::read(dir.join("genesis.json")).map_err(text)?;
    let genesis = Genesis::parse(&bytes).map_err(text)?;
    let foundation = Foundation::of(&genesis.founding).map_err(text)?;
    let store = Arc::new(Store::open(&giver.join("data"), &foundation, &Settings::default()).map_err(text)?);
    let executor = Executor::new(Arc::clone(&store), genesis.founding.network.clone());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(text)?;
    let now_ms = u64::try_from(now.as_millis()).map_err(text)?;
    let importer = Importer {
        origin: genesis.origin.clone(),
        key: key(&dir.join("keys/data-importer-1.pem"))?,
        expires_at: now_ms + LIFE_MS,
        day: Day::at(now_ms - 2 * 86_400_000, 0).to_string(),
    };
    let supervisor = key(&dir.join("keys/market-supervisor-1.pem"))?;
    // Blocks of the past: the network's next one comes after them.
    let blocks = accounts.div_ceil((BATCH_RECORDS * BLOCK_BATCHES) as u64) + 8;
    let mut filling = Filling {
        chain: genesis.hash,
        consensus: key(&giver.join("keys/consensus.pem"))?,
        signers: [importer.key.public(), supervisor.public()],
        time_ms: now_ms - blocks * BLOCK_INTERVAL_MS,
        store: Arc::clone(&store),
        executor,
    };
    let opening = importer.opening(accounts);
    let approval = vec![("waiting", reference("IMPORT")), ("digest", Value::bytes(&opening.id()))];
    filling.block(&[opening])?;
    filling.block(&[importer.sign_as(("market", &supervisor), "approve", "APPROVE", approval)])?;
    let programmes: Vec<Transaction> =
        (0..accounts.div_ceil(ACCOUNTS_PER_PROGRAMME)).map(|number| importer.programme(number)).collect();
    filling.block(&programmes)?;
    let numbers: Vec<u64> = (0..accounts).collect();
    for chunk in numbers.chunks(BATCH_RECORDS * BLOCK_BATCHES) {
        let signed: Vec<Transaction> = chunk.par_iter().map(|number| importer.account(*number)).collect();
        filling.block(&signed)?;
    }
    let tip = store.tip();
    store.close().map_err(text)?;
    Ok((tip.height, tip.state_size))
}

struct Filling {
    chain: [u8; 32],
    consensus: SigningKey,
    /// Officers.
    signers: [PublicKey; 2],
    time_ms: u64,
    store: Arc<Store>,
    executor: Executor,
}

impl Filling {
    fn block(&mut self, records: &[Transaction]) -> Result<(), String> {
        let tip = self.store.tip();
        self.time_ms += BLOCK_INTERVAL_MS;
        let position = tip.lanes.first().copied().unwrap_or_default();
        let batches: Vec<HeldBatch> = (position.next_seq..)
            .zip(records.chunks(BATCH_RECORDS))
            .map(|(seq, chunk)| {
                let bytes: usize = chunk.iter().map(|one| one.bytes().len() + 4).sum();
                let candidates = chunk.iter().map(|one| Candidate {
                    transaction: Arc::new(one.clone()),
                    // Signed here a moment ago: the door inside the block need not check it once more.
                    verified_with: self.signers.iter().find(|key| key.key_id() == one.key_id()).copied(),
                });
                let reference = Reference {
                    author: 0,
                    run: position.run,
                    seq,
                    records: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
                    bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                    hash: sha256(&[&tip.height.to_be_bytes(), &seq.to_be_bytes()]),
                };
                HeldBatch { reference, candidates: candidates.collect() }
            })
            .collect();
        let (height, turn) = (tip.height + 1, tip.turn + 1);
        let build = Build {
            turn,
            parent: tip.id,
            height,
            parent_turn: tip.turn,
            proposer: 0,
            time_ms: self.time_ms,
            max_records: u64::MAX,
            max_bytes: u64::MAX,
        };
        let header = self.executor.build(&build, &batches).map_err(text)?.header;
        if usize::try_from(header.entry_count) != Ok(records.len()) {
            return Err(format!("block {height} holds {} of {} records", header.entry_count, records.len()));
        }
        let block = header.id();
        if let Some(rejected) = self.executor.pending(&block).and_then(|pending| {
            let rejected = pending.outcomes.iter().find(|record| record.outcome != 0);
            rejected.map(|record| format!("{} MZ-{}: {}", record.record_type, record.outcome, record.detail))
        }) {
            return Err(format!("block {height}: {rejected}"));
        }
        let signature = self.consensus.sign(&confirm_bytes(&self.chain, 0, turn, height, &block));
        let signers = Signers::new([(0, signature)]);
        let certificate = FinalCert { epoch: 0, turn, height, block, signers };
        self.executor.commit(&[block], &certificate).map(drop).map_err(text)
    }
}
