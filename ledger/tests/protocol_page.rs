//! The state values on the protocol page are read from the sources: what is hashed is what is documented. Written anew by
//! MINGZHANG_WRITE_DOCS=1; without it the test says that they differ.

// Tests read and write files; the crate does not.
#![allow(clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- begin state values: written by the test `protocol_page` -->\n";
const END: &str = "<!-- end state values -->";
const WIDTH: usize = 132;

/// A type that is encoded into the state.
struct Shape {
    name: String,
    /// Whether it is a map, an array, an enumeration or a choice.
    form: Form,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Map,
    Array,
    Transparent,
    Enumeration,
    Choice,
}

struct Field {
    number: u32,
    name: String,
    /// Rust types of a field, or of a variant's fields.
    types: Vec<String>,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `RecordLeaf` → `record-leaf`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
}

fn inner<'a>(text: &'a str, generic: &str) -> Option<&'a str> {
    text.strip_prefix(generic)?.strip_prefix('<')?.strip_suffix('>')
}

fn cbor_type(rust: &str) -> String {
    if rust == "Vec<u8>" {
        return "bytes".into();
    }
    if let Some(shared) = inner(rust, "Arc") {
        return cbor_type(shared);
    }
    let shared_list = rust.strip_prefix('[').and_then(|list| list.strip_suffix(']')).filter(|list| !list.contains(';'));
    if let Some(item) = shared_list {
        return format!("[{}]", cbor_type(item));
    }
    if let Some(item) = inner(rust, "Vec") {
        return format!("[{}]", cbor_type(item));
    }
    if let Some(pair) = inner(rust, "BTreeMap") {
        let (key, value) = pair.split_once(", ").expect("two types");
        return format!("{{{} => {}}}", cbor_type(key), cbor_type(value));
    }
    match rust {
        "String" | "SmolStr" => "text".into(),
        "u64" | "u32" | "u16" => "uint".into(),
        "u128" => "wide".into(),
        "i32" => "int".into(),
        "bool" => "bool".into(),
        "Hash" => "hash".into(),
        "RecordId" => "id".into(),
        "KeyId" => "key-id".into(),
        "[u8; 16]" => "bytes[16]".into(),
        "[u8; 32]" => "bytes[32]".into(),
        other => kebab(other),
    }
}

/// The number in `#[n(7)]` or `#[cbor(n(7), …)]` at the start of a line, and what follows the attribute.
fn numbered(line: &str) -> Option<(u32, &str)> {
    let rest = line.strip_prefix("#[cbor(").or_else(|| line.strip_prefix("#["))?.strip_prefix("n(")?;
    let (number, rest) = rest.split_once(')')?;
    let (_, rest) = rest.split_once(']')?;
    Some((number.parse().ok()?, rest.trim()))
}

/// The types inside `Variant(#[n(0)] A, #[n(1)] B)`.
fn tuple_types(text: &str) -> Vec<String> {
    let Some(inside) = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else { return Vec::new() };
    let types = inside.0.split("#[").filter_map(|part| part.rsplit_once("] ").map(|(_, name)| name));
    types.map(|name| name.trim().trim_end_matches(',').trim_start_matches("pub ").to_owned()).collect()
}

fn read_shape(attributes: &[&str], lines: &mut dyn Iterator<Item = &str>, head: &str) -> Shape {
    let is_enum = head.starts_with("pub enum ");
    let name = head.split_whitespace().nth(2).expect("a name");
    let name = name.split(['(', '{']).next().expect("a name").to_owned();
    let has =
        |word: &str| attributes.iter().any(|attribute| attribute.starts_with("#[cbor(") && attribute.contains(word));
    let form = match (is_enum, has("index_only"), has("transparent"), has("map")) {
        (true, true, _, _) => Form::Enumeration,
        (true, false, _, _) => Form::Choice,
        (false, _, true, _) => Form::Transparent,
        (false, _, false, true) => Form::Map,
        (false, _, false, false) => Form::Array,
    };
    if head.ends_with(';') {
        let types = tuple_types(head);
        return Shape { name, form, fields: vec![Field { number: 0, name: String::new(), types }] };
    }
    let fields = if head.ends_with("{}") { Vec::new() } else { read_fields(lines) };
    Shape { name, form, fields }
}

fn read_fields(lines: &mut dyn Iterator<Item = &str>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    let mut number = None;
    let mut inside_variant = false;
    for line in lines.take_while(|line| *line != "}") {
        let line = line.trim();
        if let Some((found, "")) = numbered(line) {
            number = Some(found);
        } else if line == "}," {
            inside_variant = false;
        } else if let Some(found) = number.take().filter(|_| !line.starts_with("//")) {
            let text = line.trim_start_matches("pub ").trim_end_matches(',');
            let (name, rest) =
                text.split_at(text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()));
            let types = match rest.strip_prefix(": ") {
                Some(single) => vec![single.to_owned()],
                None => tuple_types(rest),
            };
            if inside_variant {
                fields.last_mut().expect("a variant").types.extend(types);
            } else {
                fields.push(Field { number: found, name: name.to_owned(), types });
                inside_variant = rest.trim() == "{";
            }
        }
    }
    fields
}

fn shapes(text: &str) -> Vec<Shape> {
    let mut found = Vec::new();
    let mut attributes: Vec<&str> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[") {
            attributes.push(line);
        } else if !line.starts_with("///") {
            let derives = attributes.iter().any(|a| a.starts_with("#[derive(") && a.contains("Encode"));
            if derives && (line.starts_with("pub struct ") || line.starts_with("pub enum ")) {
                found.push(read_shape(&attributes, &mut lines, line));
            }
            attributes.clear();
        }
    }
    found
}

fn describe(shape: &Shape) -> String {
    let optional = |rust: &str| inner(rust, "Option").map(str::to_owned);
    let part = |field: &Field| match shape.form {
        Form::Map | Form::Array => {
            let rust = &field.types[0];
            match optional(rust) {
                Some(some) => format!("{}: {}? {}", field.number, field.name, cbor_type(&some)),
                None => format!("{}: {} {}", field.number, field.name, cbor_type(rust)),
            }
        }
        Form::Transparent => cbor_type(&field.types[0]),
        Form::Enumeration => format!("{} {}", field.number, kebab(&field.name)),
        Form::Choice => {
            let types: Vec<String> = field.types.iter().map(|rust| cbor_type(rust)).collect();
            format!("{} [{}]", field.number, types.join(", "))
        }
    };
    let parts: Vec<String> = shape.fields.iter().map(part).collect();
    let (open, separator, close) = match shape.form {
        Form::Map => ("{ ", ", ", " }"),
        Form::Array => ("[ ", ", ", " ]"),
        Form::Transparent => ("", "", ""),
        Form::Enumeration | Form::Choice => ("", " | ", ""),
    };
    let mut text = format!("{} = {open}", kebab(&shape.name));
    let mut column = text.len();
    for (position, part) in parts.iter().enumerate() {
        let piece = if position + 1 == parts.len() { part.clone() } else { format!("{part}{separator}") };
        if column + piece.len() > WIDTH {
            text.truncate(text.trim_end().len());
            text.push_str("\n    ");
            column = 4;
        }
        column += piece.len();
        text.push_str(&piece);
    }
    text.push_str(close);
    text
}

fn generated() -> String {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut text = String::from("\n```\n");
    let mut names = Vec::new();
    for path in files {
        for shape in shapes(&std::fs::read_to_string(path).expect("a source file")) {
            assert!(!names.contains(&shape.name), "two types are called {}", shape.name);
            names.push(shape.name.clone());
            writeln!(text, "{}", describe(&shape)).expect("writing to a string");
        }
    }
    text.push_str("```\n\n");
    text
}

#[test]
fn state_values_are_the_documented_ones() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PROTOCOL.md");
    let text = std::fs::read_to_string(&page).expect("docs/PROTOCOL.md");
    let (before, rest) = text.split_once(BEGIN).expect("the page has the first mark");
    let (documented, after) = rest.split_once(END).expect("the page has the second mark");
    let now = generated();
    assert!(now.contains("record-leaf = { 0: index uint, 1: outcome uint"), "{now}");
    if std::env::var_os("MINGZHANG_WRITE_DOCS").is_some() {
        std::fs::write(&page, format!("{before}{BEGIN}{now}{END}{after}")).expect("docs/PROTOCOL.md is written");
        return;
    }
    assert!(documented == now, "run once with MINGZHANG_WRITE_DOCS=1: the state values have changed to {now}");
}
