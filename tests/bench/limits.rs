//! What this machine can do at best, measured in the same run as the network: signatures, hashes, durable
//! writes, records in RocksDB.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use mingzhang_ledger::crypto::{PublicKey, Signature, SigningKey, sha256, verify_batch};
use serde_json::{Value, json};

/// How long each limit is measured.
const SPAN: Duration = Duration::from_millis(1_500);

/// Records in a synced batch of RocksDB: those of a block.
const STORED_AT_ONCE: usize = 1_000;

/// Signatures in a batch: the size from which batching pays fully.
const BATCH: usize = 256;

/// Limits of one core, except durable writes, which are the disk's.
pub struct Limits {
    pub single_verifications: f64,
    pub batched_verifications: f64,
    pub hashed_mebibytes: f64,
    pub durable_writes: f64,
    /// Records of 400 bytes, a thousand to a synced batch.
    pub stored_records: f64,
}

impl Limits {
    pub fn json(&self) -> Value {
        json!({
            "verifications_per_second_single": self.single_verifications.round(),
            "verifications_per_second_batched_256": self.batched_verifications.round(),
            "sha256_mebibytes_per_second": self.hashed_mebibytes.round(),
            "durable_writes_per_second": self.durable_writes.round(),
            "rocksdb_records_per_second": self.stored_records.round(),
        })
    }
}

/// Measures all limits.
pub fn measure(folder: &Path) -> Result<Limits, String> {
    let signed: Vec<(PublicKey, Vec<u8>, Signature)> = (0..BATCH)
        .map(|index| {
            let key = SigningKey::from_seed(&[u8::try_from(index % 16).unwrap_or(0); 32]);
            let message = vec![u8::try_from(index % 251).unwrap_or(0); 420];
            let signature = key.sign(&message);
            (key.public(), message, signature)
        })
        .collect();
    let items: Vec<(PublicKey, &[u8], Signature)> =
        signed.iter().map(|(key, message, signature)| (*key, message.as_slice(), *signature)).collect();
    let single =
        rate(|| items.iter().take(16).filter(|(key, message, signature)| key.verify(message, signature)).count());
    let batched = rate(|| verify_batch(&items).iter().filter(|holds| **holds).count());
    let block = vec![7u8; 1 << 20];
    let hashed = rate(|| {
        std::hint::black_box(sha256(&[&block]));
        1
    });
    let path = folder.join("durable");
    let mut file = std::fs::File::create(&path).map_err(|error| error.to_string())?;
    let mut failed = None;
    let durable = rate(|| {
        if let Err(error) = file.write_all(&[1; 512]).and_then(|()| file.sync_data()) {
            failed = Some(error);
        }
        1
    });
    std::fs::remove_file(&path).map_err(|error| error.to_string())?;
    if let Some(error) = failed {
        return Err(error.to_string());
    }
    Ok(Limits {
        single_verifications: single,
        batched_verifications: batched,
        hashed_mebibytes: hashed,
        durable_writes: durable,
        stored_records: stored(&folder.join("rocksdb"))?,
    })
}

/// Records that RocksDB takes on one thread under random keys, with a sync after each thousand.
fn stored(folder: &Path) -> Result<f64, String> {
    let text = |error: rocksdb::Error| error.to_string();
    let db = rocksdb::DB::open_default(folder).map_err(text)?;
    let mut options = rocksdb::WriteOptions::default();
    options.set_sync(true);
    let (mut number, mut failed) = (0u64, None);
    let per_second = rate(|| {
        let mut batch = rocksdb::WriteBatch::default();
        for _ in 0..STORED_AT_ONCE {
            number += 1;
            batch.put(sha256(&[&number.to_be_bytes()]), [7; 400]);
        }
        failed = db.write_opt(batch, &options).err();
        STORED_AT_ONCE
    });
    failed.map_or(Ok(per_second), |error| Err(text(error)))
}

/// How many things per second, over [`SPAN`].
fn rate(mut work: impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < SPAN {
        done += work();
    }
    done as f64 / start.elapsed().as_secs_f64()
}
