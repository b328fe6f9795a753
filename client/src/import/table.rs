//! CSV files in any encoding as rows of our columns. A file that is no table is refused with its line, before anything
//! is sent.

use std::collections::{BTreeMap, BTreeSet};

use super::amount::Notation;
use super::broken::Broken;
use super::dates::DateFormat;
use super::map::Map;
use super::quotes;

/// One row: our columns that have a value, trimmed.
#[derive(Debug, Clone)]
pub struct Row {
    pub line: u64,
    values: BTreeMap<String, String>,
}

impl Row {
    /// The value of a column, empty where there is none.
    pub fn get(&self, column: &str) -> &str {
        self.values.get(column).map_or("", String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The mapped values by column, for the row's digest.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(column, value)| (column.as_str(), value.as_str()))
    }
}

/// A whole file.
#[derive(Debug, Clone)]
pub struct Table {
    pub rows: Vec<Row>,
    columns: BTreeSet<String>,
}

/// What a format knows of its columns.
pub struct Columns {
    pub known: &'static [&'static str],
    pub required: &'static [&'static str],
}

impl Table {
    pub fn read(bytes: &[u8], map: &Map, columns: &Columns) -> Result<Self, Broken> {
        let text = decode(bytes, map.encoding.as_deref())?;
        let mut lines = quotes::lines(&text)?.into_iter();
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
        let header = reader.headers().map_err(Broken::foreign)?.clone();
        let sources = sources(&header, map, columns).map_err(|fault| Broken::at(lines.next().unwrap_or(1), fault))?;
        lines.next();
        let (mut rows, mut faults) = (Vec::new(), Vec::new());
        for record in reader.records() {
            let record = record.map_err(Broken::foreign)?;
            // The reader's own number is that of the blank lines before the row.
            let line = lines.next().or_else(|| Some(record.position()?.line())).unwrap_or(0);
            if record.len() != header.len() {
                let (found, columns) = (record.len(), header.len());
                faults.push(Broken::at(line, Broken::new(format!("{found} value(s) for {columns} columns"))));
                continue;
            }
            let mut values = BTreeMap::new();
            for (ours, theirs) in &sources {
                let parts: Vec<&str> = theirs.iter().filter_map(|at| record.get(*at)).collect();
                if parts.iter().any(|part| !part.is_empty()) {
                    values.insert(ours.clone(), parts.join("-"));
                }
            }
            if !values.is_empty() {
                let constants = map.constants.iter().filter(|(ours, _)| !values.contains_key(*ours));
                let constants: Vec<_> = constants.map(|(ours, value)| (ours.clone(), value.clone())).collect();
                values.extend(constants);
            }
            rows.push(Row { line, values });
        }
        if !faults.is_empty() {
            return Err(Broken::listed(&faults));
        }
        let columns = sources.into_keys().chain(map.constants.keys().cloned()).collect();
        Ok(Self { rows, columns })
    }

    /// Which of these columns the file and its map have.
    pub fn columns_of(bytes: &[u8], map: &Map, (columns, of): (&Columns, &[&str])) -> Result<Vec<String>, Broken> {
        let text = decode(bytes, map.encoding.as_deref())?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
        let found = sources(reader.headers().map_err(Broken::foreign)?, map, columns)?;
        let stated = of.iter().filter(|name| found.contains_key(**name) || map.constants.contains_key(**name));
        Ok(stated.map(|name| (*name).to_owned()).collect())
    }

    pub fn has(&self, column: &str) -> bool {
        self.columns.contains(column)
    }

    /// How a column writes its amounts.
    pub fn notation(&self, map: &Map, column: &str) -> Notation {
        map.notation.of_column(self.rows.iter().map(|row| row.get(column)))
    }

    /// How a column writes its dates.
    pub fn dates(&self, map: &Map, column: &str) -> DateFormat {
        DateFormat::of_column(map.date.as_deref(), self.rows.iter().map(|row| row.get(column)))
    }
}

/// The positions in the file of each of our columns.
fn sources(header: &csv::StringRecord, map: &Map, columns: &Columns) -> Result<BTreeMap<String, Vec<usize>>, Broken> {
    let position = |name: &str| {
        let mut places = (0..).zip(header).filter(|(_, column)| *column == name).map(|(at, _): (usize, _)| at);
        match (places.next(), places.next()) {
            (Some(_), Some(_)) => Err(Broken::new(format!("two columns {name}"))),
            (found, _) => Ok(found),
        }
    };
    let missing = |name: &str| Broken::new(format!("no column {name}"));
    let mut found = BTreeMap::new();
    if map.columns.is_empty() {
        for ours in columns.known {
            found.extend(position(ours)?.map(|at| ((*ours).to_owned(), vec![at])));
        }
    }
    for (ours, theirs) in &map.columns {
        let at = theirs.iter().map(|name| position(name)?.ok_or_else(|| missing(name)));
        found.insert(ours.clone(), at.collect::<Result<_, _>>()?);
    }
    for ours in columns.required {
        if !found.contains_key(*ours) && !map.constants.contains_key(*ours) {
            return Err(Broken::new(format!("{}; name it in a map (--map)", missing(ours).0)));
        }
    }
    Ok(found)
}

/// Text in the stated encoding, else UTF-8; a byte-order mark is no part of it.
fn decode(bytes: &[u8], label: Option<&str>) -> Result<String, Broken> {
    let encoding = match label {
        Some(label) => encoding_rs::Encoding::for_label(label.as_bytes())
            .ok_or_else(|| Broken::new(format!("{label} is no known encoding")))?,
        None => encoding_rs::UTF_8,
    };
    let (text, used, damaged) = encoding.decode(bytes);
    if damaged {
        let lines = (1..).zip(text.split('\n')).filter(|(_, line)| line.contains(char::REPLACEMENT_CHARACTER));
        let name = used.name();
        let fault = || Broken::new(format!("bytes that are not {name}"));
        let faults: Vec<Broken> = lines.map(|(line, _)| Broken::at(line, fault())).collect();
        return Err(Broken::new(format!("{}; name the encoding in a map", Broken::listed(&faults).0)));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns { known: &["id", "date", "amount", "donor", "currency"], required: &["amount"] };

    fn map(text: &str) -> Map {
        Map::parse(text, COLUMNS.known).expect("a map")
    }

    #[test]
    fn our_own_columns_need_no_map() {
        let table =
            Table::read("\u{feff}id,amount,x\n1, 5 ,z\n,,\n".as_bytes(), &Map::default(), &COLUMNS).expect("a table");
        assert_eq!((table.rows[0].get("id"), table.rows[0].get("amount"), table.rows[0].line), ("1", "5", 2));
        assert!(table.rows[1].is_empty());
        assert!(!table.has("donor"));
    }

    #[test]
    fn mapped_joined_and_fixed_values() {
        let map = map("[columns]\namount=\"Betrag\"\ndonor=[\"a\",\"b\"]\n[constants]\ncurrency=\"CNY\"");
        let table = Table::read(b"a,b,Betrag\nperson,P-1,5\n", &map, &COLUMNS).expect("a table");
        let row = &table.rows[0];
        assert_eq!((row.get("donor"), row.get("currency"), row.get("amount")), ("person-P-1", "CNY", "5"));
    }

    #[test]
    fn other_encodings() {
        let map = map("[columns]\namount=\"金额\"\n[formats]\nencoding=\"gb18030\"");
        let (bytes, _, _) = encoding_rs::GB18030.encode("金额\n5\n");
        assert_eq!(Table::read(&bytes, &map, &COLUMNS).expect("a table").rows[0].get("amount"), "5");
        let fault = Table::read(&bytes, &Map::default(), &COLUMNS).expect_err("not UTF-8").0;
        assert!(fault.starts_with("line 1:"), "{fault}");
    }

    #[test]
    fn a_broken_file_names_its_line() {
        let fault = Table::read(b"id,amount\n1,2\n3\n", &Map::default(), &COLUMNS).expect_err("a short row").0;
        assert!(fault.starts_with("line 3:"), "{fault}");
        let fault = Table::read(b"id,amount\n1,2\n3\n4,5,6\n", &Map::default(), &COLUMNS).expect_err("two bad rows").0;
        assert_eq!(fault, "line 3: 1 value(s) for 2 columns; line 4: 3 value(s) for 2 columns");
        let many = format!("id,amount\n{}", "3\n".repeat(12));
        let fault = Table::read(many.as_bytes(), &Map::default(), &COLUMNS).expect_err("many bad rows").0;
        assert!(fault.contains("line 11:") && fault.ends_with("and 2 more lines"), "{fault}");
        let fault = Table::read(b"id,x\n", &Map::default(), &COLUMNS).expect_err("no amount").0;
        assert!(fault.contains("amount"), "{fault}");
    }

    #[test]
    fn a_quote_that_stays_open_hides_no_rows() {
        let file = b"id,amount,donor\n1,5,\"Foo\n2,6,Bar\n3,7,Baz\n";
        let fault = Table::read(file, &Map::default(), &COLUMNS).expect_err("an open quote");
        assert!(fault.0.starts_with("line 2: a quote"), "{fault:?}");
        assert!(mingzhang_ledger::phrases::chinese(&fault.0).starts_with("第 2 行: 引号"), "{fault:?}");
    }

    #[test]
    fn blank_lines_do_not_move_the_numbers_of_rows() {
        let file = b"id,amount\n\n1,5\r\n\r\n\n2,\"6\"\n";
        let table = Table::read(file, &Map::default(), &COLUMNS).expect("a table");
        assert_eq!(table.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 6]);
        let fault = Table::read(b"\nid,x\n", &Map::default(), &COLUMNS).expect_err("no amount");
        assert!(fault.0.starts_with("line 2: no column amount"), "{fault:?}");
    }

    #[test]
    fn a_column_that_stands_twice_is_refused_by_name() {
        let twice = b"id,amount,amount,x,x\n1,5,6,,\n";
        let fault = Table::read(twice, &Map::default(), &COLUMNS).expect_err("two amounts");
        assert_eq!(fault.0, "line 1: two columns amount");
        let map = map("[columns]\namount=\"x\"");
        Table::read(twice, &map, &COLUMNS).expect_err("two of theirs");
        Table::read(b"amount,x,x,,\n5,,,,\n", &Map::default(), &COLUMNS).expect("nobody reads them");
    }
}
