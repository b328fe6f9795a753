//! What an operator can get wrong with one node: each mistake ends with one coded sentence and the documented exit
//! status, and never with words of the programming language.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mingzhang_tests::assured;
use mingzhang_tests::world::{Told, World, command, run};

/// Longest sentence that an error may be.
const MAX_SENTENCE: usize = 600;

/// A copy of a node's folder whose files a test may spoil. The store and the ports stay the original's.
struct Copy {
    folder: tempfile::TempDir,
    original: PathBuf,
}

impl Copy {
    fn of(world: &World, agency: &str) -> Self {
        let original = world.path().join("nodes").join(agency);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = Self { folder, original };
        std::fs::create_dir(copy.path("keys")).expect("an empty folder");
        for name in ["consensus", "sealing", "peer"] {
            let file = format!("keys/{name}.pem");
            std::fs::copy(copy.original.join(&file), copy.path(&file)).expect("a key file");
        }
        for name in ["genesis.json", "genesis-proofs.json", "seeds.toml"] {
            std::fs::copy(world.path().join(name), copy.path(name)).expect("a public file");
        }
        let mut config = copy.config();
        for (key, name) in [
            ("genesis_file", "genesis.json"),
            ("genesis_proofs_file", "genesis-proofs.json"),
            ("seeds_file", "seeds.toml"),
            ("keys_directory", "keys"),
        ] {
            config.insert(key.into(), copy.path(name).display().to_string().into());
        }
        config.insert("data_directory".into(), copy.original.join("data").display().to_string().into());
        copy.write(&config);
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> toml::Table {
        let own = self.path("node.toml");
        let file = if own.exists() { own } else { self.original.join("node.toml") };
        std::fs::read_to_string(file).expect("a configuration").parse().expect("TOML")
    }

    fn write(&self, config: &toml::Table) {
        std::fs::write(self.path("node.toml"), config.to_string()).expect("written");
    }

    /// With one key of the configuration set.
    fn set(self, key: &str, value: impl Into<toml::Value>) -> Self {
        let mut config = self.config();
        config.insert(key.into(), value.into());
        self.write(&config);
        self
    }

    /// With one file put in the place of another.
    fn put(self, from: &Path, name: &str) -> Self {
        std::fs::copy(from, self.path(name)).expect("copied");
        self
    }

    /// On ports that are free for a moment.
    fn elsewhere(self) -> Self {
        let listeners = [0; 3].map(|_: u8| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [api, ops, peer] = listeners.map(|listener| listener.local_addr().expect("bound").to_string());
        self.set("api_listen", api).set("ops_listen", ops).set("peer_listen", peer)
    }

    /// With an empty store of its own.
    fn afresh(self) -> Self {
        let data = self.path("data").display().to_string();
        self.set("data_directory", data)
    }

    fn run(&self) -> Told {
        self.ask(&["run"])
    }

    /// A command about this node.
    fn ask(&self, command: &[&str]) -> Told {
        let config = self.path("node.toml").display().to_string();
        let arguments = [&["--json", "--lang", "en", "--no-input"], command, &["--config", &config]].concat();
        run("mingzhang-node", &arguments, self.folder.path())
    }
}

/// Notes every mistake that was not answered as it should be.
#[derive(Default)]
struct Verdicts {
    wrong: String,
    count: usize,
}

impl Verdicts {
    fn check(&mut self, what: &str, told: &Told, code: &str, exit: i32) {
        self.count += 1;
        let detail = told.json["errors"][0]["detail"].as_str().unwrap_or("");
        let foreign = ["panicked", "RUST_BACKTRACE", "unwrap", "Err(", "stack backtrace", ".rs:"];
        let spoken = format!("{} {}", told.json, told.stderr);
        let clear = !detail.is_empty() && detail.len() <= MAX_SENTENCE && !detail.contains('\n');
        let right = told.code() == code && told.exit == Some(exit) && clear;
        if !right || foreign.iter().any(|word| spoken.contains(word)) {
            writeln!(self.wrong, "{what}: wanted {code} and exit {exit}, got exit {:?}\n  {spoken}", told.exit)
                .expect("writing to a string cannot fail");
        }
    }
}

#[test]
fn mistakes_of_an_operator_end_in_one_sentence() {
    let world = World::start(1);
    let copy = || Copy::of(&world, "approval");
    let mut verdicts = Verdicts::default();
    verdicts.check("the same node again", &copy().run(), "MZ-5015", 7);
    verdicts.check("port taken", &copy().afresh().run(), "MZ-5007", 2);
    let peer = copy().config().get("peer_listen").cloned().expect("a port");
    let told = copy().afresh().elsewhere().set("peer_listen", peer).run();
    verdicts.check("peer port taken", &told, "MZ-5007", 2);
    assert!(detail(&told).contains("in use"), "the system's reason is said: {}", told.json);
    verdicts.check("store in use", &copy().elsewhere().run(), "MZ-5015", 7);
    verdicts.check("unknown key", &copy().set("min_block_interval_ms", 5).run(), "MZ-5008", 2);
    verdicts.check("out of range", &copy().set("mempool_bytes", 1).run(), "MZ-5009", 2);
    let broken = copy();
    std::fs::write(broken.path("node.toml"), "agency = \"approval\"\n\n[[").expect("written");
    verdicts.check("no TOML", &broken.run(), "MZ-5009", 2);
    verdicts.check("no seat", &copy().set("agency", "town").run(), "MZ-5009", 2);
    let exchanged = copy();
    let sealing = exchanged.path("keys/sealing.pem");
    verdicts.check("another key", &exchanged.put(&sealing, "keys/consensus.pem").run(), "MZ-5005", 4);
    let exposed = copy();
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(exposed.path("keys/consensus.pem"), open).expect("own file");
    verdicts.check("key file open to all", &exposed.run(), "MZ-5019", 4);
    let keyless = copy();
    std::fs::remove_file(keyless.path("keys/peer.pem")).expect("removed");
    verdicts.check("no key file", &keyless.run(), "MZ-2011", 2);
    let bare = copy();
    std::fs::write(bare.path("node.toml"), "observer = false\nagency = approval\n").expect("written");
    verdicts.check("a text without quotation marks", &bare.run(), "MZ-5009", 2);
    assert!(detail(&bare.run()).contains("line 2, agency: "), "{}", bare.run().json);
    verdicts.check("agency id", &copy().set("agency", "Civil Affairs").ask(&["config", "check"]), "MZ-5009", 2);
    let spoilt = copy();
    std::fs::write(spoilt.path("genesis.json"), "{\"format\":").expect("written");
    verdicts.check("damaged genesis", &spoilt.run(), "MZ-5018", 2);
    let absent = copy();
    std::fs::remove_file(absent.path("genesis.json")).expect("removed");
    verdicts.check("no genesis", &absent.run(), "MZ-2011", 2);
    let nowhere = ["--json", "run", "--config", "/nowhere/node.toml"];
    verdicts.check("no configuration", &run("mingzhang-node", &nowhere, &world.home()), "MZ-2011", 2);
    let told = run("mingzhang-node", &["--lang", "en", "run", "--config", "/nowhere/node.toml"], &world.home());
    assert!(told.stderr.contains("fix: ") && told.stderr.lines().all(|line| line.len() <= 80), "{}", told.stderr);
    verdicts.check("no such command", &run("mingzhang-node", &["--json", "rnu"], &world.home()), "MZ-2012", 2);
    clients_mistakes(&world, &mut verdicts);
    what_key_status_says(&copy);
    drop(world);
    other_network(&mut verdicts);
    println!("{} mistakes of operators and clerks, each named", verdicts.count);
    assured::count("bad_inputs", "mistakes of operators and clerks, each named in one sentence", verdicts.count);
    assert!(verdicts.wrong.is_empty(), "{}", verdicts.wrong);
}

fn detail(told: &Told) -> &str {
    told.json["errors"][0]["detail"].as_str().unwrap_or_default()
}

/// It goes on where one file is missing or open to all, and compares nothing that the genesis does not tell.
fn what_key_status_says(copy: &dyn Fn() -> Copy) {
    let good = copy();
    let told = good.ask(&["key", "status"]);
    assert_eq!(
        (told.exit, told.json["data"]["keys"][2]["registered"].as_bool()),
        (Some(0), Some(true)),
        "{}",
        told.json
    );
    let config = good.path("node.toml").display().to_string();
    let text = command("mingzhang-node", good.folder.path())
        .args(["--lang", "en", "key", "status", "--config", &config])
        .output()
        .expect("the program is built");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert_eq!(text.matches("NOT encrypted, registered").count(), 3, "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let poor = copy();
    std::fs::remove_file(poor.path("keys/consensus.pem")).expect("removed");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(poor.path("keys/sealing.pem"), open).expect("own file");
    let told = poor.ask(&["key", "status"]);
    let keys = told.json["data"]["keys"].as_array().expect("all three").clone();
    assert_eq!((told.code(), keys.len()), ("MZ-2011", 3), "{}", told.json);
    assert!(keys[0]["error"].is_string() && keys[1]["error"].is_string() && keys[2]["registered"] == true, "{keys:?}");
    let other = copy().set("joined_later", true);
    let sealing = other.path("keys/sealing.pem");
    let other = other.put(&sealing, "keys/consensus.pem");
    let told = other.ask(&["key", "status"]);
    assert_eq!(told.exit, Some(0), "a key that came later is in no genesis: {}", told.json);
}

/// Command, code and exit status of what needs no record.
const CLERKS_MISTAKES: [(&str, &[&str], &str, i32); 8] = [
    ("a code that does not exist", &["explain", "MZ-9999"], "MZ-2012", 2),
    ("no code at all", &["explain", "abc"], "MZ-2012", 2),
    ("a language that there is not", &["--lang", "fr", "version"], "MZ-2012", 2),
    ("no such file", &["verify", "receipt", "/nowhere"], "MZ-2011", 2),
    ("a receipt that is no text", &["verify", "receipt", "/bin/sh"], "MZ-4101", 8),
    ("no transaction", &["tx", "status", "a/b/c"], "MZ-2012", 2),
    ("no key of that name", &["audit", "trail", "officer", "nobody"], "MZ-2012", 2),
    ("no pseudonym", &["audit", "trail", "recipient", "li-lei"], "MZ-2012", 2),
];

/// The client's own refusals have a code as the ledger's have, also where the parser or a file speaks.
fn clients_mistakes(world: &World, verdicts: &mut Verdicts) {
    let anchor = ["record", "document_anchor", "--kind", "minutes", "--id", "X", "--root"];
    let root = "1".repeat(64);
    let no_key = [&anchor[..], &[root.as_str(), "--key", "nobody"]].concat();
    verdicts.check("no such officer's key", &world.client(&no_key), "MZ-5005", 4);
    let short = [&anchor[..], &["12", "--key", "civil-window-1"]].concat();
    let told = world.client(&short);
    assert_eq!(told.exit, Some(2), "a hash that is too short: {} {}", told.json, told.stderr);
    let unreachable = ["--node", "http://127.0.0.1:9", "query", "record", "civil/X"];
    verdicts.check("nobody listens there", &world.client(&unreachable), "MZ-2007", 7);
    let long = [&anchor[..], &[root.as_str(), "--key", "civil-window-1", "--wait", "5x"]].concat();
    verdicts.check("a duration that is none", &world.client(&long), "MZ-2012", 2);
    let nameless = ["record", "document_anchor", "--kind", "minutes", "--root", &root, "--id", "x y"];
    let nameless = [&nameless[..], &["--key", "civil-window-1"]].concat();
    verdicts.check("an id that is none", &world.client(&nameless), "MZ-2012", 2);
    let nowhere = run("mingzhang", &["--json", "--context", "nope", "query", "status"], &world.home());
    verdicts.check("no such context", &nowhere, "MZ-2011", 2);
    for (what, arguments, code, exit) in CLERKS_MISTAKES {
        verdicts.check(what, &world.client(arguments), code, exit);
    }
}

/// Spoils the middle of every table file of a store that was closed in good order.
fn damage(store: &Path) {
    let files = std::fs::read_dir(store).expect("a store").map(|entry| entry.expect("an entry").path());
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "sst")) {
        let mut bytes = std::fs::read(&file).expect("a table file");
        let middle = bytes.len() / 3;
        bytes.iter_mut().skip(middle).take(64).for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&file, bytes).expect("written");
    }
}

/// A node of one network with the genesis, the keys or the store of another.
fn other_network(verdicts: &mut Verdicts) {
    let first = World::start(1);
    let first_hash = first.genesis_hash();
    let first_genesis = std::fs::read(first.path().join("genesis.json")).expect("a genesis");
    let kept = tempfile::tempdir().expect("a temporary folder");
    let genesis = kept.path().join("genesis.json");
    std::fs::write(&genesis, first_genesis).expect("written");
    let seeds = kept.path().join("seeds.toml");
    std::fs::copy(first.path().join("seeds.toml"), &seeds).expect("copied");
    assert_eq!(first.down().exit, Some(0));
    let store = kept.path().join("data");
    std::fs::rename(first.path().join("nodes/approval/data"), &store).expect("the store is moved");
    drop(first);
    let second = World::start(1);
    let copy = || Copy::of(&second, "approval").elsewhere();
    verdicts.check("genesis of another network", &copy().put(&genesis, "genesis.json").run(), "MZ-5026", 2);
    let foreign_seeds = copy().put(&seeds, "seeds.toml").ask(&["config", "check"]);
    verdicts.check("seeds of another network", &foreign_seeds, "MZ-5016", 2);
    let lonely = copy();
    std::fs::remove_file(lonely.path("genesis.json")).expect("removed");
    let told = lonely.ask(&["config", "check"]);
    assert_eq!(told.data()["not_checked"].as_array().map(Vec::len), Some(3), "{}", told.json);
    assert_eq!(copy().ask(&["config", "check"]).data()["not_checked"].as_array().map(Vec::len), Some(0));
    let other_store = copy().set("data_directory", store.display().to_string());
    verdicts.check("store of another network", &other_store.run(), "MZ-5004", 2);
    damage(&store);
    let damaged = copy().put(&genesis, "genesis.json").set("data_directory", store.display().to_string());
    let told = damaged.ask(&["store", "check"]);
    verdicts.check("damaged store", &told, "MZ-5011", 7);
    let spoken = format!("{} {}", detail(&told), told.json["errors"][0]["fix"]);
    assert!(!spoken.contains("store check") && spoken.contains("move data away"), "{spoken}");
    let asked = ["--genesis", &genesis.display().to_string(), "query", "record", "civil/X"];
    verdicts.check("a client with the genesis of another network", &second.client(&asked), "MZ-4001", 2);
    // A context of the first network with the address of a node of the second.
    let text = std::fs::read_to_string(second.path().join("context.toml")).expect("a context");
    let mut context: toml::Table = text.parse().expect("TOML");
    context.insert("genesis_file".into(), genesis.display().to_string().into());
    context.insert("genesis_hash".into(), first_hash.into());
    let file = kept.path().join("other.toml");
    std::fs::write(&file, context.to_string()).expect("written");
    let told =
        run("mingzhang", &["--json", "--context", &file.display().to_string(), "query", "block", "1"], kept.path());
    verdicts.check("a node of another network", &told, "MZ-2009", 2);
}

/// Two nodes that cannot start stop the other two: the one that ended is named, at once, not one that waits for it.
#[test]
fn a_devnet_that_is_not_ready_names_a_node_that_ended_and_why() {
    let mut world = World::start(4);
    assert_eq!(world.down().exit, Some(0));
    let dir = world.path().display().to_string();
    let spoilt: Vec<(PathBuf, String)> = ["civil", "data"]
        .map(|agency| world.node_folder(agency).join("node.toml"))
        .map(|file| (file.clone(), std::fs::read_to_string(&file).expect("readable")))
        .into();
    for (file, text) in &spoilt {
        std::fs::write(file, format!("{text}\ncolour = 1\n")).expect("written");
    }
    let started = Instant::now();
    let told = world.node(&["devnet", "up", "--dir", &dir]);
    assert_eq!((told.exit, told.code()), (Some(7), "MZ-5027"), "{}", told.json);
    let detail = detail(&told);
    assert!(detail.starts_with("civil: the node ended") && detail.contains("colour"), "{detail}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    for (file, text) in &spoilt {
        std::fs::write(file, text).expect("written");
    }
    assert_eq!(world.node(&["devnet", "up", "--dir", &dir]).exit, Some(0));
    // Nobody lets this one in before its seat is agreed: it runs, and is not called ready.
    world.make("audit");
    let words = ["--lang", "en", "devnet", "up", "--only", "audit", "--dir", &dir];
    let told = command("mingzhang-node", &world.home()).args(words).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.status.code(), Some(0), "{text}");
    assert!(text.contains("let in by the members once its seat is agreed: audit"), "{text}");
    assert!(!text.contains("ready after"), "{text}");
}
