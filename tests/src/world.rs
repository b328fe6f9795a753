//! A devnet of the real binaries in a folder of its own: started, asked, hurt, resumed, and stopped when dropped. What is
//! asked of it is the tests' matter.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mingzhang_ledger::codec::Value as Cbor;
use mingzhang_ledger::crypto::{SigningKey, key_file};
use mingzhang_ledger::state::key;
use mingzhang_ledger::transaction::{Payload, Transaction};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// One devnet at a time: the nodes of one already fill a small machine.
static TURN: Mutex<()> = Mutex::new(());
/// Longest time that a condition may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one request to a node may wait there.
const WAIT_S: u64 = 20;
/// How long a signed record stays valid.
const LIFE_MS: u64 = 3_600_000;
/// Where the tests' ports begin, and how they are parted among devnets of up to ten agencies; all lie below the ports
/// that systems hand out by themselves.
const FIRST_PORT: u32 = 12_000;
const PORTS_IN_RANGE: u32 = 100;
const PORT_RANGES: u32 = 200;
/// How many ranges are tried before a start is given up.
const PORT_TRIES: usize = 10;
/// Lines of each node's log that a failing test shows.
const LOG_LINES: &str = "15";

/// Where a node's public interface is.
#[derive(Debug, Clone)]
pub struct Seat {
    pub agency: String,
    pub url: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Told {
    pub exit: Option<i32>,
    /// The envelope on stdout.
    pub json: Value,
    pub stderr: String,
}

impl Told {
    /// The code of the first error, such as `MZ-1015`.
    pub fn code(&self) -> &str {
        self.json["errors"][0]["code"].as_str().unwrap_or("")
    }

    pub fn data(&self) -> &Value {
        &self.json["data"]
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code(),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// An officer's key of a devnet.
pub struct Officer {
    pub agency: String,
    pub key: SigningKey,
}

impl Officer {
    pub fn key_id(&self) -> String {
        hex::encode(self.key.public().key_id())
    }

    /// A transaction of this officer, good for an hour.
    pub fn sign(&self, origin: &str, record_type: &str, id: &str, body: Vec<(&str, Cbor)>) -> Transaction {
        let payload = self.payload(origin, record_type, id, body);
        Transaction::sign(&payload, &self.key).expect("a small payload signs")
    }

    pub fn payload(&self, origin: &str, record_type: &str, id: &str, body: Vec<(&str, Cbor)>) -> Payload {
        Payload {
            origin: origin.into(),
            record_type: record_type.into(),
            record_id: key::parse_id(id).expect("a record id"),
            agency: self.agency.as_str().into(),
            expires_at: mingzhang_client::submit::now_ms() + LIFE_MS,
            body: Cbor::text_map(body),
        }
    }

    /// A record that any officer may file.
    pub fn anchor(&self, origin: &str, id: &str, root: u8) -> Transaction {
        self.sign(origin, "document_anchor", id, anchor_body(root))
    }
}

pub fn anchor_body(root: u8) -> Vec<(&'static str, Cbor)> {
    vec![("root", Cbor::bytes(&[root; 32])), ("kind", Cbor::text("minutes"))]
}

/// A node that was started by hand.
pub struct Running(Child);

impl Running {
    /// Sends a signal to this very process.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a running process has an id");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("a node could not be sent {signal:?}: {error}"));
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("the state of an own process can be asked").is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = ended {
            eprintln!("a node could not be ended: {error}");
        }
    }
}

fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own file");
    // Programs lie beside the binaries, tests a folder below.
    let folders = own.ancestors().skip(1).take(2);
    let beside = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    beside.unwrap_or_else(|| panic!("{name} lies not beside {}; build both binaries first", own.display()))
}

/// One of the two binaries, which lie beside the test's own, with nothing of this machine's settings.
pub fn command(binary: &str, home: &Path) -> Command {
    let mut command = Command::new(self::binary(binary));
    command.env("MINGZHANG_HOME", home).env_remove("MINGZHANG_CONTEXT").env_remove("MINGZHANG_NODE");
    command
}

/// Runs one of the two binaries to its end.
pub fn run(binary: &str, arguments: &[&str], home: &Path) -> Told {
    let output = command(binary, home).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{binary}: {error}; build both binaries first")).into()
}

/// Asks again until there is an answer; panics with what was waited for.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
    }
}

/// The alarms of a node's status, but for this machine's disk, which tests share with everything else.
pub fn alarms(status: &Value) -> Vec<String> {
    let all = status["alarms"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.filter(|alarm| !alarm.contains("of the disk are free")).map(str::to_owned).collect()
}

/// A running devnet.
pub struct World {
    folder: TempDir,
    pub seats: Vec<Seat>,
    pub origin: String,
    http: reqwest::blocking::Client,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Starts a new network.
    pub fn start(agencies: usize) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::new().expect("a temporary folder");
        let mut world = Self { folder, seats: Vec::new(), origin: String::new(), http: client(), _turn: turn };
        let told = world.up_somewhere(agencies);
        assert_eq!(told.exit, Some(0), "devnet up: {} {}", told.json, told.stderr);
        world.origin = told.data()["network"].as_str().expect("the network's name").to_owned();
        let seats = told.data()["agencies"].as_array().expect("the agencies");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        world.seats =
            seats.iter().map(|seat| Seat { agency: text(&seat["agency_id"]), url: text(&seat["api"]) }).collect();
        assert_eq!(world.seats.len(), agencies);
        world
    }

    /// Starts on ports of its own, away from the usual ones: there, a devnet that somebody else starts meanwhile would
    /// take the ports of a node that a test has killed.
    fn up_somewhere(&self, agencies: usize) -> Told {
        let mut last = None;
        for _ in 0..PORT_TRIES {
            let range = getrandom::u32().expect("randomness") % PORT_RANGES;
            let base = (FIRST_PORT + range * PORTS_IN_RANGE).to_string();
            let agencies = agencies.to_string();
            let told =
                self.node(&["devnet", "up", "--agencies", &agencies, "--base-port", &base, "--dir", &self.dir()]);
            if told.code() != "MZ-5007" {
                return told;
            }
            last = Some(told);
        }
        last.expect("at least one try")
    }

    /// The folder that holds everything of this network.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    fn dir(&self) -> String {
        self.path().display().to_string()
    }

    /// 64 hex digits.
    pub fn genesis_hash(&self) -> String {
        let (_, status) = self.get(&self.seats[0], "/status").expect("the node answers");
        status["genesis_hash"].as_str().expect("a hash").trim_start_matches("sha256:").to_owned()
    }

    /// What belongs to one agency's node: configuration, keys, data, log.
    pub fn node_folder(&self, agency: &str) -> PathBuf {
        self.path().join("nodes").join(agency)
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// `mingzhang-node --json …`
    pub fn node(&self, arguments: &[&str]) -> Told {
        run("mingzhang-node", &[&["--json", "--lang", "en"][..], arguments].concat(), &self.home())
    }

    /// `mingzhang --json …` in this network's context.
    pub fn client(&self, arguments: &[&str]) -> Told {
        let context = self.path().join("context.toml").display().to_string();
        run("mingzhang", &[&["--context", &context, "--json", "--lang", "en"][..], arguments].concat(), &self.home())
    }

    /// A document of the civil affairs office by the client, final; its transaction's id.
    pub fn document(&self, id: &str) -> String {
        let root = "a".repeat(64);
        let named = ["record", "document_anchor", "--id", id, "--root", &root, "--kind", "minutes"];
        let told = self.client(&[&named[..], &["--key", "civil-window-1", "--wait", "60s"]].concat());
        assert_eq!(told.exit, Some(0), "{id}: {} {}", told.json, told.stderr);
        told.data()["tx_id"].as_str().expect("a transaction").to_owned()
    }

    /// An officer by key file, such as `civil-window-1`.
    pub fn officer(&self, name: &str) -> Officer {
        let path = self.path().join("keys").join(format!("{name}.pem"));
        let text = std::fs::read_to_string(&path).expect("the devnet wrote its officers' keys");
        let (agency, _) = name.split_once('-').expect("AGENCY-ROLE-NUMBER");
        Officer { agency: agency.to_owned(), key: key_file::read(&text, None).expect("a test key in clear") }
    }

    pub fn seat(&self, agency: &str) -> &Seat {
        self.seats.iter().find(|seat| seat.agency == agency).expect("an agency with a node")
    }

    /// Sends a signal such as -STOP to a node's process.
    pub fn signal(&self, agency: &str, signal: &str) {
        let told = self.node(&["devnet", "status", "--dir", &self.dir()]);
        let agencies = told.data()["agencies"].as_array().expect("the agencies");
        let seat = agencies.iter().find(|seat| seat["agency_id"] == agency).expect("an agency with a node");
        let pid = seat["pid"].as_u64().expect("a running node has a process id").to_string();
        // The shell's own: a small system has no program of that name.
        let sent =
            Command::new("sh").args(["-c", "kill \"$1\" \"$2\"", "kill", signal, &pid]).status().expect("a shell");
        assert!(sent.success(), "{agency}'s node {pid} could not be sent {signal}");
    }

    /// Runs a node by hand, without waiting for anything; it ends with what is returned. Its log is where it always is.
    pub fn spawn(&self, config: &str, arguments: &[&str]) -> Running {
        let log = Path::new(config).with_file_name("node.log");
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a log");
        let child = Command::new(binary("mingzhang-node"))
            .args(["run", "--config", config])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Running(child.expect("the node can be run"))
    }

    /// Ends a node's process without any warning.
    pub fn kill(&self, agency: &str) {
        self.signal(agency, "-KILL");
        until("the killed node to be gone", || {
            let told = self.node(&["devnet", "status", "--dir", &self.dir()]);
            let agencies = told.data()["agencies"].as_array()?;
            agencies.iter().any(|seat| seat["agency_id"] == agency && seat["state"] == "stopped").then_some(())
        });
    }

    /// Makes and starts a node for a registered agency that has none. It has no seat yet.
    pub fn add(&mut self, agency: &str) {
        self.make(agency);
        self.resume(agency);
    }

    /// Makes a node for a registered agency that has none, and starts nothing.
    pub fn make(&mut self, agency: &str) {
        let told = self.node(&["devnet", "add", "--dir", &self.dir(), agency]);
        assert_eq!(told.exit, Some(0), "devnet add: {} {}", told.json, told.stderr);
        let url = told.data()["api"].as_str().expect("an address").to_owned();
        self.seats.push(Seat { agency: agency.to_owned(), url });
    }

    /// The configuration file of an agency's node.
    pub fn config_of(&self, agency: &str) -> String {
        self.path().join("nodes").join(agency).join("node.toml").display().to_string()
    }

    /// Starts a node again and waits until it takes part.
    pub fn resume(&self, agency: &str) {
        let told = self.node(&["devnet", "up", "--only", agency, "--dir", &self.dir()]);
        assert_eq!(told.exit, Some(0), "{agency} does not come back: {} {}", told.json, told.stderr);
    }

    pub fn down(&self) -> Told {
        self.node(&["devnet", "down", "--dir", &self.dir()])
    }

    /// What the node of an agency raises the alarm for, but for this machine's disk.
    pub fn alarms(&self, agency: &str) -> Option<Vec<String>> {
        Some(alarms(&self.get(self.seat(agency), "/status")?.1))
    }

    /// HTTP status and JSON; none if the node does not answer.
    pub fn get(&self, seat: &Seat, path: &str) -> Option<(u16, Value)> {
        let reply = self.http.get(format!("{}/api/v1{path}", seat.url)).send().ok()?;
        let status = reply.status().as_u16();
        Some((status, serde_json::from_str(&reply.text().ok()?).unwrap_or(Value::Null)))
    }

    /// What the operators' listener says, one port above the public one.
    pub fn ops(&self, seat: &Seat, path: &str) -> Option<(u16, String)> {
        let (host, port) = seat.url.rsplit_once(':')?;
        let port = port.parse::<u16>().ok()?.checked_add(1)?;
        let reply = self.http.get(format!("{host}:{port}{path}")).send().ok()?;
        Some((reply.status().as_u16(), reply.text().ok()?))
    }

    /// What a reader of Chinese is told.
    pub fn get_in_chinese(&self, seat: &Seat, path: &str) -> Option<(u16, Value)> {
        let request = self.http.get(format!("{}/api/v1{path}", seat.url)).header("accept-language", "en;q=0.5, zh-CN");
        let reply = request.send().ok()?;
        let status = reply.status().as_u16();
        Some((status, serde_json::from_str(&reply.text().ok()?).unwrap_or(Value::Null)))
    }

    /// The status that a HEAD is answered with.
    pub fn head(&self, seat: &Seat, path: &str) -> Option<u16> {
        Some(self.http.head(format!("{}/api/v1{path}", seat.url)).send().ok()?.status().as_u16())
    }

    pub fn post(&self, seat: &Seat, path: &str, bytes: &[u8], wait_s: u64) -> Option<(u16, Value)> {
        let request = self.http.post(format!("{}/api/v1{path}", seat.url)).header("prefer", format!("wait={wait_s}"));
        let reply = request.header("content-type", "application/cose").body(bytes.to_vec()).send().ok()?;
        let status = reply.status().as_u16();
        Some((status, serde_json::from_str(&reply.text().ok()?).unwrap_or(Value::Null)))
    }

    pub fn height(&self, seat: &Seat) -> u64 {
        let (_, status) = self.get(seat, "/status").expect("the node answers");
        status["height"].as_u64().expect("a height")
    }

    /// Where a transaction is final on a node, waiting for it: height and index.
    pub fn place(&self, seat: &Seat, tx_id: &str) -> (u64, u64) {
        until(&format!("{tx_id} on {}", seat.agency), || {
            let (_, status) = self.get(seat, &format!("/transactions/{tx_id}/status?wait={WAIT_S}"))?;
            Some((status["height"].as_u64()?, status["index"].as_u64()?))
        })
    }

    /// Ids of the blocks from 1 to a height.
    pub fn header_ids(&self, seat: &Seat, height: u64) -> Vec<String> {
        let id = |height: u64| {
            let (_, header) = self.get(seat, &format!("/blocks/{height}")).expect("the node answers");
            header["id"].as_str().unwrap_or_else(|| panic!("{} has no block {height}", seat.agency)).to_owned()
        };
        (1..=height).map(id).collect()
    }

    /// All nodes have the same blocks up to a height.
    pub fn assert_one_chain(&self, height: u64) {
        let ids: Vec<_> = self.seats.iter().map(|seat| self.header_ids(seat, height)).collect();
        for (seat, theirs) in self.seats.iter().zip(&ids) {
            assert_eq!(Some(theirs), ids.first(), "{} and {} differ", seat.agency, self.seats[0].agency);
        }
    }

    /// Waits until a final transaction is under a sealed checkpoint of a node.
    pub fn sealed(&self, seat: &Seat, tx_id: &str) {
        until("the seals", || {
            let (status, _) = self.get(seat, &format!("/transactions/{tx_id}/receipt?wait={WAIT_S}"))?;
            (status == 200).then_some(())
        });
    }
}

fn client() -> reqwest::blocking::Client {
    let tls = mingzhang_client::tls::settings(&[]).expect("no roots are needed");
    let builder = reqwest::blocking::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    builder.timeout(Duration::from_secs(90)).build().expect("a client")
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = self.node(&["devnet", "logs", "--lines", LOG_LINES, "--dir", &self.dir()]);
            for log in told.data()["logs"].as_array().into_iter().flatten() {
                eprintln!("== {}", log["agency_id"]);
                log["lines"].as_array().into_iter().flatten().for_each(|line| eprintln!("{line}"));
            }
        }
        let told = self.down();
        if told.exit != Some(0) {
            eprintln!("devnet down: {} {}", told.json, told.stderr);
        }
    }
}
