//! Maps: which columns of a file are ours, which values are fixed, how it writes dates, decimals and characters.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::amount::Notation;
use super::broken::Broken;
use crate::output::Failure;

/// A map file as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapFile {
    #[serde(default)]
    columns: BTreeMap<String, Theirs>,
    #[serde(default)]
    constants: BTreeMap<String, toml::Value>,
    #[serde(default)]
    formats: Formats,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a column's name or a list of such names")]
enum Theirs {
    One(String),
    Joined(Vec<String>),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Formats {
    date: Option<String>,
    decimal: Option<char>,
    thousands: Option<char>,
    scale: Option<u64>,
    encoding: Option<String>,
}

/// A map, checked against the columns that a format has.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// Ours = theirs, several joined by `-`. Empty: the file has our columns.
    pub columns: BTreeMap<String, Vec<String>>,
    pub constants: BTreeMap<String, String>,
    pub date: Option<String>,
    pub encoding: Option<String>,
    pub notation: Notation,
}

impl Map {
    pub fn read(path: &Path, known: &[&str]) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(Broken::foreign);
        let map = text.and_then(|text| Self::parse(&text, known));
        map.map_err(|fault| fault.failure(&path.display().to_string()))
    }

    pub fn parse(text: &str, known: &[&str]) -> Result<Self, Broken> {
        let file: MapFile = toml::from_str(text).map_err(Broken::foreign)?;
        if let Some(name) =
            file.columns.keys().chain(file.constants.keys()).find(|name| !known.contains(&name.as_str()))
        {
            let known = known.join(", ");
            return Err(Broken::new(format!("{name} is none of our columns: {known}")));
        }
        let constant = |(name, value): (String, toml::Value)| match value {
            toml::Value::String(text) => Ok((name, text)),
            toml::Value::Integer(number) => Ok((name, number.to_string())),
            other => Err(Broken::new(format!("constant {name}: {other} is neither text nor a whole number"))),
        };
        let columns = file.columns.into_iter().map(|(name, theirs)| match theirs {
            Theirs::One(column) => (name, vec![column]),
            Theirs::Joined(columns) => (name, columns),
        });
        let plain = Notation::default();
        let notation = Notation {
            decimal: file.formats.decimal.unwrap_or(plain.decimal),
            thousands: file.formats.thousands,
            scale: file.formats.scale.unwrap_or(plain.scale),
            ..plain
        };
        if notation.scale == 0 || Some(notation.decimal) == notation.thousands {
            return Err(Broken::new("scale must be above zero, decimal and thousands must differ"));
        }
        if let Some(sign) = [Some(notation.decimal), notation.thousands].into_iter().flatten().find(is_no_sign) {
            return Err(Broken::new(format!(
                "{sign:?} cannot be decimal or thousands: no digit, letter, sign or quote can"
            )));
        }
        Ok(Self {
            columns: columns.collect(),
            constants: file.constants.into_iter().map(constant).collect::<Result<_, _>>()?,
            date: file.formats.date,
            encoding: file.formats.encoding,
            notation,
        })
    }
}

/// What stands for something else in an amount or its file. An apostrophe groups digits in Switzerland.
fn is_no_sign(char: &char) -> bool {
    char.is_alphanumeric() || matches!(char, '+' | '-' | '−' | '"' | '“' | '”')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["id", "donor", "currency"];

    #[test]
    fn columns_constants_and_formats() {
        let text = "[columns]\nid = \"Nr\"\ndonor = [\"kind\", \"name\"]\n[constants]\ncurrency = \"CNY\"\n\
                    [formats]\ndate = \"%Y.%m.%d\"\nscale = 10000\nthousands = \",\"\nencoding = \"gb18030\"\n";
        let map = Map::parse(text, KNOWN).expect("a map");
        assert_eq!(map.columns["donor"], ["kind", "name"]);
        assert_eq!(map.constants["currency"], "CNY");
        assert_eq!((map.notation.scale, map.notation.thousands), (10_000, Some(',')));
        assert_eq!(map.encoding.as_deref(), Some("gb18030"));
    }

    #[test]
    fn a_map_that_cannot_be_read_has_a_code() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("map.toml");
        let code = |path: &Path| Map::read(path, KNOWN).map(|_| ()).expect_err("no map").code.map(|code| code.0);
        assert_eq!(code(&path), Some(2011), "it is not there");
        std::fs::write(&path, "columns = 1").expect("a file");
        assert_eq!(code(&path), Some(2011));
    }

    #[test]
    fn what_is_not_ours_is_refused_by_name() {
        for text in ["[columns]\nname = \"x\"", "[formats]\ndates = \"x\"", "[formats]\nscale = 0", "columns = 1"] {
            assert!(Map::parse(text, KNOWN).is_err(), "{text}");
        }
    }

    #[test]
    fn digits_and_signs_separate_nothing() {
        for sign in ["-", "+", "0", "５", "\\\"", "e", ".", "元"] {
            assert!(Map::parse(&format!("[formats]\nthousands = \"{sign}\""), KNOWN).is_err(), "{sign}");
        }
        assert!(Map::parse("[formats]\ndecimal = \"-\"", KNOWN).is_err());
        for sign in [",", " ", "'", "\u{a0}"] {
            assert!(Map::parse(&format!("[formats]\nthousands = \"{sign}\""), KNOWN).is_ok(), "{sign}");
        }
    }
}
