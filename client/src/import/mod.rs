//! Historical imports: files into claims, claims into records, records to the ledger, and what became of each item.
//! Formats know their files, planners the records, `load` the order of sending; what the rules say is the ledger's.

pub mod amount;
pub mod broken;
pub mod dates;
pub mod donations;
pub mod entitled;
pub mod fund;
pub mod grants;
pub mod identity;
pub mod item;
pub mod items;
pub mod load;
pub mod map;
pub mod memory;
pub mod node;
pub mod own;
pub mod payments;
pub mod permits;
pub mod plan;
pub mod prove;
pub mod quotes;
pub mod reason;
pub mod report;
pub mod returns;
pub mod row;
pub mod swapped;
pub mod table;
pub mod unique;
pub mod words;

use std::path::Path;

use self::broken::Broken;
use self::item::{Note, Source};
use self::map::Map;
use self::row::Reading;
use crate::output::Failure;

#[cfg(test)]
mod tests;

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024 * 1024;

/// The formats of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Grants,
    Payments,
    Donations,
    Permits,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Grants => "360giving",
            Self::Payments => "payments",
            Self::Donations => "donations",
            Self::Permits => "permits",
        }
    }

    fn table(self) -> Option<&'static table::Columns> {
        match self {
            Self::Grants => None,
            Self::Payments => Some(&payments::COLUMNS),
            Self::Donations => Some(&donations::COLUMNS),
            Self::Permits => Some(&permits::COLUMNS),
        }
    }

    /// Our columns of the format; none where it is no table.
    pub fn columns(self) -> &'static [&'static str] {
        self.table().map_or(&[], |columns| columns.known)
    }
}

/// Reads a file whole. Its fault names the line; nothing was sent yet.
pub fn read(format: Format, path: &Path, (map, strict): (&Map, bool)) -> Result<Source, Failure> {
    source(format, path, (map, strict)).map_err(|fault| fault.failure(&path.display().to_string()))
}

fn source(format: Format, path: &Path, (map, strict): (&Map, bool)) -> Result<Source, Broken> {
    let file = path.display().to_string();
    let size = std::fs::metadata(path).map_err(Broken::foreign)?.len();
    if size > MAX_FILE_BYTES {
        return Err(Broken::new(format!("{size} bytes, at most {MAX_FILE_BYTES} are read")));
    }
    let bytes = std::fs::read(path).map_err(Broken::foreign)?;
    let name = path.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
    let reading = Reading { name: &name, map, strict };
    let claims = match format {
        Format::Grants => grants::read(&bytes, &reading),
        Format::Payments => payments::read(&bytes, &reading),
        Format::Donations => donations::read(&bytes, &reading),
        Format::Permits => permits::read(&bytes, &reading),
    };
    let claims = claims?;
    let known_by = match format.table().filter(|_| claims.iter().any(|claim| claim.known_by.is_some())) {
        Some(columns) => table::Table::columns_of(&bytes, map, (columns, &row::KNOWN_BY))?,
        None => Vec::new(),
    };
    let mut source = Source { name, claims, file, known_by };
    for claim in source.claims.iter_mut().filter(|claim| claim.date.is_none() && claim.unsent.is_none()) {
        claim.notes.push(Note::DateInherited);
    }
    source.merge();
    Ok(source)
}
