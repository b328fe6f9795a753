//! The founding ceremony as operators go through it, with the real program: a mistake is heard by whoever makes it, and
//! the sentence names the contribution, the key or the agency that is meant.

use std::path::{Path, PathBuf};
use std::process::Output;

use mingzhang_tests::world::{Told, command};

const NETWORK: &str = "ledger.example.gov/main";
const ROLES: [(&str, &str); 4] =
    [("finance", "finance"), ("civil", "programme_owner"), ("audit", "supervisor"), ("bank", "agent_bank")];

/// A folder in which agencies prepare their founding.
struct Ceremony {
    folder: tempfile::TempDir,
}

impl Ceremony {
    fn new() -> Self {
        let ceremony = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::write(ceremony.path("words"), "correct horse\n").expect("written");
        ceremony
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// In the folder of the ceremony, with the passphrase on standard input.
    fn node(&self, line: &str, json: bool) -> Output {
        let words = std::fs::File::open(self.path("words")).expect("just written");
        let mut node = command("mingzhang-node", self.folder.path());
        if json {
            node.arg("--json");
        }
        let node = node.args(["--lang", "en", "--passphrase-fd", "0"]).args(line.split_whitespace());
        node.current_dir(self.folder.path()).stdin(words).output().expect("the program is built")
    }

    /// What people read.
    fn text(&self, line: &str) -> String {
        String::from_utf8(self.node(line, false).stdout).expect("text")
    }

    fn done(&self, line: &str) -> Told {
        let told = Told::from(self.node(line, true));
        assert_eq!(told.exit, Some(0), "{line}: {} {}", told.json, told.stderr);
        told
    }

    /// One coded sentence that holds all the words.
    fn refused(&self, line: &str, code: &str, words: &[&str]) {
        let told = Told::from(self.node(line, true));
        let detail = told.json["errors"][0]["detail"].as_str().unwrap_or_default();
        assert_eq!(told.code(), code, "{line}: {} {}", told.json, told.stderr);
        for word in words {
            assert!(detail.contains(word), "{line}: wanted {word:?} in {detail:?}");
        }
    }

    /// The contribution of an agency whose node was made here.
    fn contribution(&self, agency: &str) -> String {
        let (_, role) = ROLES.iter().find(|(name, _)| *name == agency).expect("one of the agencies");
        format!(
            "genesis contribute --config {agency}/node.toml --network {NETWORK} --name {agency} --role {role} \
             --admin-key {agency}/admins/admin-1.pem --admin-key {agency}/admins/admin-2.pem \
             --url https://{agency}.example.gov/ --address /dns/{agency}.example.gov/tcp/8442 --out {agency}.json"
        )
    }

    fn public(&self, file: &str) -> String {
        let text = std::fs::read_to_string(self.path(file)).expect("a key file");
        text.lines().nth(1).and_then(|line| line.strip_prefix("public key ")).expect("its head").to_owned()
    }
}

#[test]
fn a_contribution_is_refused_where_it_is_made() {
    let ceremony = Ceremony::new();
    ceremony.refused("init --dir wrong --agency Civil_Affairs", "MZ-5009", &["Civil_Affairs", "a-z"]);
    assert!(!ceremony.path("wrong").exists(), "nothing is made for a wrong id");
    ceremony.done("init --dir civil --agency civil --with-admin-keys");
    let good = ceremony.contribution("civil");
    let changed = |from: &str, to: &str, words: &[&str]| {
        assert!(good.contains(from), "{from}");
        ceremony.refused(&good.replacen(from, to, 1), "MZ-5032", words);
    };
    changed("--role programme_owner", "--role nonsense", &["no role \"nonsense\"", "programme_owner, finance,"]);
    changed("/dns/civil.example.gov/tcp/8442", "127.0.0.1:19422", &["agency civil", "127.0.0.1:19422", "/ip4/"]);
    let quic = "/dns/civil.example.gov/udp/8442/quic-v1";
    changed("/dns/civil.example.gov/tcp/8442", quic, &[quic, "this build of mingzhang-node has none"]);
    changed("--address /dns/civil.example.gov/tcp/8442", "", &["0 addresses"]);
    changed("https://civil.example.gov/", "foo", &["url \"foo\" of agency civil"]);
    changed("--admin-key civil/admins/admin-2.pem", "", &["1 administrators"]);
    changed("admin-2.pem", "admin-1.pem", &["one key stands in two places", "civil, admin key"]);
    let consensus = ceremony.public("civil/keys/consensus.pem");
    changed("civil/admins/admin-2.pem", &consensus, &["civil, admin key; civil, consensus key"]);
    changed("ledger.example.gov/main", "Main", &["\"Main\" is not host/path"]);
    let without = good.replacen("--config civil/node.toml", "--agency Civil", 1);
    ceremony.refused(&without, "MZ-5032", &["agency id \"Civil\""]);
    assert!(!ceremony.path("civil.json").exists(), "what is refused is not written");
    ceremony.done(&good);
    ceremony.refused(&good, "MZ-5025", &["civil.json", "exists already"]);
    let help = |line: &str| ceremony.text(line).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help("genesis contribute --help").contains("programme_owner, finance, agent_bank"));
    let assemble = help("genesis assemble --help");
    assert!(assemble.contains("min_block_interval, ") && assemble.contains("publicity_days, "), "{assemble}");
    observers_found_nothing(&ceremony);
}

fn observers_found_nothing(ceremony: &Ceremony) {
    let text = ceremony.text("init --dir watch --observer");
    let key = ceremony.public("watch/keys/peer.pem");
    assert!(!text.contains("contribute") && text.contains("observer = true") && text.contains(&key), "{text}");
    let line = ceremony.contribution("civil").replacen("civil/node.toml", "watch/node.toml", 1);
    ceremony.refused(&line, "MZ-2012", &["observer"]);
}

fn spoil(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).expect("a file of the ceremony");
    assert!(text.contains(from), "{from}");
    std::fs::write(file.with_file_name("spoilt.json"), text.replacen(from, to, 1)).expect("written");
}

/// A contribution that was changed on its way: check and approve of its agency refuse, by what differs.
fn who_assembles_adds_nothing(ceremony: &Ceremony, approve: &str) {
    let text = std::fs::read_to_string(ceremony.path("genesis.json")).expect("assembled");
    let mut genesis: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    genesis["recovery"] = serde_json::json!({ "threshold": 1, "keys": [
        { "agency": "finance", "key": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" }
    ] });
    std::fs::write(ceremony.path("other.json"), genesis.to_string()).expect("written");
    ceremony.done("genesis check genesis.json --contribution finance.json");
    let words = ["finance.json", "its recovery keys differ"];
    ceremony.refused("genesis check other.json --contribution finance.json", "MZ-5032", &words);
    let other = approve.replacen("genesis.json", "other.json", 1);
    ceremony.refused(&format!("{other} --out other.approval.json"), "MZ-5032", &words);
    let without = approve.replacen("--contribution finance.json", "", 1);
    ceremony.refused(&format!("{without} --out other.approval.json"), "MZ-2012", &["--contribution"]);
}

#[test]
fn assembling_and_sealing_name_the_agency_that_is_meant() {
    let ceremony = Ceremony::new();
    for (agency, _) in ROLES {
        ceremony.done(&format!("init --dir {agency} --agency {agency} --with-admin-keys"));
        ceremony.done(&ceremony.contribution(agency));
    }
    let assemble = format!("genesis assemble --network {NETWORK} --out genesis.json finance.json audit.json bank.json");
    ceremony.refused(&assemble, "MZ-5032", &["3 agencies have a node"]);
    for (from, to, words) in [
        ("\"programme_owner\"", "\"nonsense\"", ["spoilt.json", "no role \"nonsense\""]),
        ("/dns/civil.example.gov/tcp/8442", "civil:8442", ["spoilt.json", "\"civil:8442\" is not an address"]),
    ] {
        spoil(&ceremony.path("civil.json"), from, to);
        ceremony.refused(&format!("{assemble} spoilt.json"), "MZ-5032", &words);
    }
    assert!(!ceremony.path("genesis.json").exists(), "what is refused is not written");
    std::fs::write(ceremony.path("seeds.toml"), "").expect("written");
    ceremony.refused(&format!("{assemble} civil.json"), "MZ-5025", &["seeds.toml", "exists already"]);
    assert!(!ceremony.path("genesis.json").exists(), "both files or none");
    std::fs::remove_file(ceremony.path("seeds.toml")).expect("removed");
    let nowhere = format!("{assemble} civil.json --seeds-out nowhere/seeds.toml");
    ceremony.refused(&nowhere, "MZ-5025", &["nowhere/seeds.toml"]);
    assert!(!ceremony.path("genesis.json").exists(), "the second cannot be written: the first is taken back");
    let told = ceremony.done(&format!("{assemble} civil.json"));
    let hash = told.json["data"]["genesis_hash"].as_str().expect("a hash").to_owned();
    ceremony.done(&format!("genesis check genesis.json --hash {hash}"));
    let other = hash.replace(&hash[7..9], "zz");
    ceremony.refused(&format!("genesis check genesis.json --hash {other}"), "MZ-2012", &["--hash"]);
    let other = format!("sha256:{}", "12".repeat(32));
    ceremony.refused(&format!("genesis check genesis.json --hash {other}"), "MZ-5018", &[&hash, &other]);
    let admins = "--key finance/admins/admin-1.pem --key finance/admins/admin-2.pem";
    let approve =
        format!("genesis approve genesis.json --config finance/node.toml --contribution finance.json {admins}");
    who_assembles_adds_nothing(&ceremony, &approve);
    let twice = format!("{approve} --key finance/admins/admin-1.pem --out twice.json");
    ceremony.refused(&twice, "MZ-2012", &["admin-1.pem", "given twice"]);
    let foreign = format!("{approve} --key civil/admins/admin-1.pem --out foreign.json");
    ceremony.refused(&foreign, "MZ-5005", &["civil/admins/admin-1.pem", "agency civil, not of finance"]);
    let told = ceremony.done(&format!("{approve} --out finance.approval.json"));
    assert_eq!(told.json["data"]["proofs"], 5, "{}", told.json);
    ceremony
        .done("genesis approve genesis.json --config bank/node.toml --contribution bank.json --out bank.approval.json");
    let seal = "genesis seal genesis.json finance.approval.json bank.approval.json";
    ceremony.refused(seal, "MZ-5026", &["12 keys are not proven", "audit 5", "bank 2 (admin)", "civil 5"]);
}
