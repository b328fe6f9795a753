//! An observer whom one member of four lets in: what it says of itself, and what it does not say of the others.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mingzhang_ledger::crypto::PublicKey;
use mingzhang_node::network::{self, AllowedPeer};
use mingzhang_node::{keys, setup};
use mingzhang_seeds::Peer;
use mingzhang_tests::world::{Seat, World, alarms, command, until};
use serde_json::Value;

use crate::liar::through;
use crate::watching::change;

/// Places of a range that no agency of a devnet of four takes.
const PLACE: u16 = 90;

const NO_ADDRESS: &str = "addresses = []";

pub struct Observer {
    folder: PathBuf,
    pub seat: Seat,
    key: PublicKey,
}

impl Observer {
    /// Makes its folder, and writes it into everybody's list of addresses.
    pub fn make(world: &World) -> Self {
        Self::let_in_by(world, &world.path().join("seeds.toml"))
    }

    /// Makes its folder, and writes it into one list of addresses.
    fn let_in_by(world: &World, list: &Path) -> Self {
        let first: u16 = world.seats[0].url.rsplit(':').next().expect("a port").parse().expect("a number");
        let folder = world.path().join("observer");
        std::fs::create_dir_all(folder.join("keys")).expect("made");
        let key = keys::generate().expect("a key");
        keys::write_test(&folder.join("keys/peer.pem"), &key).expect("written");
        let ports = [first + PLACE, first + PLACE + 1, first + PLACE + 2];
        let text = format!(
            "observer = true\ngenesis_file = \"../genesis.json\"\ngenesis_proofs_file = \"../genesis-proofs.json\"\n\
             seeds_file = \"../seeds.toml\"\napi_listen = \"127.0.0.1:{}\"\nops_listen = \"127.0.0.1:{}\"\n\
             peer_listen = \"127.0.0.1:{}\"\n",
            ports[0], ports[1], ports[2]
        );
        std::fs::write(folder.join("node.toml"), text).expect("written");
        let entry = format!(
            "\n[[peers]]\nagency = \"press\"\npeer_key = \"{}\"\n{NO_ADDRESS}\nobserver = true\n",
            hex::encode(key.public().0)
        );
        let text = std::fs::read_to_string(list).expect("readable") + &entry;
        std::fs::write(list, text).expect("written");
        let seat = Seat { agency: "press".to_owned(), url: format!("http://127.0.0.1:{}", ports[0]) };
        Self { folder, seat, key: key.public() }
    }

    pub fn config(&self) -> String {
        self.folder.join("node.toml").display().to_string()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("node.log")).unwrap_or_default()
    }

    fn status(&self, home: &Path, flags: &[&str]) -> Output {
        let config = self.config();
        let arguments = [flags, &["status", "--config", &config]].concat();
        command("mingzhang-node", home).args(arguments).output().expect("the binary runs")
    }
}

#[test]
fn an_observer_says_what_it_sees_and_nothing_of_whom_the_members_reach() {
    let world = World::start(4);
    // Only this one lets it in: fewer than a quorum.
    let list = world.path().join("approval.toml");
    std::fs::copy(world.path().join("seeds.toml"), &list).expect("copied");
    change(Path::new(&world.config_of("approval")), "../../seeds.toml", "../../approval.toml");
    let observer = Observer::let_in_by(&world, &list);
    world.kill("approval");
    world.resume("approval");
    let id = world.document("DOC-1");
    world.sealed(world.seat("approval"), &id);
    let running = world.spawn(&observer.config(), &[]);
    until("the observer to be ready", || (world.ops(&observer.seat, "/readyz")?.0 == 200).then_some(()));
    let status = world.get(&observer.seat, "/status").expect("it answers").1;
    assert!(status["height"].as_u64() > Some(0) && status["sealed_size"].as_u64() > Some(0), "{status}");
    assert_eq!((&status["missing_for_quorum"], &status["survives_more_failures"]), (&Value::Null, &Value::Null));
    assert_eq!((status["members_connected"].as_u64(), alarms(&status)), (Some(1), Vec::new()), "{status}");
    for (language, has, has_not) in [
        ("en", ["observer state ready", "connected to 1 of 4 members", "not connected"], ["halted", "offline"]),
        ("zh-CN", ["观察节点 状态 ready", "已连接 4 个成员中的 1 个", "未连接"], ["停止出块", "离线"]),
    ] {
        let told = observer.status(&world.home(), &["--lang", language]);
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        assert_eq!(told.status.code(), Some(0), "{text}");
        assert!(has.iter().all(|words| text.contains(words)), "{text}");
        assert!(!has_not.iter().any(|words| text.contains(words)), "{text}");
    }
    // Whoever does not let it in closes its connection a moment after it stands.
    let told = until("the only member to be seen", || {
        let told = through(&world, &observer.seat.url, &["gov", "impact"]);
        (told.exit == Some(0) && told.data()["online"] == 1).then_some(told)
    });
    let impact = told.data();
    assert_eq!(impact["online_at_least"], true, "{told:?}");
    assert_eq!((&impact["would_halt"], &impact["survives_more_failures"]), (&Value::Null, &Value::Null), "{told:?}");
    let log = observer.log();
    assert!(log.contains("member is connected") && !log.contains("too few members"), "{log}");
    world.kill("approval");
    until("the observer to be alone", || {
        (world.get(&observer.seat, "/status")?.1["state"] == "isolated").then_some(())
    });
    let told = observer.status(&world.home(), &["--lang", "en"]);
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.status.code() == Some(7) && text.contains("MZ-1014") && text.contains("observer is isolated"),
        "{text}"
    );
    assert!(observer.log().contains("no member is connected"), "{}", observer.log());
    drop(running);
}

#[test]
fn whom_a_changed_list_names_is_let_in_and_dialled_without_a_restart() {
    let world = World::start(4);
    let observer = Observer::make(&world);
    // It knows no address of anybody.
    let shared = world.path().join("seeds.toml");
    let own = world.path().join("observer.toml");
    let text = std::fs::read_to_string(&shared).expect("readable");
    std::fs::write(&own, text.replace("/ip4/127.0.0.1/", "/ip4/127.0.0.99/")).expect("written");
    change(Path::new(&observer.config()), "../seeds.toml", "../observer.toml");
    let running = world.spawn(&observer.config(), &[]);
    until("the observer to run", || (world.get(&observer.seat, "/status")?.1["state"] == "isolated").then_some(()));
    let port = observer.seat.url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port") + 2;
    change(&shared, NO_ADDRESS, &format!("addresses = [\"/ip4/127.0.0.1/tcp/{port}\"]"));
    until("all members to dial it", || {
        (world.get(&observer.seat, "/status")?.1["members_connected"] == 4).then_some(())
    });
    // Whoever does not stand there any more is let in no longer.
    let text = std::fs::read_to_string(&shared).expect("readable");
    let end = text.find("\n[[peers]]\nagency = \"press\"").expect("its entry");
    std::fs::write(&shared, &text[..end]).expect("written");
    until("the observer to be alone", || {
        (world.get(&observer.seat, "/status")?.1["members_connected"] == 0).then_some(())
    });
    drop(running);
}

/// Takes a member's place among the peers, as one who lets the observer in and says nothing by itself. Every question is
/// answered as another member answers it, or with nothing; how many there were.
async fn stand_in(world: &World, member: &str, observer: &Observer, knows: Option<&str>) -> Arc<AtomicUsize> {
    let genesis = setup::read_genesis(&world.path().join("genesis.json")).expect("the genesis");
    let list = setup::read_list(&world.path().join("seeds.toml"), &genesis.hash).expect("the list");
    let entry = |agency: &str| list.peers.iter().find(|peer| peer.agency == agency).expect("its entry");
    let address = |peer: &Peer| peer.addresses[0].to_string().parse().expect("an address");
    let (own, other) = (entry(member), knows.map(entry));
    let allowed = |key, name: &str, addresses| AllowedPeer { key, seat: None, name: name.to_owned(), addresses };
    let mut peers = vec![allowed(observer.key, "press", Vec::new())];
    peers.extend(other.map(|peer| allowed(peer.peer_key, &peer.agency, vec![address(peer)])));
    let config = network::Config {
        key: keys::read(&world.node_folder(member).join("keys/peer.pem"), None, true).expect("a test key"),
        chain: genesis.hash,
        listen: vec![address(own)],
        peers,
    };
    let (handle, mut inbox) = network::start(config).await.expect("it listens");
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, other) = (Arc::clone(&asked), other.map(|peer| peer.peer_key));
    tokio::spawn(async move {
        while let Some(request) = inbox.requests.recv().await {
            let answer = match &other {
                Some(key) => handle.ask(key, &request.body).await.unwrap_or_default(),
                None => Vec::new(),
            };
            request.answer(&answer);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    asked
}

#[test]
fn an_observer_is_not_ready_because_one_member_says_that_nothing_is_there() {
    let world = World::start(4);
    let id = world.document("DOC-1");
    world.sealed(world.seat("approval"), &id);
    // Of the members only this one lets it in, and it lies.
    let (shared, list) = (world.path().join("seeds.toml"), world.path().join("later.toml"));
    std::fs::copy(&shared, &list).expect("copied");
    let observer = Observer::let_in_by(&world, &list);
    world.kill("civil");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let asked = runtime.block_on(stand_in(&world, "civil", &observer, None));
    let running = world.spawn(&observer.config(), &[]);
    // What it asks at once, when it starts and when the member connects, and what it asks some seconds later.
    for questions in [2, 6] {
        until("the observer to ask", || (asked.load(Ordering::Relaxed) >= questions).then_some(()));
        let (_, status) = world.get(&observer.seat, "/status").expect("it answers");
        assert_eq!(status["height"], 0, "{status}");
        assert_ne!(status["state"], "ready", "{status}");
        assert_eq!(world.ops(&observer.seat, "/readyz").map(|(status, _)| status), Some(503));
    }
    // With honest ones beside it, it follows.
    std::fs::rename(&list, &shared).expect("moved");
    until("the observer to be ready", || (world.ops(&observer.seat, "/readyz")?.0 == 200).then_some(()));
    let (_, status) = world.get(&observer.seat, "/status").expect("it answers");
    assert!(status["height"].as_u64() > Some(0), "{status}");
    drop(running);
}

#[test]
fn an_observer_asks_for_the_sealed_note_that_nobody_sends_it() {
    let world = World::start(4);
    let id = world.document("DOC-1");
    world.sealed(world.seat("approval"), &id);
    let list = world.path().join("later.toml");
    std::fs::copy(world.path().join("seeds.toml"), &list).expect("copied");
    let observer = Observer::let_in_by(&world, &list);
    world.kill("civil");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(stand_in(&world, "civil", &observer, Some("approval")));
    let running = world.spawn(&observer.config(), &[]);
    until("the observer to be ready", || (world.ops(&observer.seat, "/readyz")?.0 == 200).then_some(()));
    let (_, status) = world.get(&observer.seat, "/status").expect("it answers");
    assert!(status["sealed_size"].as_u64() > Some(0), "{status}");
    drop(running);
}
