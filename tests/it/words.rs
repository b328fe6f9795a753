//! What a clerk or an auditor reads of the client: plain words about what happened, and the command that comes next.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mingzhang_tests::world::{World, command};

/// How a command ended for a person: what is printed, prose included.
struct Read {
    exit: Option<i32>,
    out: String,
    prose: String,
}

impl Read {
    fn of(arguments: &[&str], home: &Path) -> Self {
        let output = command("mingzhang", home).args(arguments).output().expect("the client can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { exit: output.status.code(), out: text(&output.stdout), prose: text(&output.stderr) }
    }

    /// In one language, in the world's context.
    fn in_world(world: &World, language: &str, arguments: &[&str]) -> Self {
        let context = world.path().join("context.toml").display().to_string();
        Self::of(&[&["--context", &context, "--lang", language][..], arguments].concat(), &world.home())
    }

    fn english(world: &World, arguments: &[&str]) -> Self {
        Self::in_world(world, "en", arguments)
    }

    fn says(&self, exit: i32, words: &[&str]) {
        let all = format!("{}\n{}", self.out, self.prose);
        assert_eq!(self.exit, Some(exit), "{all}");
        for word in words {
            assert!(all.contains(word), "{word:?} is missing in:\n{all}");
        }
        let is_long = |line: &&str| line.chars().count() > 80 && line.contains(' ') && !line.contains("/tmp");
        assert_eq!(self.prose.lines().find(is_long), None, "a line that is too long");
    }
}

fn path(folder: &Path, name: &str) -> (PathBuf, String) {
    let path = folder.join(name);
    let text = path.display().to_string();
    (path, text)
}

/// Reserved for addresses at which nobody answers.
const NOBODY: [&str; 2] = ["--node", "http://127.0.0.1:9"];

#[test]
fn what_a_verification_and_a_submission_say() {
    let world = World::start(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    rejected_is_said_at_once(&world, folder.path());
    a_wrong_document_is_shown(&world, folder.path());
    evidence_needs_the_genesis_file_alone(&world, folder.path());
    an_approver_is_told_what_to_name(&world);
    an_amount_has_its_unit(&world, folder.path());
    an_id_made_here_is_told(&world);
    subjects_are_checked_and_keys_have_names(&world);
    a_lost_answer_is_no_refusal(&world);
    silence_keeps_the_record(&world);
}

/// A genuine receipt of a rejection does not look like that of a payment.
fn rejected_is_said_at_once(world: &World, folder: &Path) {
    let zeros = "0".repeat(64);
    let approve =
        ["record", "approve", "--waiting", "civil/NONE", "--digest", &zeros, "--key", "finance-finance-1", "--yes"];
    let would = Read::english(world, &[&approve[..], &["--dry-run=server"]].concat());
    would.says(3, &["would be rejected (not sent)", "MZ-3002"]);
    Read::english(world, &[&approve[..], &["--id", "A-1", "--wait", "60s"]].concat()).says(3, &["rejected", "MZ-3002"]);
    let (_, file) = path(folder, "rejected.tlog-proof");
    let got = Read::english(world, &["receipt", "get", "finance/A-1", "--out", &file]);
    got.says(0, &["receipt verified", "REJECTED MZ-3002"]);
    let verified = Read::english(world, &["verify", "receipt", &file]);
    verified
        .says(0, &["VERIFIED  approve finance/A-1  REJECTED\n", "the ledger's decision: REJECTED MZ-3002 Reference"]);
    // Nothing is ticked that was not checked here.
    verified.says(0, &["✓ seals", "○ signature  not checked, the seals attest it"]);
    assert!(!verified.out.contains("✓ signature"), "{}", verified.out);
    let chinese = Read::in_world(world, "zh-CN", &["verify", "receipt", &file]);
    chinese.says(0, &["已核验 VERIFIED  approve finance/A-1  已驳回\n", "账本的结果: 已驳回 MZ-3002"]);
    let (_, bundle) = path(folder, "rejected.json");
    Read::english(world, &["receipt", "get", "finance/A-1", "--format", "bundle", "--out", &bundle])
        .says(0, &["REJECTED"]);
    Read::english(world, &["audit", "verify", &bundle]).says(0, &["VERIFIED  approve finance/A-1  REJECTED\n"]);
    let shown = Read::english(world, &["receipt", "show", &file]);
    shown.says(0, &["approve finance/A-1", "REJECTED MZ-3002", "not verified here"]);
    let json = world.client(&["receipt", "show", &file]);
    assert_eq!(
        (&json.data()["outcome"], &json.data()["code"]),
        (&"rejected".into(), &"MZ-3002".into()),
        "{}",
        json.json
    );
}

fn a_wrong_document_is_shown(world: &World, folder: &Path) {
    world.document("DOC-1");
    let (_, file) = path(folder, "doc.tlog-proof");
    Read::english(world, &["receipt", "get", "civil/DOC-1", "--out", &file]).says(0, &["decision: applied"]);
    Read::english(world, &["verify", "receipt", &file]).says(0, &["VERIFIED  document_anchor civil/DOC-1  applied\n"]);
    let (paper, paper_path) = path(folder, "other.txt");
    std::fs::write(paper, "another paper").expect("written");
    let salt = "1".repeat(64);
    let told = Read::english(world, &["verify", "receipt", &file, "--document", &paper_path, "--salt", &salt]);
    told.says(8, &["FAILED", "✗ document", "✓ seals", "MZ-4114"]);
}

/// No context, and one of another network, make no difference to who judges from a genesis file.
fn evidence_needs_the_genesis_file_alone(world: &World, folder: &Path) {
    let (_, bundle) = path(folder, "officer.json");
    let asked = ["audit", "bundle", "officer", "civil-window-1", "--out", &bundle];
    Read::english(world, &asked).says(0, &["records"]);
    let genesis = world.path().join("genesis.json").display().to_string();
    let (elsewhere, other) = (tempfile::tempdir().expect("a temporary folder"), path(folder, "other.toml").1);
    let text = std::fs::read_to_string(world.path().join("context.toml")).expect("a context");
    std::fs::write(&other, text.replace(&world.genesis_hash(), &"0".repeat(64))).expect("written");
    for context in [&[][..], &["--context", &other]] {
        let verify = ["--lang", "en", "audit", "verify", &bundle, "--genesis", &genesis, "--offline"];
        let told = Read::of(&[context, &verify[..]].concat(), elsewhere.path());
        told.says(
            0,
            &["VERIFIED", "officer ", "as of height", "records ", &format!("genesis {}", world.genesis_hash())],
        );
    }
    // The same text again is fine; another one does not take the place of what is kept.
    std::fs::write(&bundle, "kept evidence").expect("written");
    Read::english(world, &asked).says(2, &["MZ-5025"]);
    Read::english(world, &["receipt", "get", "civil/DOC-1", "--out", &bundle]).says(2, &["MZ-5025"]);
    assert_eq!(std::fs::read_to_string(&bundle).expect("a file"), "kept evidence");
}

fn an_approver_is_told_what_to_name(world: &World) {
    let open = "record programme_open --id AID --mode live --currency CNY --purpose aid --years 2026 --legal_ref item-1 \
                --owner civil --finance finance --bank bank --supervisor market --scope aid --wait 60s";
    let told = Read::english(world, &open.split_whitespace().collect::<Vec<_>>());
    told.says(0, &["still needed", "KEY is the approver's key"]);
    // As a shell reads it; only the key is another's to name.
    let (_, command) = told.out.split_once("mingzhang record approve ").expect("a command");
    let shell = std::process::Command::new("sh").args(["-ec", &format!("printf '%s\\n' {command}")]).output();
    let line = String::from_utf8_lossy(&shell.expect("a shell").stdout).replace("KEY", "finance-finance-1");
    let approve: Vec<&str> = line.lines().collect();
    assert!(approve.starts_with(&["--key", "finance-finance-1", "--waiting", "civil/AID", "--digest"]), "{approve:?}");
    let wait = ["record", "approve", "--yes", "--wait", "60s"];
    Read::english(world, &[&wait[..], &approve].concat()).says(0, &["final, applied"]);
    // A case has a trail as well, and no money.
    let matter = "record matter_define --id M --legal_basis law --clock_days 20 --decider_role decider --documents plan \
                  --key approval-head-1 --wait 60s";
    Read::english(world, &matter.split_whitespace().collect::<Vec<_>>()).says(0, &["final, applied"]);
    let (applicant, form) = ("2".repeat(32), "3".repeat(64));
    let case =
        ["record", "case_submit", "--id", "C-1", "--matter", "approval/M", "--applicant", &applicant, "--form", &form];
    let filed = Read::english(world, &[&case[..], &["--key", "approval-window-1", "--wait", "60s"]].concat());
    filed.says(0, &["applied"]);
    world.sealed(&world.seats[0], filed.out.lines().next().expect("its transaction"));
    Read::english(world, &["audit", "programme", "approval/C-1"]).says(5, &["MZ-2005", "is no programme"]);
    let audit = Read::english(world, &["audit", "programme", "civil/AID"]);
    audit.says(0, &["balanced", "as of height", "+08:00"]);
    assert!(!audit.out.contains("historical"), "{}", audit.out);
    Read::in_world(world, "zh", &["audit", "programme", "civil/AID"]).says(0, &["账账相符", "注销", "标记"]);
}

/// A draft names no currency: its unit stands beside the amount, or the currency that the reader states.
fn an_amount_has_its_unit(world: &World, folder: &Path) {
    let (_, draft) = path(folder, "money.tx");
    let build = format!(
        "tx build appropriate --id AP-1 --amount 12.00 --currency CNY --from civil/AID --to civil/AID --legal_ref law \
         --out {draft}"
    );
    Read::english(world, &build.split_whitespace().collect::<Vec<_>>()).says(0, &["money.tx"]);
    let inspect = ["tx", "inspect", &draft];
    Read::english(world, &inspect).says(0, &[" 1200 minor units", "--currency CODE"]);
    Read::in_world(world, "zh-CN", &inspect).says(0, &[" 1200 最小单位", "--currency"]);
    let inspect = ["tx", "inspect", &draft, "--currency", "CNY"];
    Read::english(world, &inspect).says(0, &[" 12.00 CNY", "that of --currency"]);
    Read::english(world, &["tx", "inspect", &draft, "--currency", "MNX"]).says(2, &["MZ-2012", "not a currency"]);
}

fn an_id_made_here_is_told(world: &World) {
    let root = "5".repeat(64);
    let anchor = ["record", "document_anchor", "--root", &root, "--kind", "minutes", "--key", "civil-window-1"];
    let told = Read::english(world, &anchor);
    told.says(6, &["pending  civil/", "an id was made", "add --id ", "mingzhang tx wait"]);
    assert!(!told.out.contains("run it again, it is safe"), "{}", told.out);
    let (_, id) = told.out.split_once("pending  civil/").expect("the id");
    let name = format!("civil/{}", id.trim());
    Read::english(world, &["tx", "list"]).says(0, &[&name, "sha256:"]);
    Read::english(world, &["tx", "wait", &name, "--wait", "60s"]).says(0, &["final, applied"]);
    Read::english(world, &["tx", "status", &name]).says(0, &["final, applied"]);
    let listed = Read::english(world, &["tx", "list"]);
    assert!(!listed.out.contains(&name), "a final record is listed: {}", listed.out);
    let json = world.client(&anchor);
    assert_eq!((json.exit, &json.data()["id_made"]), (Some(6), &true.into()), "{}", json.json);
    let propose = ["gov", "propose", "authority_set", "--set", "turn_timeout_ms=2000", "--from", "1h"];
    let told = Read::english(world, &[&propose[..], &["--key", "approval-admin-1"]].concat());
    told.says(6, &["pending  approval/", "an id was made", "add --id "]);
    assert!(json.json["warnings"][0].as_str().is_some_and(|text| text.contains("--id ")), "{}", json.json);
}

fn subjects_are_checked_and_keys_have_names(world: &World) {
    Read::english(world, &["audit", "trail", "officer", "civil-window-1"]).says(0, &["DOC-1", "complete trail"]);
    Read::english(world, &["audit", "trail", "registry", "programmes"]).says(0, &["approve", "all of 1"]);
    an_officers_trail_shows_all_that_it_counts(world);
    // What a key of this desk signed is read without its passphrase.
    let mut made = command("mingzhang", &world.home())
        .args(["--context", &world.path().join("context.toml").display().to_string()])
        .args(["--passphrase-fd", "0", "key", "new", "li-lei"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the client can be run");
    made.stdin.take().expect("piped").write_all(b"correct horse\n").expect("it reads");
    assert!(made.wait().expect("it ends").success());
    Read::english(world, &["audit", "trail", "officer", "li-lei"]).says(5, &["MZ-2005", "has no trail"]);
    let wrong = [
        ("officer", "nobody", "key list"),
        ("recipient", "li-lei", "scope/pseudonym"),
        ("registry", "a/b/c", "proposals"),
    ];
    for (kind, id, words) in wrong {
        let told = Read::english(world, &["audit", "trail", kind, id]);
        told.says(2, &["MZ-2012", id]);
        assert!(told.prose.contains(words) || kind == "officer", "{}", told.prose);
    }
    Read::english(world, &["audit", "trail", "--help"]).says(0, &["civil-window-1", "accounts/AGENCY.PROGRAMME"]);
}

/// The founding document named the officer: it is the first entry of the trail, shown like the records.
fn an_officers_trail_shows_all_that_it_counts(world: &World) {
    let told = world.client(&["audit", "trail", "officer", "civil-window-1"]);
    let entries = told.data()["entries"].as_array().cloned().unwrap_or_default();
    assert_eq!(Some(entries.len() as u64), told.data()["count"].as_u64(), "{}", told.json);
    assert_eq!(entries[0]["record_type"], "genesis", "{}", told.json);
    let told = Read::english(world, &["audit", "trail", "officer", "civil-window-1"]);
    told.says(0, &["0 ✓", "genesis", "as of height", "+08:00"]);
    let long = told.out.lines().find(|line| line.chars().count() > 80);
    assert_eq!(long, None, "{}", told.out);
}

fn silence_keeps_the_record(world: &World) {
    let root = "6".repeat(64);
    let anchor = ["record", "document_anchor", "--root", &root, "--kind", "minutes", "--key", "civil-window-1"];
    let told = Read::english(world, &[&NOBODY[..], &anchor, &["--id", "KEPT-1"]].concat());
    told.says(7, &["MZ-2007", "connection refused", "the record is kept", "outbox: civil/KEPT-1", "fix: "]);
    let json = world.client(&[&NOBODY[..], &anchor, &["--id", "KEPT-1"]].concat());
    assert_eq!((json.code(), &json.json["errors"][0]["retryable"]), ("MZ-2007", &true.into()), "{}", json.json);
    assert_eq!(json.data()["kept_in_outbox"], true, "{}", json.json);
    Read::english(world, &[&NOBODY[..], &["tx", "list"]].concat()).says(0, &["civil/KEPT-1", "not asked"]);
    Read::english(world, &["tx", "list"]).says(0, &["civil/KEPT-1", "unknown to the node"]);
    // That no node knows it says no more of a receipt than of the status.
    let id = json.data()["tx_id"].as_str().expect("an id").to_owned();
    Read::english(world, &["tx", "status", &id]).says(6, &["unknown to this node"]);
    Read::english(world, &["receipt", "get", &id]).says(6, &["MZ-2008", "any node asked (1)", "never submitted"]);
    Read::in_world(world, "zh", &["receipt", "get", &id]).says(6, &["所询问的 1 个节点"]);
    // What is kept for another network is marked.
    let outbox = world.home().join("outbox");
    std::fs::rename(outbox.join(world.genesis_hash()), outbox.join("0".repeat(64))).expect("moved");
    Read::english(world, &["tx", "list"]).says(0, &["civil/KEPT-1", "another network"]);
}

/// A node that takes a record and says no more: whether it is recorded is not known, and nobody says that it is not.
fn a_lost_answer_is_no_refusal(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let node = format!("http://{}", listener.local_addr().expect("its address"));
    let status = format!("{{\"genesis_hash\":\"sha256:{}\"}}", world.genesis_hash());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() && request.starts_with(b"GET") {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", status.len());
                stream.write_all(format!("{head}{status}").as_bytes()).expect("the client listens");
            }
        }
    });
    let root = "8".repeat(64);
    let anchor = ["record", "document_anchor", "--root", &root, "--kind", "minutes", "--key", "civil-window-1"];
    let told = Read::english(world, &[&["--node", &node][..], &anchor, &["--id", "LOST-1"]].concat());
    told.says(6, &["MZ-2008", "outbox: civil/LOST-1"]);
    // The same command finds out: it sends the same bytes to a node that answers.
    let again = Read::english(world, &[&anchor[..], &["--id", "LOST-1", "--wait", "60s"]].concat());
    again.says(0, &["final, applied"]);
}

#[test]
fn a_context_is_never_chosen_or_replaced_unasked() {
    let (world, home) = (World::start(1), tempfile::tempdir().expect("a temporary folder"));
    let file = world.path().join("context.toml").display().to_string();
    let genesis = world.path().join("genesis.json").display().to_string();
    let add = |more: &[&str]| Read::of(&[&["--lang", "en", "context", "add"][..], more].concat(), home.path());
    add(&["first", "--from", &file]).says(0, &["first"]);
    add(&["second", "--from", &file]).says(0, &["the default stays first", "mingzhang context use second"]);
    let list = || Read::of(&["context", "list"], home.path());
    list().says(0, &["* first", "  second"]);
    // The same network again only updates.
    add(&["first", "--from", &file, "--own-agency", "civil"]).says(0, &["first"]);
    let kept = home.path().join("contexts/second.toml");
    let text = std::fs::read_to_string(&kept).expect("the context");
    std::fs::write(&kept, text.replace(&world.genesis_hash(), &"0".repeat(64))).expect("written");
    add(&["second", "--from", &file]).says(2, &["MZ-2012", "context remove second", "another name"]);
    let told = add(&["third", "--genesis", &genesis, "--genesis-hash", &"1".repeat(64)]);
    told.says(2, &["MZ-5018", "nothing was added"]);
    assert!(!told.prose.contains("evidence"), "{}", told.prose);
}

#[test]
fn record_types_are_listed_by_area_in_the_readers_language() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let list = |language| Read::of(&["--lang", language, "record", "--list"], home.path());
    let english = list("en");
    english.says(0, &["payment_request", "entitlement"]);
    assert_eq!(english.out.matches("Everywhere").count(), 1, "{}", english.out);
    assert!(english.out.is_ascii(), "{}", english.out);
    list("zh-CN").says(0, &["用款申请", "通用"]);
    Read::of(&["record", "approve", "--help"], home.path()).says(0, &["the waiting record's transaction id"]);
    Read::of(&["--lang", "fr", "version"], home.path()).says(2, &["zh-CN and en"]);
}
