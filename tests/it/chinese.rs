//! What a reader of Chinese is shown: no English sentence, and one word for one thing.

use std::path::{Path, PathBuf};

use mingzhang_ledger::outcome::catalogue;
use mingzhang_ledger::phrases::chinese;
use mingzhang_tests::world::{World, command};

/// Where sentences beside a code are written, and how. Faults inside a node that only its log shows are not among them.
const FOLDERS: [&str; 6] =
    ["ledger/src", "genesis/src", "seeds/src", "client/src", "node/src/command", "node/src/devnet"];
const FILES: [&str; 6] = ["config.rs", "keys.rs", "setup.rs", "node/alarms.rs", "store/fault.rs", "recovery/draft.rs"];
const FORMS: [&str; 18] = [
    "reject(",
    "Rejection::new(",
    "Refusal::new(",
    "Failure::usage(",
    "Failure::coded(",
    "Failure::new(",
    "Failure::unreachable(",
    "Problem::failed(",
    "Problem::missing(",
    "failed(",
    "missing(",
    "wrong(",
    "#[error(",
    "ok_or_else(|| format!(",
    "map_err(|_| format!(",
    "let wanted = ",
    "let detail = format!(",
    "refused(",
];
/// Where alarms are written, which `status` shows to operators, and how.
const ALARMS: [&str; 4] = ["node/alarms.rs", "node/clocks.rs", "node/addresses.rs", "engine/mod.rs"];
const ALARM_FORMS: [&str; 5] =
    ["format!(", "let say = ", "unwrap_or_else(|| ", "&str =", "Alarm::SecondInstance { .. } => {"];
/// Words that were used beside the one that stays.
const RETIRED: [(&str, &str); 15] = [
    ("交接证明", "换届凭证"),
    ("交接区块", "换届块"),
    ("封存密钥", "封签密钥"),
    ("封存公钥", "封签公钥"),
    ("假名", "代称"),
    ("化名", "代称"),
    ("人员代号", "代称"),
    ("设定文件", "环境文件"),
    ("带盐", "加盐"),
    ("用途限定", "限定用途"),
    ("证书吊销", "密钥吊销"),
    ("监管方", "监督单位"),
    ("成员集", "成员名册"),
    ("账本的结论", "账本的结果"),
    ("结论未知", "结果未知"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate").to_owned()
}

/// Three words in a row that no name, id, code or command is made of.
fn english(text: &str) -> Option<String> {
    let is_word = |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut run: Vec<&str> = Vec::new();
    for line in text.lines() {
        run.clear();
        let mut names_command = false;
        for word in line.split(' ') {
            names_command = names_command || word.contains("mingzhang");
            let bare = word.trim_matches([',', '.', ';', ':', '?', '!']);
            if !is_word(&bare) || names_command {
                run.clear();
                names_command = names_command && !word.is_empty() && word.is_ascii();
                continue;
            }
            run.push(bare);
            if run.len() == 3 {
                return Some(format!("{:?} in {line}", run.join(" ")));
            }
            // A list of names is no sentence.
            if word.ends_with(',') {
                run.clear();
            }
        }
    }
    None
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if !path.ends_with("tests") => files.extend(rust_files(&path)),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            _ => {}
        }
    }
    files
}

/// The text in quotation marks that follows within a few columns, its gaps filled with a word.
fn literal(after: &str) -> Option<String> {
    let (before, rest) = after.split_once('"')?;
    if before.len() > 120 || before.contains(';') || before.contains("=>") {
        return None;
    }
    let (mut text, mut letters, mut depth) = (String::new(), rest.chars().peekable(), 0usize);
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Some(text),
            '\\' => match letters.next()? {
                '\n' => while letters.next_if(|next| next.is_whitespace()).is_some() {},
                'n' => text.push('\n'),
                other => text.push(other),
            },
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                text.push_str("C-1");
            }
            other if depth == 0 => text.push(other),
            _ => {}
        }
    }
    None
}

#[test]
fn sentences_beside_codes_have_their_chinese() {
    let folders = FOLDERS.iter().flat_map(|folder| rust_files(&root().join(folder)));
    let files = FILES.iter().map(|file| root().join("node/src").join(file));
    let files = folders.chain(files).map(|file| (file, &FORMS[..]));
    let alarms = ALARMS.iter().map(|file| (root().join("node/src").join(file), &ALARM_FORMS[..]));
    let mut missing = Vec::new();
    for (file, forms) in files.chain(alarms) {
        let text = std::fs::read_to_string(&file).expect("a source");
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for (form, at) in forms.iter().flat_map(|form| text.match_indices(form).map(move |(at, _)| (form, at))) {
            let Some(sentence) = text.get(at + form.len()..).and_then(literal) else { continue };
            if let Some(left) = english(&chinese(&sentence)) {
                missing.push(format!("{}: {left}", file.display()));
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "not in ledger/phrases.toml:\n{}", missing.join("\n"));
}

#[test]
fn one_word_stands_for_one_thing() {
    let texts = [
        "docs/CLERKS.zh-CN.md",
        "docs/OPERATIONS.zh-CN.md",
        "docs/PROTOCOL.zh-CN.md",
        "docs/RECORDS.zh-CN.md",
        "ledger/phrases.toml",
        "client/help.toml",
        "scripts/demo",
    ];
    let texts = texts.iter().map(|path| std::fs::read_to_string(root().join(path)).expect("a text"));
    let sources = ["client/src", "node/src", "ledger/src"].iter().flat_map(|folder| rust_files(&root().join(folder)));
    let sources = sources.map(|path| std::fs::read_to_string(path).expect("a source"));
    let codes = catalogue().values().map(|entry| format!("{} {} {}", entry.zh.title, entry.zh.explain, entry.zh.fix));
    for text in texts.chain(sources).chain(codes) {
        for (retired, kept) in RETIRED {
            assert!(!text.contains(retired), "{retired}: it is called {kept}");
        }
    }
}

/// All that a command prints, for a reader of Chinese.
fn read(home: &Path, arguments: &[&str]) -> String {
    printed("mingzhang", home, arguments)
}

fn printed(binary: &str, home: &Path, arguments: &[&str]) -> String {
    let output = command(binary, home).args(arguments).output().expect("the program can be run");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n")
}

fn wide(line: &str) -> usize {
    line.chars().map(|letter| if letter < '\u{2e80}' { 1 } else { 2 }).sum()
}

/// Nothing English, and no long line that could be broken.
fn assert_read(told: &str, arguments: &[&str]) {
    assert_eq!(english(told), None, "{arguments:?}:\n{told}");
    let long = told.lines().find(|line| wide(line) > 80 && line.trim_start().contains(' ') && !line.contains('/'));
    assert_eq!(long, None, "{arguments:?}:\n{told}");
}

#[test]
fn helps_and_refusals_of_the_command_line_are_chinese() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let helps = [
        "--help",
        "-h",
        "context --help",
        "context add --help",
        "key new --help",
        "record --help",
        "tx --help",
        "record payment_request --help",
        "record approve --help",
        "tx submit --help",
        "query --help",
        "gov --help",
        "gov propose --help",
        "receipt get --help",
        "verify receipt --help",
        "audit trail --help",
        "import --help",
        "import payments --help",
        "list build --help",
        "help tx",
        "man --help",
    ];
    let wrong = [
        "recrod",
        "tx",
        "tx submit",
        "tx wait",
        "record payment_reqest",
        "record approve --waitin a",
        "query block x",
        "--timeout 0 version",
        "--lang fr version",
        "import payments",
        "import payments f.csv --mode strikt",
        "record approve --dry-run server",
        "-q -v version",
        "gov vote a/b maybe",
        "explain 12x",
        "key show nobody",
        "query record civil/A",
        "tx submit /nowhere",
        "tx inspect /nowhere",
        "verify receipt /nowhere",
        "context use ../x",
        "context use nix",
        "context remove nix",
        "--context nix query status",
        "context add x",
        "key new a/b",
        "record document_anchor",
        "import payments /nowhere.csv",
    ];
    for line in helps.into_iter().chain(wrong) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let told = read(home.path(), &[&["--lang", "zh"][..], &arguments].concat());
        assert_read(&told, &arguments);
    }
    // A manual page is not laid out yet: its lines are as long as they are.
    assert_eq!(english(&read(home.path(), &["--lang", "zh", "man", "tx", "submit"])), None);
}

/// The node's command line takes a language as the client's does, and speaks it.
#[test]
fn an_operator_is_answered_in_the_language_that_was_asked_for() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let lines = [
        "--help",
        "init --help",
        "genesis --help",
        "genesis contribute --help",
        "genesis assemble --help",
        "run --help",
        "devnet up --help",
        "recovery draft --help",
        "nonsense",
        "devnet up --agencies x",
        "run",
        "run --config /nowhere",
        "config check --config /nowhere",
        "key status --config /nowhere",
        "genesis check /nowhere",
        "status --config /nowhere",
        "devnet status --dir /nowhere",
        "--lang fr status",
    ];
    for line in lines {
        let arguments: Vec<&str> = line.split(' ').collect();
        for tag in ["zh", "zh-CN", "zh_CN.UTF-8"] {
            let told = printed("mingzhang-node", home.path(), &[&["--lang", tag][..], &arguments].concat());
            assert_read(&told, &arguments);
        }
        let english = printed("mingzhang-node", home.path(), &[&["--lang", "en-GB"][..], &arguments].concat());
        assert!(english.is_ascii(), "{english}");
    }
}

/// What a program reads beside a code is the same for every reader.
fn assert_one_language(home: &Path, arguments: &[&str]) {
    let output = command("mingzhang", home).args(arguments).output().expect("the program can be run");
    let Ok(envelope) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else { return };
    for error in envelope["errors"].as_array().into_iter().flatten() {
        let detail = error["detail"].as_str().unwrap_or_default();
        assert!(!detail.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter)), "{arguments:?}: {detail}");
    }
}

#[test]
fn what_a_clerk_reads_is_chinese() {
    let (world, folder) = (World::start(1), tempfile::tempdir().expect("a temporary folder"));
    let context = world.path().join("context.toml").display().to_string();
    let (zeros, root) = ("0".repeat(64), "5".repeat(64));
    let file = folder.path().join("r.tlog-proof").display().to_string();
    world.document("DOC-1");
    let map = folder.path().join("m.toml").display().to_string();
    std::fs::write(&map, "[formats]\ndate = 5\n").expect("a file");
    let open = "record programme_open --id AID --mode live --currency CNY --purpose aid --years 2026 --legal_ref item-1 \
                --owner civil --finance finance --bank bank --supervisor market --scope aid";
    let lines = [
        format!("{open} --dry-run=server"),
        format!("{open} --wait 60s"),
        format!("record approve --waiting civil/NONE --digest {zeros} --key finance-finance-1 --dry-run=server"),
        format!("record approve --waiting civil/NONE --digest {zeros} --key finance-finance-1 --id A-1 --wait 60s"),
        format!("record document_anchor --root {root} --kind minutes --key civil-window-1 --id DOC-1 --wait 60s"),
        format!("record document_anchor --root {root} --kind Minutes! --key civil-window-1 --wait 60s"),
        "record document_anchor --root abc --kind minutes --key civil-window-1".to_owned(),
        "record commit --amount 1,000 --from a --to b --key finance-finance-1".to_owned(),
        "record approve --waiting a --digest b --key nobody".to_owned(),
        format!("receipt get civil/DOC-1 --out {file}"),
        format!("receipt show {file}"),
        format!("verify receipt {file}"),
        format!("verify receipt {file} --document {file} --salt {root}"),
        "tx status civil/DOC-1".to_owned(),
        "tx status civil/NONE".to_owned(),
        "tx list".to_owned(),
        "audit trail officer civil-window-1".to_owned(),
        "audit trail officer nobody".to_owned(),
        "audit programme civil/NONE".to_owned(),
        "context show".to_owned(),
        "context check".to_owned(),
        "gov propose authority_set --set confirm_wait=1500 --from 1h --id P-1 --key approval-admin-1 --wait 60s"
            .to_owned(),
        "gov propose authority_set --set nothing=2000 --from 1h --key approval-admin-1".to_owned(),
        "gov list".to_owned(),
        "gov show approval/P-1".to_owned(),
        "gov impact".to_owned(),
        "gov vote approval/NONE yes --key approval-admin-1".to_owned(),
        "--node http://127.0.0.1:9 query status".to_owned(),
        "--node 127.0.0.1:9 query status".to_owned(),
        "--node http://nowhere.invalid:9 query status".to_owned(),
        "audit trail recipient nobody".to_owned(),
        "audit trail registry no/thing/here".to_owned(),
        "audit programme civil/DOC-1".to_owned(),
        "query record civil/NONE".to_owned(),
        "record key_revoke --key_id 00 --key civil-window-1 --no-input".to_owned(),
        format!("import payments {map} --map {map} --key civil-window-1"),
    ];
    for line in &lines {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let told = read(&world.home(), &[&["--context", &context, "--lang", "zh"][..], &arguments].concat());
        assert_read(&told, &arguments);
        assert_one_language(
            &world.home(),
            &[&["--context", &context, "--lang", "zh", "--json"][..], &arguments].concat(),
        );
    }
    let unknown = read(&world.home(), &["--lang", "zh", "context", "use", "nix"]);
    assert!(unknown.contains("没有名为 nix 的环境;mingzhang context list 列出全部"), "{unknown}");
    let shown = read(&world.home(), &["--context", &context, "--lang", "zh", "context", "show"]);
    assert!(!["origin", "genesis  ", "nodes", "agency", "(flag)"].iter().any(|word| shown.contains(word)), "{shown}");
}

/// A proposal that stands open is called neither applied nor agreed, and a dry run says who must still act.
#[test]
fn what_waits_is_not_called_in_force() {
    let world = World::start(1);
    let context = world.path().join("context.toml").display().to_string();
    let told = |language: &str, line: &str| {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        read(&world.home(), &[&["--context", &context, "--lang", language][..], &arguments].concat())
    };
    let says = |told: &str, words: &[&str]| {
        assert!(words.iter().all(|word| told.contains(word)), "{words:?}:\n{told}");
        assert!(!told.contains("applied") && !told.contains("已生效"), "{told}");
    };
    let open = "record programme_open --id AID --mode live --currency CNY --purpose aid --years 2026 --legal_ref item-1 \
                --owner civil --finance finance --bank bank --supervisor market --scope aid --dry-run=server";
    says(&told("en", open), &["would be recorded, waits for approval", "still needed: finance approve (finance)"]);
    says(&told("zh", open), &["将记录,待批准", "还需: finance approve (finance)"]);
    let propose = "gov propose authority_set --set confirm_wait=1500 --from 1h --id P-1 --key approval-admin-1";
    says(&told("en", &format!("{propose} --wait 60s")), &["recorded, open for votes", "still needed: vote (admin)"]);
    says(&told("zh", "tx status approval/P-1"), &["已记录,待表决"]);
    for shown in ["gov list", "gov show approval/P-1"] {
        says(&told("en", shown), &["open, if it passes takes effect 20", "+08:00\n", "  0 of ", "votes that it needs"]);
        says(&told("zh", shown), &["待表决,若通过则生效于 20", "赞成 0 票", "反对 0 票"]);
    }
}
