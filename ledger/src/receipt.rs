//! The receipt: a `.tlog-proof` text that anybody keeps and checks offline. Form only; `verify` judges it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::crypto::Hash;
use crate::entry::MAX_ENTRY_BYTES;
use crate::seal::{Note, SealFault, parse_decimal, parse_hash};

/// First line of the format.
pub const FORMAT: &str = "c2sp.org/tlog-proof@v1";
/// Most hashes in a path: one for each level of a tree of 2^64 leaves.
const MAX_PATH: usize = 64;

/// Why text is no receipt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReceiptFault {
    #[error("{0}")]
    Format(&'static str),
    #[error(transparent)]
    Note(#[from] SealFault),
}

/// A log entry, its place, and the sealed checkpoint that covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The log entry: type, outcome, and the transaction exactly as submitted.
    pub entry: Vec<u8>,
    pub index: u64,
    /// Leaf's sibling first.
    pub path: Vec<Hash>,
    pub note: Note,
}

impl Receipt {
    pub fn text(&self) -> String {
        let mut text = format!("{FORMAT}\nextra {}\nindex {}\n", STANDARD.encode(&self.entry), self.index);
        for hash in &self.path {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.note.text());
        text
    }

    /// Strict: the lines in their order and no others, canonical numbers and base64.
    pub fn parse(text: &str) -> Result<Self, ReceiptFault> {
        let (head, note) = text.split_once("\n\n").ok_or(ReceiptFault::Format("receipt without blank line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FORMAT) {
            return Err(ReceiptFault::Format("first line is not c2sp.org/tlog-proof@v1"));
        }
        let entry = lines.next().and_then(|line| line.strip_prefix("extra "));
        let entry = entry.ok_or(ReceiptFault::Format("second line does not carry the entry"))?;
        let entry = STANDARD.decode(entry).map_err(|_| ReceiptFault::Format("entry is not base64"))?;
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(ReceiptFault::Format("entry too long"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(parse_decimal);
        let index = index.ok_or(ReceiptFault::Format("third line does not carry the index"))?;
        let path: Vec<Hash> = lines
            .map(|line| parse_hash(line).ok_or(ReceiptFault::Format("path line is not the base64 of 32 bytes")))
            .collect::<Result<_, _>>()?;
        if path.len() > MAX_PATH {
            return Err(ReceiptFault::Format("path too long"));
        }
        Ok(Self { entry, index, path, note: Note::parse(note)? })
    }
}
