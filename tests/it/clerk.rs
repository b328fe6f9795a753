//! A clerk at the desk: steps that ask first, keys that others can read, a paper held against its anchor, signing on a machine
//! that knows no network, an import that is broken off.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use mingzhang_tests::world::{Told, World, command, run, until};
use serde_json::json;

const WAIT: [&str; 2] = ["--wait", "60s"];

#[test]
fn what_a_clerk_does_and_what_stops_one() {
    let world = World::start(1);
    dangerous_steps_ask(&world);
    a_paper_is_held_against_its_anchor(&world);
    signing_needs_no_context(&world);
    no_handoffs_are_overwritten(&world);
    an_option_is_written_as_options_are(&world);
    an_import_that_is_broken_off_says_how_far_it_came(&world);
}

fn good(told: &Told) {
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
}

fn refused(told: &Told, exit: i32, code: &str) {
    assert_eq!((told.exit, told.code()), (Some(exit), code), "{} {}", told.json, told.stderr);
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Runs the client on a terminal of its own, types `typed`, and gives exit status and screen.
fn on_a_terminal(world: &World, line: &str, typed: &str) -> (Option<i32>, String) {
    let client = command("mingzhang", &world.home());
    let program = client.get_program().to_string_lossy().into_owned();
    let context = world.path().join("context.toml").display().to_string();
    let mut terminal = Command::new("script")
        .args(["-qec", &format!("{program} --context {context} --lang en {line}"), "/dev/null"])
        .env("MINGZHANG_HOME", world.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("every Debian system has script");
    terminal.stdin.take().expect("piped").write_all(typed.as_bytes()).expect("it reads");
    let output = terminal.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Files a record and gives the digest that its approval names.
fn file(world: &World, line: &str) -> String {
    let told = world.client(&[&words(line)[..], &WAIT].concat());
    good(&told);
    told.data()["tx_id"].as_str().expect("an id").trim_start_matches("sha256:").to_owned()
}

fn approval(record: &str, digest: &str, key: &str) -> String {
    format!("record approve --waiting {record} --digest {digest} --key {key} --wait 60s")
}

fn dangerous_steps_ask(world: &World) {
    let open = "record programme_open --id AID --mode live --currency CNY --purpose aid --years 2026 --legal_ref item-1 \
                --owner civil --finance finance --bank bank --supervisor market --scope aid --key civil-programme-owner-1";
    let approve = approval("civil/AID", &file(world, open), "finance-finance-1");
    // Nobody to ask: refused, and nothing is signed, also where the terminal's user wants no questions.
    let told = world.client(&words(&approve));
    refused(&told, 2, "MZ-2016");
    assert!(told.json.to_string().contains("civil/AID") && told.stderr.contains("programme_open"), "{}", told.json);
    let (exit, screen) = on_a_terminal(world, &format!("--no-input {approve}"), "y\n");
    assert!(exit == Some(2) && screen.contains("MZ-2016"), "{exit:?} {screen}");
    let (exit, screen) = on_a_terminal(world, &approve, "n\n");
    assert!(exit == Some(2) && screen.contains("MZ-2016"), "{exit:?} {screen}");
    assert_eq!(world.client(&["query", "record", "civil/AID"]).data()["effect"], "waiting");
    let (exit, screen) = on_a_terminal(world, &approve, "y\n");
    assert!(exit == Some(0) && screen.contains("final, applied"), "{exit:?} {screen}");
    for said in
        ["finance-finance-1 (finance) signs approve: programme_open civil/AID", "it cannot be withdrawn", "[y/N]"]
    {
        assert!(screen.contains(said), "{said}: {screen}");
    }
    money_is_named_before_it_moves(world);
    a_key_is_not_revoked_and_a_vote_not_cast_unasked(world);
}

fn money_is_named_before_it_moves(world: &World) {
    for (id, kind) in [("SOURCE", "SOURCE"), ("BUDGET", "APPROPRIATION")] {
        let open = format!(
            "record account_open --id {id} --account_kind {kind} --programme civil/AID --agency civil --year 2026 \
             --key finance-finance-1"
        );
        let approve = approval(&format!("finance/{id}"), &file(world, &open), "finance-finance-2");
        good(&world.client(&[&words(&approve)[..], &["--yes"]].concat()));
    }
    let money = "record appropriate --id A-1 --amount 1234567.00 --from finance/SOURCE --to finance/BUDGET \
                 --legal_ref item-1 --key finance-finance-1";
    let approve = approval("finance/A-1", &file(world, money), "finance-finance-2");
    // Also where prose is not wanted.
    let (exit, screen) = on_a_terminal(world, &format!("-q {approve}"), "\n");
    let said = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(exit == Some(2) && said.contains("appropriate finance/A-1, 1,234,567.00 CNY"), "{exit:?} {screen}");
}

fn a_key_is_not_revoked_and_a_vote_not_cast_unasked(world: &World) {
    let propose = "gov propose authority_set --set confirm_wait=1500 --from 1h --id SET-7 --key approval-admin-1";
    good(&world.client(&[&words(propose)[..], &WAIT].concat()));
    let vote = |answer| world.client(&words(&format!("gov vote approval/SET-7 {answer} --key approval-admin-1")));
    let yes = vote("yes");
    refused(&yes, 2, "MZ-2016");
    let revoke = format!("record key_revoke --public-key {} --reason lost --key civil-admin-1", "1".repeat(64));
    refused(&world.client(&words(&revoke)), 2, "MZ-2016");
    // What a signature on paper would do is asked where it is signed, not where it is carried to.
    let (draft, signed) = (world.path().join("r.tx"), world.path().join("r.signed"));
    let build = format!("tx build {} --out {}", revoke.trim_start_matches("record "), draft.display());
    good(&world.client(&words(&build)));
    let sign = format!("tx sign {} --out {} --key civil-admin-1", draft.display(), signed.display());
    refused(&world.client(&words(&sign)), 2, "MZ-2016");
    assert!(!signed.exists());
    good(&world.client(&[&words(&sign)[..], &["-y"]].concat()));
}

#[test]
fn a_key_is_opened_by_its_owner_alone() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let client = |line: &str, typed: Option<&str>| -> Told {
        let mut client = command("mingzhang", home.path());
        client.args(["--json", "--lang", "en"]).args(line.split_whitespace()).stdout(Stdio::piped());
        client.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().expect("the program is built");
        client.stdin.take().expect("piped").write_all(typed.unwrap_or("").as_bytes()).expect("it reads");
        client.wait_with_output().expect("it ends").into()
    };
    let title = |told: &Told| told.json["errors"][0]["title"].as_str().unwrap_or_default().to_owned();
    good(&client("--passphrase-fd 0 key new zhang", Some("correct horse\n")));
    good(&client("--passphrase-fd 0 key show zhang", Some("correct horse\n")));
    let wrong = client("--passphrase-fd 0 key show zhang", Some("another horse\n"));
    refused(&wrong, 4, "MZ-5006");
    let missing = client("key show zhang", None);
    refused(&missing, 4, "MZ-5036");
    assert_ne!(title(&wrong), title(&missing));
    // Beside the key stands the public one, so that what it signed can be read without a passphrase: of this key, no other.
    let beside = home.path().join("keys/zhang.toml");
    let facts = std::fs::read_to_string(&beside).expect("a sidecar");
    let public = client("--passphrase-fd 0 key show zhang", Some("correct horse\n")).data()["public_key"].clone();
    let public = public.as_str().expect("a key");
    assert!(facts.contains(public), "{facts}");
    std::fs::write(&beside, facts.replace(public, &"0".repeat(64))).expect("own file");
    let another = client("--passphrase-fd 0 key show zhang", Some("correct horse\n"));
    refused(&another, 4, "MZ-5005");
    assert!(another.json.to_string().contains("another public key"), "{}", another.json);
    std::fs::write(&beside, &facts).expect("own file");
    let file = home.path().join("keys/zhang.pem");
    for mode in [0o640, 0o604] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("own file");
        let told = client("--passphrase-fd 0 key show zhang", Some("correct horse\n"));
        refused(&told, 4, "MZ-5019");
        assert!(
            told.json["errors"][0]["detail"].as_str().is_some_and(|said| said.contains("zhang.pem")),
            "{}",
            told.json
        );
    }
}

fn a_paper_is_held_against_its_anchor(world: &World) {
    let paper = world.path().join("minutes.txt");
    std::fs::write(&paper, "Minutes of the 7th meeting\n").expect("written");
    let name = paper.display().to_string();
    let anchor = format!("record document_anchor --id MIN-1 --kind minutes --root @{name} --key civil-window-1");
    file(world, &anchor);
    world.sealed(&world.seats[0], &file(world, &anchor));
    // Without either, both ways are named.
    for more in [&["--help"][..], &[]] {
        let mut asked = command("mingzhang", &world.home());
        let told = asked.args(["--lang", "en", "verify", "document", &name]).args(more).output();
        let told = told.expect("the client can be run");
        let said = String::from_utf8_lossy(if more.is_empty() { &told.stderr } else { &told.stdout }).into_owned();
        let usage = said.lines().find(|line| line.starts_with("Usage: ")).unwrap_or_default();
        assert!(usage.contains("<--record <TX|AGENCY/ID>|--receipt <RECEIPT|BUNDLE>>"), "{said}");
    }
    let online = ["verify", "document", &name, "--record", "civil/MIN-1"];
    let told = world.client(&online);
    good(&told);
    assert_eq!(
        (&told.data()["verdict"], &told.data()["outcome"]),
        (&json!("verified"), &json!("applied")),
        "{}",
        told.json
    );
    assert!(told.data()["steps"].to_string().contains("document"), "{}", told.json);
    // On a machine without context or network, from a receipt or a bundle.
    let genesis = world.path().join("genesis.json").display().to_string();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let kept = |kind: &str| world.path().join(format!("minutes.{kind}")).display().to_string();
    let offline = |kind: &str, more: &[&str]| {
        let (receipt, genesis) = (kept(kind), genesis.as_str());
        let told = ["--json", "verify", "document", &name, "--receipt", &receipt, "--genesis", genesis, "--offline"];
        run("mingzhang", &[&told[..], more].concat(), elsewhere.path())
    };
    for kind in ["tlog-proof", "bundle"] {
        good(&world.client(&["receipt", "get", "civil/MIN-1", "--format", kind, "--out", &kept(kind)]));
        good(&offline(kind, &[]));
    }
    let salt = std::fs::read_to_string(format!("{name}.salt")).expect("kept beside the paper");
    good(&offline("bundle", &["--salt", salt.trim()]));
    // Another record, no salt, a paper that was changed.
    refused(&world.client(&["verify", "document", &name, "--record", "civil/MIN-2"]), 5, "MZ-2005");
    world.document("MIN-3");
    refused(&world.client(&["verify", "document", &name, "--record", "civil/MIN-3"]), 8, "MZ-4114");
    std::fs::rename(format!("{name}.salt"), kept("moved")).expect("moved");
    let told = offline("bundle", &[]);
    refused(&told, 9, "MZ-4123");
    assert!(told.data()["missing"].to_string().contains("minutes.txt.salt"), "{}", told.json);
    good(&offline("bundle", &["--salt", &kept("moved")]));
    std::fs::rename(kept("moved"), format!("{name}.salt")).expect("moved back");
    std::fs::write(&paper, "Minutes of the 8th meeting\n").expect("written");
    refused(&world.client(&online), 8, "MZ-4114");
    refused(&offline("tlog-proof", &[]), 8, "MZ-4114");
}

/// The machine that signs knows no node: the genesis file says which network it is.
fn signing_needs_no_context(world: &World) {
    let path = |name: &str| world.path().join(name).display().to_string();
    let (draft, signed, key) = (path("carried.tx"), path("carried.signed"), path("keys/civil-window-1.pem"));
    let build = format!("tx build document_anchor --id CARRY-1 --root {} --kind minutes --out {draft}", "4".repeat(64));
    good(&world.client(&words(&build)));
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let sign = ["--json", "--lang", "en", "tx", "sign", &draft, "--out", &signed, "--key", &key];
    refused(&run("mingzhang", &sign, elsewhere.path()), 2, "MZ-2012");
    let genesis = path("genesis.json");
    good(&run("mingzhang", &[&sign[..], &["--genesis", &genesis]].concat(), elsewhere.path()));
    good(&world.client(&[&["tx", "submit", &signed][..], &WAIT].concat()));
}

fn no_handoffs_are_overwritten(world: &World) {
    let file = world.path().join("handoffs-kept.json");
    let name = file.display().to_string();
    std::fs::write(&file, "kept evidence").expect("written");
    refused(&world.client(&["receipt", "handoffs", "--out", &name]), 2, "MZ-5025");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "kept evidence");
}

/// The field `key` has a flag of its own, as --key is the key that signs; it is written like the others of the command line.
fn an_option_is_written_as_options_are(world: &World) {
    let help = command("mingzhang", &world.home()).args(["record", "key_revoke", "--help"]).output();
    let help = String::from_utf8_lossy(&help.expect("the program is built").stdout).into_owned();
    assert!(help.contains("--public-key") && !help.contains("--public_key"), "{help}");
    let told = world.client(&["record", "key_revoke", "--reason", "lost", "--key", "civil-admin-1"]);
    refused(&told, 2, "MZ-1004");
    assert!(told.json.to_string().contains("--public-key"), "{}", told.json);
    let before = format!("record key_revoke --public_key {} --reason lost --key civil-admin-1", "1".repeat(64));
    refused(&world.client(&words(&before)), 2, "MZ-2016");
}

fn an_import_that_is_broken_off_says_how_far_it_came(world: &World) {
    let (file, context) = (world.path().join("long.csv"), world.path().join("context.toml"));
    let row = |at: usize| format!("{at},2020-01-02,P{at},{at}.00,CNY\n");
    let rows: String = (1..6_000).map(row).collect();
    std::fs::write(&file, format!("id,date,payee,amount,currency\n{rows}")).expect("written");
    let words = ["--json", "--lang", "en", "import", "payments"];
    let mut import = command("mingzhang", &world.home());
    import.args(words).arg(&file).args(["--mode", "historical", "--context"]).arg(&context);
    let child = import.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program is built");
    let stopped = stop_under_way(world, child);
    assert_eq!(stopped.exit, Some(130), "{} {}", stopped.json, stopped.stderr);
    assert_eq!((&stopped.json["command"], &stopped.data()["status"]), (&json!("import payments"), &json!("pending")));
    assert!(stopped.data()["records_answered"].as_u64().is_some_and(|done| done > 0), "{}", stopped.json);
    let again = world.client(&[&["import", "payments"][..], &[path_text(&file), "--mode", "historical"]].concat());
    good(&again);
    assert_eq!((&again.data()["read"], &again.data()["unknown"]), (&json!(5_999), &json!(0)), "{}", again.json);
    assert!(again.data()["applied"].as_u64().is_some_and(|applied| applied > 0), "{}", again.json);
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Ctrl-C once the import has sent records.
fn stop_under_way(world: &World, child: std::process::Child) -> Told {
    let before = world.height(&world.seats[0]);
    until("records of the import", || (world.height(&world.seats[0]) > before + 3).then_some(()));
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let told: Told = child.wait_with_output().expect("it ends").into();
    told
}
