//! A copy of the database while it is in use. A copy holds data only: whoever starts from one signs nothing until the
//! key is recovered by rule, because votes made after the copy are not in it.

use std::path::Path;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, WriteOptions};

use super::Store;
use super::fault::StoreFault;
use super::open::open_fault;
use super::schema::{self, Column, Memory, meta};

impl Store {
    /// Copies everything written so far into `target`, which must not exist. On the same file system the table files
    /// are shared, so it costs little.
    pub fn back_up(&self, target: &Path) -> Result<(), StoreFault> {
        self.sync()?;
        Checkpoint::new(&self.db)?.create_checkpoint(target)?;
        let memory = Memory { cache_bytes: 8 << 20, ..Memory::default() };
        let copy = DB::open_cf_descriptors(&schema::database_options(&memory), target, schema::columns(&memory));
        let copy = copy.map_err(|error| open_fault(target, &error))?;
        let column = copy.cf_handle(Column::Meta.name());
        let column = column.ok_or_else(|| StoreFault::corrupt("the copy", "it has no meta column"))?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(copy.put_cf_opt(column, meta::DOUBTED, [1], &synced)?)
    }
}
