//! What execution said about rejected records: the figures that disagreed. For people only: nothing of it is hashed, and
//! a node that took its state from a peer does not have it.

use rocksdb::WriteBatch;

use super::Store;
use super::fault::StoreFault;
use super::schema::Column;
use super::view::View;

impl Store {
    /// Keeps the words about the records at these log indices.
    pub fn keep_details<'a>(&self, details: impl Iterator<Item = (u64, &'a str)>) -> Result<(), StoreFault> {
        let mut batch = WriteBatch::default();
        details.for_each(|(index, detail)| batch.put_cf(self.column(Column::Details), index.to_be_bytes(), detail));
        if batch.is_empty() { Ok(()) } else { self.write(batch).map(drop) }
    }
}

impl View<'_> {
    /// The words about the record at a log index, if this node executed it.
    pub fn detail(&self, index: u64) -> Result<Option<String>, StoreFault> {
        let bytes = self.get(Column::Details, &index.to_be_bytes())?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}
