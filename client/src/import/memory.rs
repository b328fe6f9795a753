//! What an importer remembers of a source besides its key: the day on which each batch was first seen, and the years of
//! each programme. Each is written once, before anything that rests on it is sent: a later run makes the same records, and
//! a file that has grown adds to them.

use std::path::{Path, PathBuf};

use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::records::fund::programme::MAX_YEARS;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fund::Term;
use crate::output::Failure;

const BATCH: &str = "batch";
const YEARS: &str = "years";
const KNOWN_BY: &str = "known-by";

/// The memory of one source.
pub struct Memory {
    /// None: nothing is remembered.
    folder: Option<PathBuf>,
    today: Day,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchFile {
    name: String,
    rows_root: String,
    since: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownByFile {
    columns: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct YearsFile {
    programme: String,
    years: Vec<u64>,
}

impl Memory {
    pub fn none(today: Day) -> Self {
        Self { folder: None, today }
    }

    pub fn within(folder: PathBuf, today: Day) -> Self {
        Self { folder: Some(folder), today }
    }

    fn path(&self, kind: &str, key: &[&[u8]]) -> Option<PathBuf> {
        let name: String = hex::encode(sha256(key)).chars().take(32).collect();
        Some(self.folder.as_ref()?.join(format!("{kind}-{name}.toml")))
    }

    /// The day on which a batch was first seen: what it states from then on lay ahead.
    pub fn since(&self, name: &str, rows_root: &Hash) -> Result<Day, Failure> {
        let Some(path) = self.path(BATCH, &[rows_root, name.as_bytes()]) else { return Ok(self.today) };
        let (name, rows_root) = (name.to_owned(), hex::encode(rows_root));
        let kept = once(&path, BatchFile { name, rows_root, since: self.today.to_string() })?;
        Day::parse(&kept.since).ok_or_else(|| Failure::unreadable(&path, "since is no date"))
    }

    /// That rows without ids are known by the columns that they were known by first: by others each would be another row.
    pub fn check_known_by(&self, (source, columns): (&str, &[String])) -> Result<(), Failure> {
        let Some(path) = self.path(KNOWN_BY, &[]).filter(|_| !columns.is_empty()) else { return Ok(()) };
        let kept = once(&path, KnownByFile { columns: columns.to_owned() })?.columns;
        if kept == columns {
            return Ok(());
        }
        let (first, now) = (kept.join(", "), columns.join(", "));
        let detail = format!(
            "{source}: its rows without ids were known by {first}, now by {now}; each would be recorded once more: map the same columns"
        );
        Err(Failure::usage(detail))
    }

    /// All batches that were ever seen, by name and rows.
    pub fn batches(&self) -> Result<Vec<(String, Hash)>, Failure> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| Failure::unreadable(folder, error))?,
        };
        let mut found = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(BATCH)) {
                continue;
            }
            let Some(kept) = read::<BatchFile>(&path)? else { continue };
            let root = hex::decode(&kept.rows_root).ok().and_then(|bytes| bytes.try_into().ok());
            found.push((kept.name, root.ok_or_else(|| Failure::unreadable(&path, "rows_root is no hash"))?));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The terms that cover these years: those of the programme as it stands, then further ones, since neither the years of
    /// a programme nor that of its SOURCE can change.
    pub fn terms(&self, programme: &str, years: &[u64]) -> Result<Vec<Term>, Failure> {
        let further = |year: &u64| format!("{programme}/{year}");
        let mut terms: Vec<Term> = self.term(programme)?.into_iter().collect();
        for year in years {
            if !covers(&terms, *year) {
                terms.extend(self.term(&further(year))?);
            }
        }
        loop {
            let missing: Vec<u64> =
                years.iter().copied().filter(|year| !covers(&terms, *year)).take(MAX_YEARS).collect();
            let Some(first) = missing.first() else { return Ok(terms) };
            let key = if terms.is_empty() { programme.to_owned() } else { further(first) };
            let years = match self.path(YEARS, &[key.as_bytes()]) {
                Some(path) => once(&path, YearsFile { programme: key.clone(), years: missing })?.years,
                None => missing,
            };
            terms.push(Term { key, years });
        }
    }

    fn term(&self, key: &str) -> Result<Option<Term>, Failure> {
        let Some(path) = self.path(YEARS, &[key.as_bytes()]) else { return Ok(None) };
        let kept: Option<YearsFile> = read(&path)?;
        Ok(kept.map(|kept| Term { key: key.to_owned(), years: kept.years }))
    }
}

fn covers(terms: &[Term], year: u64) -> bool {
    terms.iter().any(|term| term.years.contains(&year))
}

/// None where there is no file. One that cannot be read is never replaced.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map(Some).map_err(|error| Failure::unreadable(path, error.message())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::unreadable(path, error)),
    }
}

/// What is kept; else it is written now.
fn once<T: Serialize + DeserializeOwned>(path: &Path, value: T) -> Result<T, Failure> {
    if let Some(kept) = read(path)? {
        return Ok(kept);
    }
    let text = toml::to_string(&value).map_err(|error| Failure::bug(error.to_string()))?;
    match (crate::keys::write(path, &text), read(path)) {
        (Ok(()), _) => Ok(value),
        // Another import of this source was first.
        (Err(_), Ok(Some(kept))) => Ok(kept),
        (Err(failure), _) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(memory: &Memory, years: impl IntoIterator<Item = u64>) -> Vec<(String, Vec<u64>)> {
        let years: Vec<u64> = years.into_iter().collect();
        let terms = memory.terms("gifts/CNY", &years).expect("terms");
        terms.into_iter().map(|term| (term.key, term.years)).collect()
    }

    #[test]
    fn a_batch_keeps_the_day_on_which_it_was_first_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |today: i32| Memory::within(folder.path().to_owned(), Day(today));
        assert_eq!(at(20_000).since("b", &[1; 32]).expect("a day"), Day(20_000));
        assert_eq!(at(20_050).since("b", &[1; 32]).expect("a day"), Day(20_000));
        assert_eq!(at(20_050).since("b", &[2; 32]).expect("a day"), Day(20_050));
        assert_eq!(at(20_050).since("c", &[1; 32]).expect("a day"), Day(20_050));
        assert_eq!(at(0).batches().expect("batches").len(), 3);
        let file =
            std::fs::read_dir(folder.path()).expect("the folder").next().expect("a file").expect("an entry").path();
        std::fs::write(&file, "since = 1").expect("written");
        let failure = at(0).batches().expect_err("damaged");
        assert!(failure.detail.contains(&file.display().to_string()), "{}", failure.detail);
    }

    #[test]
    fn further_years_are_of_further_terms() {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = Memory::within(folder.path().to_owned(), Day(20_000));
        let (first, later) =
            (("gifts/CNY".to_owned(), vec![2014, 2016]), ("gifts/CNY/2015".to_owned(), vec![2015, 2017]));
        assert_eq!(terms(&memory, [2014, 2016]), std::slice::from_ref(&first));
        assert_eq!(terms(&memory, [2014, 2015, 2016, 2017]), [first.clone(), later.clone()]);
        assert_eq!(terms(&memory, [2014, 2016]), std::slice::from_ref(&first), "the first file again");
        let earlier = ("gifts/CNY/2013".to_owned(), vec![2013]);
        assert_eq!(terms(&memory, [2013, 2014, 2015]), [first, later, earlier]);
        let lengths = |terms: Vec<(String, Vec<u64>)>| terms.iter().map(|(_, years)| years.len()).collect::<Vec<_>>();
        assert_eq!(lengths(terms(&Memory::none(Day(0)), 1950..2020)), [32, 32, 6], "a programme has 32 years at most");
    }
}
