//! Makes a devnet's folder: keys, genesis with its proofs, seeds, each node's configuration, the client's context.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mingzhang_genesis::Genesis;
use mingzhang_genesis::document::{
    Admin, Agency, Document, FORMAT as GENESIS_FORMAT, HeldKey, Key, Node, Numbers, Officer, Person, Recovery, Role,
};
use mingzhang_genesis::possession::{Proofs, prove};
use mingzhang_ledger::crypto::{PublicKey, SigningKey};
use mingzhang_seeds::{Address, Host, Peer, Seeds};
use serde::Serialize;

use super::ports::Claims;
use super::roster::{self, Organisation};
use super::{
    BEGUN_FILE, Devnet, DevnetFault, FORMAT, MAX_AGENCIES, OfficerKey, Plan, RECOVERY_FOLDER, Record, Seat, io, ports,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::keys::{self, Purpose};

/// Everybody who asks a devnet is at one address.
const READS_PER_S: u64 = 100_000;
/// Name of every devnet; the hash in the origin tells them apart.
const NAME: &str = "devnet.mingzhang.test/main";
const ADMINS: usize = 2;
/// So many agencies run a node unless another number is asked for.
const USUAL_AGENCIES: usize = 4;
/// So many recovery keys there are, and so many sign a manifest.
const RECOVERY_KEYS: usize = 3;
const RECOVERY_THRESHOLD: u64 = 2;

/// What the client reads: which network, where its nodes are, which keys to use.
#[derive(Serialize)]
struct Context {
    name: &'static str,
    genesis_hash: String,
    genesis_file: PathBuf,
    nodes: Vec<String>,
    agency: &'static str,
    keys_dir: PathBuf,
    key: &'static str,
    importer_key: &'static str,
    supervisor_key: &'static str,
}

/// Public facts about an officer's key, beside its file.
#[derive(Serialize)]
struct Facts<'a> {
    agency: &'a str,
    person: String,
    roles: Vec<&'a str>,
}

/// The keys of a node that founds the network.
pub(super) struct SeatKeys {
    pub consensus: SigningKey,
    pub sealing: SigningKey,
    pub peer: SigningKey,
}

/// What is made in memory before anything is written.
struct Draft {
    dir: PathBuf,
    agencies: Vec<Agency>,
    seats: Vec<Seat>,
    officers: Vec<OfficerKey>,
    node_keys: Vec<SeatKeys>,
    recovery: Recovery,
    secrets: BTreeMap<PublicKey, SigningKey>,
}

/// Makes a new devnet in an absent or empty folder.
pub fn found(dir: &Path, plan: &Plan<'_>) -> Result<Devnet, DevnetFault> {
    let agencies = plan.agencies.unwrap_or(USUAL_AGENCIES);
    if agencies == 0 || agencies > MAX_AGENCIES {
        return Err(DevnetFault::Agencies { have: agencies });
    }
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(DevnetFault::NotEmpty(dir.to_owned()));
    }
    let (base, mut claims) =
        plan.base_port.map_or_else(|| ports::choose(agencies), |base| Ok((base, Claims::default())))?;
    let mut draft = Draft {
        dir: dir.to_owned(),
        agencies: Vec::new(),
        seats: Vec::new(),
        officers: Vec::new(),
        node_keys: Vec::new(),
        recovery: Recovery { threshold: RECOVERY_THRESHOLD, keys: Vec::new() },
        secrets: BTreeMap::new(),
    };
    for (place, organisation) in roster::organisations(agencies).iter().enumerate() {
        let seat = if place < agencies { Some(ports::of(base, place)?) } else { None };
        draft.add(organisation, seat)?;
    }
    draft.hold_recovery_keys()?;
    // A range that was chosen is claimed; one that was asked for is refused before anything is written.
    for seat in draft.seats.iter().filter(|_| plan.base_port.is_some()) {
        claims.add(seat)?;
    }
    let bytes = document(&draft, plan).to_bytes().map_err(|error| DevnetFault::Genesis(error.to_string()))?;
    let asked = !plan.consensus.0.is_empty() || !plan.rules.0.is_empty();
    let refused = if asked { DevnetFault::Parameters } else { DevnetFault::Genesis };
    let genesis = Genesis::parse(&bytes).map_err(|fault| refused(fault.to_string()))?;
    let devnet = draft.write(genesis)?;
    Ok(Devnet { claims, ..devnet })
}

fn document(draft: &Draft, plan: &Plan<'_>) -> Document {
    let shortened = roster::SHORTENED.iter().map(|(name, value)| ((*name).to_owned(), *value));
    let mut rules: BTreeMap<String, u64> = shortened.collect();
    rules.extend(plan.rules.0.clone());
    Document {
        format: GENESIS_FORMAT.to_owned(),
        name: NAME.to_owned(),
        suite: 1,
        development: true,
        test_keys: true,
        utc_offset_minutes: 480,
        currencies: ["CNY", "USD", "EUR", "GBP", "MXN", "AMD", "PYG", "ALL"].map(str::to_owned).to_vec(),
        consensus: plan.consensus.clone(),
        rules: Numbers(rules),
        agencies: draft.agencies.clone(),
        recovery: draft.recovery.clone(),
        log_keys: Vec::new(),
    }
}

impl Draft {
    fn add(&mut self, organisation: &Organisation, seat: Option<[std::net::SocketAddr; 3]>) -> Result<(), DevnetFault> {
        let id = &organisation.id;
        let mut admin_keys = Vec::new();
        for number in 1..=ADMINS {
            let (person, key) = self.officer(id, "admin", number)?;
            admin_keys.push(Admin { person, key });
        }
        let mut officers = Vec::new();
        for role in organisation.roles {
            for number in 1..=roster::OFFICERS_PER_ROLE {
                let (person, key) = self.officer(id, role, number)?;
                let role = Role { role: (*role).to_owned(), max_minor: None };
                officers.push(Officer { person, key, roles: vec![role] });
            }
        }
        let node = match seat {
            Some([api, ops, peer]) => {
                self.seats.push(Seat { agency_id: id.clone(), name: organisation.name.clone(), api, ops, peer });
                let (consensus, sealing, peer) = (self.secret()?, self.secret()?, self.secret()?);
                let node = Node {
                    consensus_key: Key(consensus.public()),
                    sealing_key: Key(sealing.public()),
                    peer_key: Key(peer.public()),
                    url: format!("http://{api}/"),
                };
                self.node_keys.push(SeatKeys { consensus, sealing, peer });
                Some(node)
            }
            None => None,
        };
        self.agencies.push(Agency {
            id: id.clone(),
            name: organisation.name.clone(),
            kind: organisation.kind.to_owned(),
            roles: organisation.roles.iter().map(|role| (*role).to_owned()).collect(),
            admin_keys,
            officers,
            node,
        });
        Ok(())
    }

    /// The first agencies hold one recovery key each.
    fn hold_recovery_keys(&mut self) -> Result<(), DevnetFault> {
        let holders: Vec<String> = self.agencies.iter().take(RECOVERY_KEYS).map(|agency| agency.id.clone()).collect();
        for agency in holders {
            let key = Key(self.secret()?.public());
            self.recovery.keys.push(HeldKey { agency, key });
        }
        Ok(())
    }

    fn secret(&mut self) -> Result<SigningKey, DevnetFault> {
        let key = keys::generate()?;
        self.secrets.insert(key.public(), key.clone());
        Ok(key)
    }

    /// A key whose file is named `<agency>-<role>-<number>`.
    fn officer(&mut self, agency: &str, role: &str, number: usize) -> Result<(Person, Key), DevnetFault> {
        let key = self.secret()?;
        let name = format!("{agency}-{}-{number}", role.replace('_', "-"));
        let file = self.dir.join("keys").join(format!("{name}.pem"));
        self.officers.push(OfficerKey { name, agency_id: agency.to_owned(), role: role.to_owned(), file });
        let person = Person(*keys::random::<16>()?);
        let key = Key(key.public());
        Ok((person, key))
    }

    fn write(self, genesis: Genesis) -> Result<Devnet, DevnetFault> {
        let dir = &self.dir;
        std::fs::create_dir_all(dir).map_err(io(dir))?;
        let begun = dir.join(BEGUN_FILE);
        std::fs::write(&begun, "").map_err(io(&begun))?;
        for folder in [dir.join("keys"), dir.join("nodes"), dir.join(RECOVERY_FOLDER)] {
            std::fs::create_dir_all(&folder).map_err(io(&folder))?;
        }
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).map_err(io(&path))
        };
        file("genesis.json", &genesis.bytes)?;
        let now_s = Clock::default().now_ms() / 1_000;
        let proofs = genesis.document.keys().into_iter().filter_map(|place| {
            let secret = self.secrets.get(&place.key)?;
            Some(prove(genesis.scope(), &place.agency, place.use_of_key, secret, now_s))
        });
        let proofs = Proofs::new(&genesis, proofs.collect()).to_bytes();
        file("genesis-proofs.json", &proofs.map_err(|error| DevnetFault::Genesis(error.to_string()))?)?;
        file("seeds.toml", self.seeds(&genesis).to_text().as_bytes())?;
        self.write_officer_keys()?;
        for (number, held) in (1..).zip(&self.recovery.keys) {
            let secret = self.secrets.get(&held.key.0).expect("every key of the document was drawn here");
            keys::write_test(&dir.join(RECOVERY_FOLDER).join(format!("recovery-{number}.pem")), secret)?;
        }
        for (seat, node_keys) in self.seats.iter().zip(&self.node_keys) {
            write_node(dir, seat, node_keys, Config::default())?;
        }
        let context =
            toml::to_string(&self.context(&genesis)).map_err(|error| DevnetFault::Genesis(error.to_string()))?;
        file("context.toml", context.as_bytes())?;
        let record = Record { format: FORMAT.to_owned(), seats: self.seats.clone(), keys: self.officers.clone() };
        // Written last: a folder with the record is complete.
        record.write(dir)?;
        std::fs::remove_file(&begun).map_err(io(&begun))?;
        Ok(Devnet { dir: self.dir, record, genesis, claims: Claims::default() })
    }

    fn write_officer_keys(&self) -> Result<(), DevnetFault> {
        let persons = self.agencies.iter().flat_map(|agency| {
            let admins = agency.admin_keys.iter().map(|admin| (admin.person, admin.key));
            admins.chain(agency.officers.iter().map(|officer| (officer.person, officer.key)))
        });
        for (officer, (person, key)) in self.officers.iter().zip(persons) {
            let secret = self.secrets.get(&key.0).expect("every key of the document was drawn here");
            keys::write_test(&officer.file, secret)?;
            let facts = Facts { agency: &officer.agency_id, person: hex::encode(person.0), roles: vec![&officer.role] };
            let text = toml::to_string(&facts).map_err(|error| DevnetFault::Genesis(error.to_string()))?;
            let path = officer.file.with_extension("toml");
            std::fs::write(&path, text).map_err(io(&path))?;
        }
        Ok(())
    }

    fn seeds(&self, genesis: &Genesis) -> Seeds {
        let peers = self.seats.iter().zip(&self.node_keys).map(|(seat, node_keys)| Peer {
            agency: seat.agency_id.clone(),
            peer_key: node_keys.peer.public(),
            addresses: vec![address_of(seat)],
            observer: false,
        });
        Seeds { genesis_hash: genesis.hash, peers: peers.collect() }
    }

    fn context(&self, genesis: &Genesis) -> Context {
        Context {
            name: "devnet",
            genesis_hash: hex::encode(genesis.hash),
            genesis_file: self.dir.join("genesis.json"),
            nodes: self.seats.iter().map(|seat| format!("http://{}", seat.api)).collect(),
            agency: "civil",
            keys_dir: self.dir.join("keys"),
            key: "civil-programme-owner-1",
            importer_key: "data-importer-1",
            supervisor_key: "market-supervisor-1",
        }
    }
}

/// A node's folder: test keys in clear, and its configuration.
pub(super) fn write_node(dir: &Path, seat: &Seat, node_keys: &SeatKeys, config: Config) -> Result<(), DevnetFault> {
    let folder = dir.join("nodes").join(&seat.agency_id);
    let keys_directory = folder.join("keys");
    std::fs::create_dir_all(&keys_directory).map_err(io(&keys_directory))?;
    let held = [
        (Purpose::Consensus, &node_keys.consensus),
        (Purpose::Sealing, &node_keys.sealing),
        (Purpose::Peer, &node_keys.peer),
    ];
    for (purpose, key) in held {
        keys::write_test(&purpose.file(&keys_directory), key)?;
    }
    let config = Config {
        agency: seat.agency_id.clone(),
        genesis_file: "../../genesis.json".into(),
        genesis_proofs_file: "../../genesis-proofs.json".into(),
        seeds_file: "../../seeds.toml".into(),
        api_listen: seat.api,
        ops_listen: seat.ops,
        peer_listen: seat.peer,
        api_reads_per_s: READS_PER_S,
        ..config
    };
    let path = folder.join("node.toml");
    std::fs::write(&path, config.to_text()).map_err(io(&path))
}

/// Where the other nodes reach a seat.
pub(super) fn address_of(seat: &Seat) -> Address {
    let host = match seat.peer.ip() {
        std::net::IpAddr::V4(ip) => Host::Ip4(ip),
        std::net::IpAddr::V6(ip) => Host::Ip6(ip),
    };
    Address { host, port: seat.peer.port(), quic: false }
}

#[cfg(test)]
mod tests {
    use super::super::{down, open_or_found, up};
    use super::*;
    use crate::keys::Passphrase;
    use crate::setup::{self, SetupFault};

    fn four() -> Plan<'static> {
        Plan { agencies: Some(4), ..Plan::default() }
    }

    #[test]
    fn a_founded_folder_starts_every_node_and_can_be_opened_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("net");
        let devnet = found(&dir, &four()).expect("founded");
        assert_eq!(devnet.record.seats.len(), 4);
        assert_eq!(devnet.genesis.set.members.len(), 4);
        assert_eq!(devnet.genesis.document.agencies.len(), 11);
        for seat in &devnet.record.seats {
            let config = Config::read(&devnet.node_dir(seat).join("node.toml")).expect("valid configuration");
            let never = |path: &Path| -> Result<Passphrase, SetupFault> { panic!("{} is encrypted", path.display()) };
            setup::read(config, never).expect("everything that a node needs");
        }
        for key in &devnet.record.keys {
            assert!(keys::inspect(&key.file).is_ok(), "{}", key.name);
        }
        let context: toml::Table =
            std::fs::read_to_string(devnet.context_file()).expect("readable").parse().expect("a TOML file");
        for name in ["key", "importer_key", "supervisor_key"] {
            let wanted = context[name].as_str().expect("a name");
            assert!(devnet.record.keys.iter().any(|key| key.name == wanted), "{name} = {wanted}");
        }
        assert_eq!(Devnet::open(&dir).expect("opens").record, devnet.record);
        assert!(devnet.status().iter().all(|seat| seat.state == "stopped" && seat.pid.is_none()));
        assert_eq!(down(&dir, true).expect("deleted"), 0);
        assert!(!dir.exists());
    }

    #[test]
    fn an_interrupted_deletion_can_be_repeated() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("net");
        for gone in [&["context.toml"][..], &["genesis-proofs.json", "seeds.toml", "context.toml", "genesis.json"]] {
            found(&dir, &four()).expect("founded");
            gone.iter().for_each(|file| std::fs::remove_file(dir.join(file)).expect("removed"));
            down(&dir, true).expect("deleted");
            assert!(!dir.exists());
        }
    }

    #[test]
    fn an_interrupted_founding_is_begun_anew_or_deleted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("net");
        let interrupted = || {
            found(&dir, &four()).expect("founded");
            std::fs::write(dir.join(BEGUN_FILE), "").expect("written");
            for file in ["devnet.json", "genesis.json"] {
                std::fs::remove_file(dir.join(file)).expect("removed");
            }
        };
        interrupted();
        assert_eq!(down(&dir, true).expect("deleted"), 0);
        assert!(!dir.exists());
        interrupted();
        open_or_found(&dir, &four()).expect("founded anew");
        assert_eq!(Devnet::open(&dir).expect("whole").record.seats.len(), 4);
        assert!(!dir.join(BEGUN_FILE).exists());
        // Nobody of that name: refused once the folder is whole.
        let nobody = Plan { only: Some("nobody"), ..four() };
        assert!(matches!(up(&dir, &nobody), Err(DevnetFault::NoSeat(_))));
    }

    #[test]
    fn one_node_is_started_only_of_a_devnet_that_is_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("net");
        let one = Plan { only: Some("finance"), ..four() };
        let fault = up(&dir, &one).expect_err("there is none");
        assert!(matches!(fault, DevnetFault::NoDevnet(_)), "{fault}");
        assert!(!dir.exists(), "nothing was made");
    }

    #[test]
    fn who_founds_is_alone_with_the_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("net");
        let linked = folder.path().join("linked");
        std::os::unix::fs::symlink(folder.path(), &linked).expect("linked");
        let founding = ports::claim_folder(&dir).expect("the first");
        for same in [&dir, &linked.join("net")] {
            let fault = open_or_found(same, &four()).expect_err("another is at it");
            assert!(matches!(fault, DevnetFault::BeingMade(_)), "{fault}");
        }
        assert!(!dir.exists(), "nothing was made");
        drop(founding);
        open_or_found(&dir, &four()).expect("founded");
        let again = ports::claim_folder(&dir).expect("nobody founds any more");
        open_or_found(&dir, &four()).expect("what is there is opened beside");
        drop(again);
    }

    #[test]
    fn what_is_there_is_not_made_otherwise() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("net");
        let devnet = found(&dir, &four()).expect("founded");
        let base = devnet.record.seats[0].api.port();
        let nobody = Plan { only: Some("nobody"), ..Plan::default() };
        for (agencies, base_port, differs) in
            [(None, None, false), (Some(4), Some(base), false), (Some(7), None, true), (None, Some(base + 1), true)]
        {
            let fault = up(&dir, &Plan { agencies, base_port, ..nobody.clone() }).expect_err("nobody is started");
            assert_eq!(matches!(fault, DevnetFault::Differs { .. }), differs, "{fault}");
            assert_eq!(fault.code().0, 2012);
        }
    }

    #[test]
    fn parameters_that_were_asked_for_stand_in_the_genesis_and_stay() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("net");
        let one = |name: &str, value| Numbers([(name.to_owned(), value)].into());
        let plan = Plan { consensus: one("min_block_interval", 50), rules: one("quiet_days", 3), ..four() };
        let devnet = found(&dir, &plan).expect("founded");
        assert_eq!(devnet.genesis.set.parameters.min_block_interval_ms, 50);
        let rules = &devnet.genesis.document.rules.0;
        assert_eq!((rules.get("quiet_days"), rules.get("publicity_days")), (Some(&3), Some(&0)));
        devnet.require(&plan).expect("as it is");
        let other = Plan { consensus: one("min_block_interval", 60), ..four() };
        assert_eq!(devnet.require(&other).expect_err("another").code().0, 2012);
        let unknown = Plan { rules: one("speed", 1), ..four() };
        let too_small = Plan { consensus: one("min_block_interval", 9), ..four() };
        for plan in [unknown, too_small] {
            let fault = found(&folder.path().join("other"), &plan).expect_err("no such parameter, or out of range");
            assert_eq!(fault.code().0, 2012, "{fault}");
        }
    }

    #[test]
    fn two_that_are_founded_at_the_same_time_have_ports_of_their_own() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base = |devnet: &Devnet| devnet.record.seats[0].api.port();
        let one = found(&folder.path().join("one"), &four()).expect("founded");
        let other = found(&folder.path().join("other"), &four()).expect("founded");
        assert!(base(&one).abs_diff(base(&other)) >= 40, "{} {}", base(&one), base(&other));
        let third = Plan { base_port: Some(base(&one)), ..four() };
        let refused = found(&folder.path().join("third"), &third).expect_err("claimed");
        assert_eq!(refused.code().0, 5007, "{refused}");
    }

    #[test]
    fn a_used_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("x"), "x").expect("written");
        assert!(matches!(found(folder.path(), &four()), Err(DevnetFault::NotEmpty(_))));
        assert!(matches!(Devnet::open(folder.path()), Err(DevnetFault::NoDevnet(_))));
        let none = Plan { agencies: Some(0), ..Plan::default() };
        assert!(matches!(found(folder.path(), &none), Err(DevnetFault::Agencies { have: 0 })));
    }
}
