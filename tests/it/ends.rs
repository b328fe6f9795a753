//! How commands end where their surroundings fail them: no reader, a full device, no home, arguments that are no text. The
//! exit status says what happened, whoever can still read the words.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mingzhang_tests::world::{World, command, run, until};
use serde_json::{Value, json};

/// A device that takes nothing.
fn full() -> File {
    File::options().write(true).open("/dev/full").expect("the device")
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().expect("the program is built");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_result_that_nobody_gets_is_never_a_success_of_something_that_failed() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let called = |binary: &str, arguments: &[&str]| {
        let mut command = command(binary, home.path());
        command.args(["--lang", "en"]).args(arguments);
        command
    };
    let failed = ["--json", "explain", "abc"];
    let explained = ["explain", "MZ-3201"];
    let nowhere = ["--json", "config", "check", "--config", "/nowhere"];
    let version = ["--version"];
    let rows: [(&str, &[&str], i32, i32); 4] = [
        ("mingzhang", &failed, 2, 2),
        ("mingzhang", &explained, 2, 0),
        ("mingzhang-node", &nowhere, 2, 2),
        ("mingzhang-node", &version, 2, 0),
    ];
    for (binary, arguments, on_full, on_closed) in rows {
        let (exit, words) = ended(called(binary, arguments).stdout(full()));
        assert_eq!(exit, Some(on_full), "{arguments:?} {words}");
        assert_eq!(words.contains("MZ-5025"), on_closed == 0, "{words}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(ended(called(binary, arguments).stdout(writer)).0, Some(on_closed), "{arguments:?}");
        // Words that nobody can read change no status either.
        let both = called(binary, arguments).stdout(full()).stderr(full()).status().expect("the program is built");
        assert_eq!(both.code(), Some(on_full), "{arguments:?}");
    }
}

#[test]
fn arguments_that_are_no_text_or_too_great_are_refused() {
    let home = tempfile::tempdir().expect("a temporary folder");
    for binary in ["mingzhang", "mingzhang-node"] {
        for json in [&[][..], &["--json"]] {
            let mut command = command(binary, home.path());
            let (exit, words) = ended(command.args(json).arg(OsStr::from_bytes(b"\xff\xfe")));
            assert_eq!(exit, Some(2), "{binary} {json:?} {words}");
        }
    }
    let id = "0".repeat(64);
    for length in ["9223372036854775807", "18446744073709551615", "5000000h"] {
        let told = run("mingzhang", &["--json", "tx", "wait", &id, "--wait", length], home.path());
        assert_eq!((told.exit, told.code()), (Some(2), "MZ-2012"), "{length}: {} {}", told.json, told.stderr);
    }
    let told = run("mingzhang", &["--json", "--timeout", "18446744073709551615", "version"], home.path());
    assert_eq!((told.exit, told.code()), (Some(2), "MZ-2012"), "{}", told.json);
    let chinese = run("mingzhang", &["--json", "--lang", "zh", "record", "nope"], home.path());
    assert_eq!(chinese.json["errors"][0]["title"], "命令用法不对", "{}", chinese.json);
}

#[test]
fn a_context_has_a_name_and_nothing_else() {
    let (world, home) = (World::start(1), tempfile::tempdir().expect("a temporary folder"));
    let outside = home.path().join("victim.toml");
    std::fs::write(&outside, "kept").expect("written");
    let victim = home.path().join("victim").display().to_string();
    let file = world.path().join("context.toml").display().to_string();
    let told = |arguments: &[&str]| run("mingzhang", &[&["--json"][..], arguments].concat(), home.path());
    for name in [victim.as_str(), "../victim", "..", ".hidden", "", "a b", "x.toml"] {
        for arguments in [&["context", "remove", name][..], &["context", "add", name, "--from", &file]] {
            let told = told(arguments);
            assert_eq!((told.exit, told.code()), (Some(2), "MZ-2012"), "{arguments:?} {}", told.json);
        }
    }
    assert_eq!(std::fs::read_to_string(&outside).expect("still there"), "kept");
    // A file that is made the default is found from everywhere.
    let used = command("mingzhang", home.path())
        .current_dir(world.path())
        .args(["context", "use", "./context.toml"])
        .status()
        .expect("the program is built");
    assert!(used.success());
    assert_eq!(told(&["query", "block", "1"]).exit, Some(0));
    assert_eq!(told(&["context", "add", "mine", "--from", &file]).data()["current"], false);
    assert_eq!(told(&["context", "remove", "mine"]).exit, Some(0));
}

#[test]
fn a_command_needs_no_home_for_what_it_only_asks() {
    let world = World::start(1);
    let tx = world.document("HOME-1");
    let context = world.path().join("context.toml").display().to_string();
    let homeless = |home: Option<&str>, arguments: &[&str]| {
        let mut command = command("mingzhang", Path::new("/dev/null"));
        command.env_remove("MINGZHANG_HOME").env_remove("XDG_CONFIG_HOME").env_remove("HOME");
        command.envs(home.map(|home| ("HOME", home))).args(["--context", &context]).args(arguments);
        ended(&mut command)
    };
    let receipt = world.path().join("receipt").display().to_string();
    for home in [None, Some("/dev/null"), Some("/nonexistent")] {
        for arguments in
            [&["query", "block", "1"][..], &["tx", "status", &tx], &["receipt", "get", &tx, "--out", &receipt]]
        {
            let (exit, words) = homeless(home, arguments);
            assert_eq!(exit, Some(0), "{home:?} {arguments:?} {words}");
        }
    }
    let empty = ["MINGZHANG_CONTEXT", "MINGZHANG_NODE", "MINGZHANG_GENESIS", "MINGZHANG_AGENCY"].map(|name| (name, ""));
    let mut asked = command("mingzhang", &world.home());
    let (exit, words) = ended(asked.envs(empty).args(["--context", &context, "query", "record", "HOME-1"]));
    assert_eq!(exit, Some(0), "{words}");
    a_failed_verification_stays_one(&world, &context);
    nodes_are_asked_as_their_address_says(&world);
    settings_come_from_the_nearest_place(&world, &context);
    an_interrupted_wait_says_what_it_knows(&world, &context);
    what_a_file_holds_is_told(&world);
    ids_are_no_addresses(&world);
    a_dry_run_writes_nothing(&world);
    a_long_wait_goes_on(&world);
    a_record_stands_whose_answer_nobody_got(&world, &context);
}

fn a_failed_verification_stays_one(world: &World, context: &str) {
    let failed = ["--context", context, "--json", "verify", "receipt", "/bin/sh"];
    for json in [&failed[..], &[&failed[..2], &failed[3..]].concat()] {
        assert_eq!(ended(command("mingzhang", &world.home()).args(json).stdout(full())).0, Some(8));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(ended(command("mingzhang", &world.home()).args(json).stdout(writer)).0, Some(8));
    }
}

/// `https` speaks TLS to whoever is there, and what is no address of a node is refused before anything is sent.
fn nodes_are_asked_as_their_address_says(world: &World) {
    for wrong in ["localhost:8440", "ftp://127.0.0.1/", "http://", "127.0.0.1:8440", ""] {
        let told = world.client(&["--node", wrong, "query", "status"]);
        assert_eq!((told.exit, told.code()), (Some(2), "MZ-2012"), "{wrong}: {}", told.json);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let node = format!("https://{}", listener.local_addr().expect("its port"));
    let greeted = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().ok()?;
        let mut first = [0];
        stream.read_exact(&mut first).ok().map(|()| first)
    });
    let told = world.client(&["--node", &node, "query", "status"]);
    if told.json.to_string().contains("no root certificates") {
        return;
    }
    assert_eq!((told.exit, told.code()), (Some(7), "MZ-2007"), "{}", told.json);
    assert_eq!(greeted.join().expect("it ends"), Some([0x16]), "a handshake of TLS");
}

/// A flag beats a variable, a variable the context, the context the locale; an empty variable is none.
fn settings_come_from_the_nearest_place(world: &World, context: &str) {
    let text = std::fs::read_to_string(context).expect("the context");
    let spoken = world.path().join("spoken.toml");
    std::fs::write(&spoken, format!("lang = \"zh-CN\"\n{text}")).expect("written");
    let spoken = spoken.display().to_string();
    let explained = |context: &str, variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = command("mingzhang", &world.home());
        command.envs([("LC_ALL", ""), ("LC_MESSAGES", ""), ("LANG", "C"), ("MINGZHANG_LANG", "")]);
        command.envs(variables.iter().copied()).args(["--context", context]).args(flags).args(["explain", "MZ-3201"]);
        let output = command.output().expect("the program is built");
        !String::from_utf8_lossy(&output.stdout).is_ascii()
    };
    assert!(!explained(context, &[], &[]));
    assert!(explained(context, &[("LANG", "zh_CN.UTF-8")], &[]), "an empty LC_ALL hides no LANG");
    assert!(explained(&spoken, &[("LANG", "en_GB.UTF-8")], &[]), "the context beats the locale");
    assert!(!explained(&spoken, &[("MINGZHANG_LANG", "en")], &[]), "the variable beats the context");
    assert!(explained(context, &[("MINGZHANG_LANG", "en")], &["--lang", "zh-CN"]), "the flag beats all");
    languages_there_are_two(world, (context, &text));
    let genesis = world.path().join("genesis.json").display().to_string();
    let shown = command("mingzhang", &world.home())
        .envs([("MINGZHANG_CONTEXT", context), ("MINGZHANG_AGENCY", "finance"), ("MINGZHANG_GENESIS", &genesis)])
        .args(["--json", "context", "show"])
        .output()
        .expect("the program is built");
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("an envelope");
    let sources =
        json!({ "context": "variable", "agency": "variable", "genesis_file": "variable", "nodes": "context" });
    assert_eq!((&shown["data"]["agency"], &shown["data"]["sources"]), (&json!("finance"), &sources));
}

/// Whoever names a language that there is none of is told so; the locale, which names it for all programs, reads English.
fn languages_there_are_two(world: &World, (context, text): (&str, &str)) {
    let french = world.path().join("french.toml");
    std::fs::write(&french, format!("lang = \"fr\"\n{text}")).expect("written");
    let french = french.display().to_string();
    for (context, variable, flags) in
        [(context, "fr", &[][..]), (context, "french", &["--json"]), (french.as_str(), "", &["--json"])]
    {
        let mut command = self::command("mingzhang", &world.home());
        command.envs([("LC_ALL", ""), ("LC_MESSAGES", ""), ("LANG", "fr_FR.UTF-8"), ("MINGZHANG_LANG", variable)]);
        let output = command.args(["--context", context, "explain", "MZ-3201"]).args(flags).output();
        let Output { status, stdout, stderr } = output.expect("the program is built");
        let words = [stdout, stderr].concat();
        let words = String::from_utf8_lossy(&words);
        assert_eq!(status.code(), Some(2), "{words}");
        assert!(words.contains("there are zh-CN and en") && words.contains("MZ-2012"), "{words}");
        let mut spoken = self::command("mingzhang", &world.home());
        spoken.envs([("LANG", "fr_FR.UTF-8"), ("MINGZHANG_LANG", "fr")]).args(["--lang", "en", "version"]);
        assert_eq!(ended(&mut spoken).0, Some(0), "the flag beats it");
        // A node's operator is told, and the service starts.
        let mut node = self::command("mingzhang-node", &world.home());
        let (exit, words) =
            ended(node.env("MINGZHANG_LANG", "fr").args(["devnet", "status", "--dir"]).arg(world.path()));
        assert!(exit == Some(0) && words.contains("there are zh-CN and en; English is used"), "{exit:?} {words}");
    }
}

/// Ctrl-C in a wait: the exit status and the id by which the outcome can be asked for.
fn an_interrupted_wait_says_what_it_knows(world: &World, context: &str) {
    let id = "5".repeat(64);
    let child = command("mingzhang", &world.home())
        .args(["--json", "--context", context, "tx", "wait", &id, "--wait", "60s"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program is built");
    let pid = child.id();
    // It catches the signal once it waits: bit 1 of what the system lists as caught.
    until("a program that catches SIGINT", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim().to_owned();
        (u64::from_str_radix(&caught, 16).ok()? & 2 != 0).then_some(())
    });
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let told: Value = serde_json::from_slice(&output.stdout).expect("an envelope");
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert_eq!(told["command"], "tx wait");
    assert_eq!(told["data"], json!({ "tx_id": format!("sha256:{id}"), "status": "pending" }));
}

/// Building, signing and inspecting tell the same fields.
fn what_a_file_holds_is_told(world: &World) {
    let (root, folder) = ("d".repeat(64), world.path());
    let file = |name: &str| folder.join(name).display().to_string();
    let (draft, signed) = (file("draft.tx"), file("signed.tx"));
    let words = ["tx", "build", "document_anchor", "--id", "FILE-1", "--root", &root, "--kind", "minutes"];
    // A flag of every command may stand behind the record type, too.
    let built = world.client(&[&words[..], &["--out", &draft, "--no-input"]].concat());
    let help = command("mingzhang", &world.home()).args(["tx", "build", "document_anchor", "--help"]).output();
    assert!(String::from_utf8_lossy(&help.expect("the program is built").stdout).contains("--root"));
    let sealed = world.client(&["tx", "sign", &draft, "--out", &signed, "--key", "civil-window-1"]);
    let inspected = world.client(&["tx", "inspect", &signed]);
    for told in [&built, &sealed, &inspected] {
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
        let data = told.data();
        assert_eq!((&data["record_type"], &data["record_id"]), (&json!("document_anchor"), &json!("FILE-1")));
        assert!(data["expires_at"].is_string() && data["body"]["root"].is_string(), "{data}");
        assert!(data["effects"].is_array(), "{data}");
    }
    assert!(built.data()["tx_id"].is_null() && built.data()["signer"].is_null(), "{}", built.json);
    assert!(sealed.data()["signer"].is_string() && sealed.data()["tx_id"] == inspected.data()["tx_id"]);
}

/// What is asked for is an object of the ledger, wherever else the text might lead.
fn ids_are_no_addresses(world: &World) {
    for id in ["civil/../../status", "civil/DOC-1?proof=1", "a b/c#d", "civil/", "/DOC-1", "../status", "civil/%2e%2e"]
    {
        for command in ["record", "programme", "account", "case", "payment", "licence", "list", "grant", "tx"] {
            let told = world.client(&["query", command, id]);
            assert_eq!((told.exit, told.code()), (Some(2), "MZ-2012"), "{command} {id}: {}", told.json);
        }
        let told = world.client(&["audit", "programme", id]);
        assert_eq!((told.exit, told.code()), (Some(2), "MZ-2012"), "{id}: {}", told.json);
    }
    let told = world.client(&["query", "record", "civil/.."]);
    assert_eq!(told.exit, Some(5), "an id like every other: {}", told.json);
}

fn a_dry_run_writes_nothing(world: &World) {
    let (root, out) = ("b".repeat(64), world.path().join("dry.tx"));
    let anchor = ["record", "document_anchor", "--id", "DRY-1", "--root", &root, "--kind", "minutes"];
    let file = out.display().to_string();
    let told = world.client(&[&anchor[..], &["--key", "civil-window-1", "--dry-run", "--out", &file]].concat());
    assert_eq!((told.exit, told.code(), out.exists()), (Some(2), "MZ-2012", false), "{}", told.json);
}

/// A wait that is longer than a node's own ends with the answer, not with the node's patience.
fn a_long_wait_goes_on(world: &World) {
    let root = "c".repeat(64);
    let anchor = ["record", "document_anchor", "--id", "LONG-1", "--root", &root, "--kind", "minutes"];
    let told = world.client(&[&anchor[..], &["--key", "civil-window-1", "--wait", "5m"]].concat());
    assert_eq!((told.exit, &told.data()["status"]), (Some(0), &"final".into()), "{}", told.json);
}

/// A full device takes no answer; the record is no failure for that, and the same command gives the answer later.
fn a_record_stands_whose_answer_nobody_got(world: &World, context: &str) {
    for (id, json) in [("LOST-1", &[][..]), ("LOST-2", &["--json"])] {
        let root = "e".repeat(64);
        let anchor = ["record", "document_anchor", "--id", id, "--root", &root, "--kind", "minutes"];
        let call = || {
            let mut command = self::command("mingzhang", &world.home());
            command.args(["--context", context, "--lang", "en"]);
            command.args([&anchor[..], &["--key", "civil-window-1", "--wait", "60s"], json].concat());
            command
        };
        let (exit, words) = ended(call().stdout(full()));
        assert_eq!(exit, Some(6), "{words}");
        assert!(words.contains("it is on the ledger") && words.contains("MZ-5025"), "{words}");
        assert!(words.contains("sha256:") && !words.contains("not recorded"), "{words}");
        assert_eq!(ended(call().stdout(Stdio::null())).0, Some(0));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(ended(call().stdout(writer)).0, Some(0), "{id}");
    }
}

#[test]
fn a_new_key_has_a_passphrase_that_is_one() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let made = |name: &str, passphrase: &str| {
        let mut child = command("mingzhang", home.path())
            .args(["--passphrase-fd", "0", "key", "new", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program is built");
        // A program that has refused already reads nothing.
        let _unread = child.stdin.take().expect("a pipe").write_all(passphrase.as_bytes());
        child.wait().expect("it ends").code()
    };
    assert_eq!(made("empty", "\n"), Some(2));
    assert_eq!(made("short", "1234567\n"), Some(2));
    assert_eq!(made("good", "12345678\n"), Some(0));
    assert_eq!(made("good", "12345678\n"), Some(2), "a key is never replaced");
    let files = std::fs::read_dir(home.path().join("keys")).expect("the folder").count();
    assert_eq!(files, 2, "the key and what is public of it");
}

#[test]
fn an_import_tells_what_it_did_whatever_becomes_of_its_report() {
    let world = World::start(1);
    let file = world.path().join("gifts.csv");
    let text = "date,donor,amount,currency,channel,programme\n2020-01-01,donor one,1.00,CNY,bank,relief\n";
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let import =
        |report: &str| world.client(&["import", "donations", &file, "--mode", "historical", "--report", report]);
    let nowhere = import("/nonexistent/r.jsonl");
    assert_eq!((nowhere.exit, nowhere.code()), (Some(2), "MZ-5025"), "{}", nowhere.json);
    let full = import("/dev/full");
    assert_eq!((full.exit, &full.data()["applied"]), (Some(0), &1.into()), "{}", full.json);
    let warnings = full.json["warnings"].to_string();
    assert!(warnings.contains("MZ-5025") && warnings.contains("/dev/full"), "{warnings}");
    let report = world.path().join("r.jsonl");
    assert_eq!(import(&report.display().to_string()).exit, Some(0));
    assert_eq!(std::fs::read_to_string(&report).expect("the report").lines().count(), 1);
    assert!(!world.path().join("r.jsonl.part").exists());
}
