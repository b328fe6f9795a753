//! Rules of the repository that no lint checks: sizes of files, their opening line, the arrows between crates, marks of
//! unfinished work, paths of one machine, and that every code is explained. What the code does is tested elsewhere.

mod modules;
mod vectors;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use mingzhang_ledger::outcome::{Code, catalogue};

/// A file is read in one sitting.
const MAX_LINES: usize = 500;
/// Crates, and which of ours each may depend on outside its tests.
const ARROWS: [(&str, &[&str]); 6] = [
    ("ledger", &[]),
    ("consensus", &["ledger"]),
    ("genesis", &["ledger"]),
    ("seeds", &["ledger"]),
    ("node", &["ledger", "consensus", "genesis", "seeds"]),
    ("client", &["ledger", "genesis", "seeds"]),
];
/// Folders of sources, documents and scripts.
const FOLDERS: [&str; 11] =
    ["ledger", "consensus", "genesis", "seeds", "node", "client", "tests", "fuzz", "docs", "scripts", ".ci"];
/// How the sources name a code, up to its digits.
const CODE_FORMS: [&str; 12] = [
    "Code(",
    "Rejection::new(",
    "Refusal::new(",
    "Failure::new(",
    "Self::new(",
    "reject(",
    "reject_or_flag(",
    ".flag(",
    ".expect(",
    "failed(",
    "missing(",
    "MZ-",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate").to_owned()
}

/// A text file of the repository, by its path in it.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Rules that search for a word cannot be applied to the file that spells it.
    fn is_this_file(&self) -> bool {
        self.path == "tests/it/tidy.rs"
    }
}

/// Every text file of the folders, the root's own included.
fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a folder's entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    let own = ["Cargo.toml", "Makefile", "README.md", "README.zh-CN.md", ".gitignore", "clippy.toml"];
    found.extend(own.map(|name| root.join(name)).into_iter().filter(|path| path.exists()));
    found.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).ok()?;
        let path = path.strip_prefix(&root).expect("inside the repository").display().to_string();
        Some(Source { path, text })
    };
    found.into_iter().filter_map(read).collect()
}

/// Fails with every offence on a line of its own.
fn none(rule: &str, offences: impl IntoIterator<Item = String>) {
    let mut lines = String::new();
    for offence in offences {
        writeln!(lines, "  {offence}").expect("writing to a string cannot fail");
    }
    assert!(lines.is_empty(), "{rule}:\n{lines}");
}

/// Every line of the sources that the rule forbids.
fn lines_where<'a>(sources: &'a [Source], forbidden: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let offence = |source: &'a Source| {
        let lines = source.text.lines().enumerate().filter(|(_, line)| forbidden(source, line));
        lines.map(|(at, line)| format!("{}:{}: {}", source.path, at + 1, line.trim())).collect::<Vec<_>>()
    };
    sources.iter().filter(|source| !source.is_this_file()).flat_map(offence).collect()
}

#[test]
fn files_are_short_and_open_by_saying_what_they_answer_for() {
    let sources = sources();
    let rust: Vec<&Source> = sources.iter().filter(|source| source.is_rust()).collect();
    assert!(rust.len() > 100, "only {} files of Rust were found", rust.len());
    none(
        &format!("more than {MAX_LINES} lines"),
        rust.iter().filter_map(|source| {
            let lines = source.text.lines().count();
            (lines > MAX_LINES).then(|| format!("{}: {lines}", source.path))
        }),
    );
    none(
        "no //! on the first line",
        rust.iter().filter(|source| !source.text.starts_with("//!")).map(|source| source.path.clone()),
    );
}

#[test]
fn arrows_between_crates_point_one_way() {
    let root = root();
    for (name, allowed) in ARROWS {
        let path = root.join(name).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).expect("every crate has a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        let tables = ["dependencies", "build-dependencies"].iter().filter_map(|table| manifest.get(*table));
        let needed = tables.filter_map(toml::Value::as_table).flat_map(toml::Table::keys);
        let ours = needed.filter_map(|dependency| dependency.strip_prefix("mingzhang-"));
        none(
            &format!("{name} may depend on {allowed:?} of ours"),
            ours.filter(|dependency| !allowed.contains(dependency)).map(str::to_owned),
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["TODO", "FIXME", "XXX:", "#[ignore", "dbg!("];
    let offences = lines_where(&sources(), |_, line| marks.iter().any(|mark| line.contains(mark)));
    none("marks of unfinished work", offences);
}

#[test]
fn nothing_names_a_place_on_one_machine() {
    let places = ["/work/", "/root/", "/home/", "/tmp/"];
    let named = |line: &str| {
        let mut hits = places.iter().flat_map(|place| line.match_indices(place));
        // A place is absolute: what stands before it is no part of a longer path or address.
        hits.any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before
                .is_none_or(|letter| !letter.is_alphanumeric() && !matches!(letter, '.' | '_' | '-' | '}' | ')' | '$'))
        })
    };
    none("paths of one machine", lines_where(&sources(), |_, line| named(line)));
    let offences = lines_where(&sources(), |source, line| {
        let default = line.contains("MINGZHANG_DATA") || line.contains("../shared/data");
        source.path != "Cargo.lock" && line.contains("shared/") && !default
    });
    none("the data folder is named where it is a default only", offences);
}

/// The codes that a line names.
fn codes_of(line: &str) -> BTreeSet<u16> {
    let mut codes = BTreeSet::new();
    for form in CODE_FORMS {
        for (at, _) in line.match_indices(form) {
            let digits: String = line[at + form.len()..]
                .chars()
                .take_while(|letter| letter.is_ascii_digit() || *letter == '_')
                .collect();
            if digits.len() == 4
                && let Ok(code) = digits.parse::<u16>()
                && (1_000..6_000).contains(&code)
            {
                codes.insert(code);
            }
        }
    }
    codes
}

#[test]
fn every_code_that_is_used_is_explained_in_both_languages() {
    assert_eq!(codes_of("reject(3201, x); Code(1004); \"MZ-4103\""), BTreeSet::from([3201, 1004, 4103]));
    let sources = sources();
    let spoken = sources.iter().filter(|source| source.is_rust() || source.path.ends_with(".md"));
    let (mut used, mut offences) = (BTreeSet::new(), Vec::new());
    for source in spoken.filter(|source| !source.is_this_file()) {
        for (at, line) in source.text.lines().enumerate() {
            for code in codes_of(line) {
                used.insert(code);
                let entry = catalogue().get(&Code(code));
                let explained = entry.is_some_and(|entry| {
                    [&entry.zh, &entry.en].iter().all(|text| !text.title.is_empty() && !text.explain.is_empty())
                });
                if !explained {
                    offences.push(format!("{}:{}: MZ-{code}", source.path, at + 1));
                }
            }
        }
    }
    none("codes that the catalogue does not explain", offences);
    assert!(used.len() > 100, "only {} codes were found", used.len());
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let section = text.split("[workspace.dependencies]").nth(1).expect("the workspace lists its dependencies");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    // A comment speaks for the lines below it up to the next empty line.
    let (mut explained, mut offences, mut count) = (false, Vec::new(), 0);
    for line in lines {
        if line.trim().is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if !line.starts_with("mingzhang-") {
            count += 1;
            if !explained {
                offences.push(line.to_owned());
            }
        }
    }
    assert!(count > 20, "only {count} dependencies were found");
    none("dependencies without a reason", offences);
}

/// The fuzz targets lie outside the workspace and have a lock file of their own: what one of our crates comes to need must
/// be in it too, or they cannot be built.
#[test]
fn the_fuzz_targets_lock_what_our_crates_need() {
    let read = |path: &str| -> toml::Table {
        let text = std::fs::read_to_string(root().join(path)).expect("it is in the repository");
        text.parse().expect("cargo reads it")
    };
    let lock = read("fuzz/Cargo.lock");
    let packages = lock["package"].as_array().expect("packages");
    let (mut offences, mut count) = (Vec::new(), 0);
    for name in ARROWS.iter().map(|(name, _)| *name).chain(["tests"]) {
        let own = format!("mingzhang-{name}");
        let Some(package) = packages.iter().find(|package| package["name"].as_str() == Some(&own)) else { continue };
        let locked = package["dependencies"].as_array().expect("a list").iter().filter_map(toml::Value::as_str);
        // A version follows where there are several.
        let locked: BTreeSet<&str> = locked.filter_map(|text| text.split(' ').next()).collect();
        let manifest = read(&format!("{name}/Cargo.toml"));
        let optional = |wanted: &toml::Value| wanted.get("optional").and_then(toml::Value::as_bool) == Some(true);
        for (needed, wanted) in manifest["dependencies"].as_table().expect("a table") {
            if optional(wanted) {
                continue;
            }
            count += 1;
            if !locked.contains(needed.as_str()) {
                offences.push(format!("{name}: {needed}"));
            }
        }
    }
    assert!(count > 40, "only {count} dependencies were found");
    none("dependencies that fuzz/Cargo.lock lacks", offences);
}

/// `cargo clean -p` of one of our crates removes by the names of its targets: a library of the same name would go with it,
/// and all that stands on it would be built again at each step of `make build`.
#[test]
fn no_target_is_called_as_a_library_is() {
    let text = std::fs::read_to_string(root().join("Cargo.lock")).expect("it is in the repository");
    let libraries: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    let of_a_target = |source: &Source| {
        let (folder, file) = source.path.rsplit_once('/')?;
        let is_target = folder.ends_with("/tests") || folder.ends_with("/examples");
        is_target.then(|| file.strip_suffix(".rs").map(|name| name.replace('_', "-"))).flatten()
    };
    let targets: Vec<String> = sources().iter().filter_map(of_a_target).collect();
    assert!(targets.len() > 4 && libraries.len() > 100, "{targets:?}");
    none("targets called as a library", targets.into_iter().filter(|name| libraries.contains(name.as_str())));
}
