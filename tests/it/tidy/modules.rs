//! The arrows between the modules of a pure crate point one way, but within the knots that are listed here. Reads `use`
//! lines and paths; whether what a module does belongs there is not judged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{none, root};

/// Modules that need each other, each time as a folder and what lies in it. Those of one knot are read together. A knot
/// may become smaller, never larger: then this list must say so.
const KNOTS: [(&str, &[&str]); 6] = [
    // A block is run by applying records, which read and write the state; what the door knows is asked of both.
    ("ledger", &["door", "records", "rules", "state"]),
    // An object is one of all mechanisms, and each mechanism is written against objects, scenes and the schema.
    (
        "ledger/records",
        &[
            "body",
            "case",
            "disclosure",
            "document",
            "finding",
            "fund",
            "governance",
            "import",
            "judge",
            "object",
            "registry",
            "scene",
            "schema",
            "signer",
            "validate",
            "waiting",
        ],
    ),
    // A movement is booked on accounts of a programme under its rules, and each of them names the others' values.
    (
        "ledger/records/fund",
        &["award_grant", "book", "day", "entitlement", "list", "movement", "origin", "programme", "rules", "shown"],
    ),
    // A header is proven by who decides it, who decides follows from headers.
    ("ledger/verify", &["authorities", "header"]),
    // What is known verified spares checks of the messages that hold it.
    ("consensus", &["evidence", "justification", "known", "message", "verify"]),
    // The fault of a check is that of the document which is checked.
    ("genesis", &["check", "genesis"]),
];
/// The four crates that the same bytes go into and come out of.
const PURE: [&str; 4] = ["ledger", "consensus", "genesis", "seeds"];
/// Rooms of tests, and of worlds that only tests and measurements see.
const ASIDE: [&str; 4] = ["tests", "testing", "simulation", "model"];

/// A module as the path of its names, the crate's root being empty.
type Module = Vec<String>;
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Every module below a folder with its text, without tests and comments.
fn modules(folder: &Path, module: &[String], found: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a folder's entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if ASIDE.contains(&name.as_str()) {
            continue;
        }
        let own = if matches!(name.as_str(), "mod" | "lib") { module.to_vec() } else { [module, &[name]].concat() };
        if path.is_dir() {
            modules(&path, &own, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            found.insert(own, bare(&text));
        }
    }
}

/// A source without comments, up to the tests at its end.
fn bare(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("mod tests") {
            break;
        }
        lines.push(line.split("//").next().unwrap_or_default());
    }
    lines.join("\n")
}

fn names(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The paths of what stands behind `use`, braces resolved.
fn spread(before: &[String], text: &str, found: &mut Vec<Vec<String>>) {
    let (mut depth, mut from) = (0, 0);
    let ends = text.char_indices().chain([(text.len(), ',')]).filter(|(_, letter)| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        *letter == ',' && depth == 0
    });
    for (end, _) in ends {
        let part = text[from..end].trim();
        from = (end + 1).min(text.len());
        match part.split_once('{') {
            Some((head, inner)) => {
                let before = [before, &names(head)].concat();
                spread(&before, inner.strip_suffix('}').expect("a brace is closed"), found);
            }
            None if !part.is_empty() => {
                let path = part.split(" as ").next().unwrap_or(part);
                found.push([before, &names(path)].concat());
            }
            None => {}
        }
    }
}

/// Every path into the crate that a source names.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for statement in text.split(';') {
        let at = statement.rfind("use ").filter(|at| statement[..*at].ends_with([' ', '\n']) || *at == 0);
        if let Some(at) = at {
            spread(&[], &statement[at + "use ".len()..], &mut found);
        }
    }
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(root) {
            if text[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_:".contains(letter)) {
                continue;
            }
            let path = text[at..].split(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)));
            found.push(names(path.into_iter().next().unwrap_or_default()));
        }
    }
    found
}

/// Where a path leads, seen from a module. None for what lies outside the crate, or below the module itself.
fn resolved(path: &[String], from: &[String]) -> Option<Module> {
    let above = path.iter().take_while(|name| *name == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => Some([&from[..from.len().checked_sub(above)?], &path[above..]].concat()),
        "self" => Some([from, &path[1..]].concat()),
        _ => None,
    }
}

/// For each folder, which of its modules names which other one, whatever lies below either.
fn arrows(name: &str, modules: &BTreeMap<Module, String>) -> BTreeMap<String, Arrows> {
    let mut folders: BTreeMap<String, Arrows> = BTreeMap::new();
    for (from, text) in modules {
        for path in paths(text) {
            let Some(mut to) = resolved(&path, from) else { continue };
            while !to.is_empty() && !modules.contains_key(&to) {
                to.pop();
            }
            let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
            if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                let folder = [&[name.to_owned()], &from[..shared]].concat().join("/");
                folders.entry(folder).or_default().entry(one.clone()).or_default().insert(other.clone());
            }
        }
    }
    folders
}

/// What can be reached by one arrow or more.
fn reached<'a>(arrows: &'a Arrows, from: &str) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for next in arrows.get(module).into_iter().flatten() {
            if found.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    found
}

/// Modules that reach each other, as they lie in a folder.
fn knots(folders: &BTreeMap<String, Arrows>) -> BTreeSet<(String, Vec<String>)> {
    let mut knots = BTreeSet::new();
    for (folder, arrows) in folders {
        for module in arrows.keys() {
            let reached_from_here = reached(arrows, module);
            let knot = reached_from_here.iter().filter(|other| reached(arrows, other).contains(module.as_str()));
            let knot: Vec<String> = knot.map(|other| (*other).to_owned()).collect();
            if !knot.is_empty() {
                knots.insert((folder.clone(), knot));
            }
        }
    }
    knots
}

fn knots_of(sources: &[(&str, &str)]) -> BTreeSet<(String, Vec<String>)> {
    let modules = sources.iter().map(|(path, text)| (names(path), bare(text))).collect();
    knots(&arrows("here", &modules))
}

#[test]
fn a_circle_of_modules_is_found() {
    let straight = [("", "use b::C;"), ("a", "use crate::b::{C, D};"), ("b", "// crate::a\npub struct C;")];
    assert_eq!(knots_of(&straight), BTreeSet::new());
    let knot = |folder: &str, modules: &[&str]| {
        BTreeSet::from([(folder.to_owned(), modules.iter().map(|module| (*module).to_owned()).collect())])
    };
    let circle =
        [("a", "use std::fmt;\nuse crate::{b::{C, D}, e};"), ("b", "fn f() -> super::e::E {}"), ("e", "use crate::a;")];
    assert_eq!(knots_of(&circle), knot("here", &["a", "b", "e"]));
    let below = [("a", ""), ("a::b", "use super::c::D;"), ("a::c", "use crate::a::b::E as F;")];
    assert_eq!(knots_of(&below), knot("here/a", &["b", "c"]));
    let of_tests = [("a", "use crate::b;"), ("b", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}")];
    assert_eq!(knots_of(&of_tests), BTreeSet::new());
}

#[test]
fn modules_of_the_pure_crates_have_no_circles_but_the_known_ones() {
    let mut found = BTreeSet::new();
    for name in PURE {
        let mut read = BTreeMap::new();
        modules(&root().join(name).join("src"), &[], &mut read);
        found.extend(knots(&arrows(name, &read)));
    }
    let known: BTreeSet<(String, Vec<String>)> = KNOTS
        .iter()
        .map(|(folder, modules)| ((*folder).to_owned(), modules.iter().map(|module| (*module).to_owned()).collect()))
        .collect();
    let line = |(folder, modules): &(String, Vec<String>)| format!("{folder}: {}", modules.join(", "));
    none("modules that need each other", found.difference(&known).map(line));
    none("knots that are none any more, or smaller", known.difference(&found).map(line));
}

/// Clippy reads the nearest file only: what is forbidden in pure crates must stand in each of them.
#[test]
fn the_pure_crates_forbid_the_same() {
    let read = |name: &str| std::fs::read_to_string(root().join(name).join("clippy.toml")).unwrap_or_default();
    let of_ledger: toml::Table = read("ledger").parse().expect("TOML");
    for list in ["disallowed-types", "disallowed-methods"] {
        assert!(of_ledger.get(list).and_then(toml::Value::as_array).is_some_and(|list| list.len() >= 4), "{list}");
    }
    none(
        "another clippy.toml than ledger's",
        PURE.iter().filter(|name| read(name) != read("ledger")).map(|name| (*name).to_owned()),
    );
}
