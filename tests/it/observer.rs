//! An observer whom one member of four lets in: what it says of itself, and what it does not say of the others.

use std::path::{Path, PathBuf};
use std::process::Output;

use mingzhang_tests::world::{Seat, World, alarms, command, until};
use serde_json::Value;

/// Places of a range that no agency of a devnet of four takes.
const PLACE: u16 = 90;

pub struct Observer {
    folder: PathBuf,
    pub seat: Seat,
}

impl Observer {
    /// Makes its folder, and writes it into the list of addresses, which a member reads when it starts.
    pub fn make(world: &World) -> Self {
        let first: u16 = world.seats[0].url.rsplit(':').next().expect("a port").parse().expect("a number");
        let folder = world.path().join("observer");
        std::fs::create_dir_all(folder.join("keys")).expect("made");
        let key = mingzhang_node::keys::generate().expect("a key");
        mingzhang_node::keys::write_test(&folder.join("keys/peer.pem"), &key).expect("written");
        let ports = [first + PLACE, first + PLACE + 1, first + PLACE + 2];
        let text = format!(
            "observer = true\ngenesis_file = \"../genesis.json\"\ngenesis_proofs_file = \"../genesis-proofs.json\"\n\
             seeds_file = \"../seeds.toml\"\napi_listen = \"127.0.0.1:{}\"\nops_listen = \"127.0.0.1:{}\"\n\
             peer_listen = \"127.0.0.1:{}\"\n",
            ports[0], ports[1], ports[2]
        );
        std::fs::write(folder.join("node.toml"), text).expect("written");
        let seeds = world.path().join("seeds.toml");
        let entry = format!(
            "\n[[peers]]\nagency = \"press\"\npeer_key = \"{}\"\naddresses = []\nobserver = true\n",
            hex::encode(key.public().0)
        );
        let list = std::fs::read_to_string(&seeds).expect("readable") + &entry;
        std::fs::write(&seeds, list).expect("written");
        let seat = Seat { agency: "press".to_owned(), url: format!("http://127.0.0.1:{}", ports[0]) };
        Self { folder, seat }
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
    let observer = Observer::make(&world);
    // Only this one lets it in: fewer than a quorum.
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
