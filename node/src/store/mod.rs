//! RocksDB, the only store: schema, one atomic batch per final block, durable votes.
