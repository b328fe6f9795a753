//! What this machine can do at best, measured in the same run as the network: signatures, hashes, durable
//! writes, records in RocksDB.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use mingzhang_ledger::crypto::{PublicKey, Signature, SigningKey, sha256, verify_batch};
use mingzhang_node::mempool::Verified;
use serde_json::{Value, json};

/// How long each limit is measured.
const SPAN: Duration = Duration::from_millis(1_500);

/// Records in a synced batch of RocksDB: those of a block.
const STORED_AT_ONCE: usize = 1_000;

/// How long verifications of one size of batch are measured.
const SPAN_OF_SIZE: Duration = Duration::from_millis(500);

/// Signatures in a batch: the size from which batching pays fully.
const BATCH: usize = 256;

/// Who signed them: as many as sign the records of a run. What signatures of one key share is verified once.
const SIGNERS: u8 = 4;

/// Limits of one core, except durable writes, which are the disk's.
pub struct Limits {
    pub single_verifications: f64,
    pub batched_verifications: f64,
    /// Verifications per second by the size of the batch: of the sizes by which a node counts them.
    pub by_size: BTreeMap<usize, f64>,
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
            "verifications_per_second_by_batch":
                self.by_size.iter().map(|(size, rate)| (size.to_string(), rate.round())).collect::<BTreeMap<_, _>>(),
            "sha256_mebibytes_per_second": self.hashed_mebibytes.round(),
            "durable_writes_per_second": self.durable_writes.round(),
            "rocksdb_records_per_second": self.stored_records.round(),
        })
    }
}

impl Limits {
    /// Verifications per second of one core in batches as these were: signatures by the size up to which their batches
    /// went, each taken for as large as that, so rather too many than too few. None without signatures.
    pub fn verifications(&self, signatures: &BTreeMap<usize, f64>) -> Option<f64> {
        let seconds = |(size, count): (&usize, &f64)| self.by_size.get(size).map(|rate| count / rate);
        let seconds: f64 = signatures.iter().filter_map(seconds).sum();
        (seconds > 0.0).then(|| signatures.values().sum::<f64>() / seconds)
    }
}

/// Measures all limits.
pub fn measure(folder: &Path) -> Result<Limits, String> {
    let signed: Vec<(PublicKey, Vec<u8>, Signature)> = (0..BATCH)
        .map(|index| {
            let key = SigningKey::from_seed(&[u8::try_from(index % usize::from(SIGNERS)).unwrap_or(0); 32]);
            let message = vec![u8::try_from(index % 251).unwrap_or(0); 420];
            let signature = key.sign(&message);
            (key.public(), message, signature)
        })
        .collect();
    let items: Vec<(PublicKey, &[u8], Signature)> =
        signed.iter().map(|(key, message, signature)| (*key, message.as_slice(), *signature)).collect();
    let single =
        rate(|| items.iter().take(16).filter(|(key, message, signature)| key.verify(message, signature)).count());
    let held = |items: &[(PublicKey, &[u8], Signature)]| verify_batch(items).iter().filter(|holds| **holds).count();
    let batched = rate(|| held(&items));
    let counted = Verified::default();
    let sizes = counted.by_size().map(|(size, _)| size).filter(|size| *size <= BATCH);
    let by_size = sizes.map(|size| (size, rate_over(SPAN_OF_SIZE, || held(&items[..size])))).collect();
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
        by_size,
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
fn rate(work: impl FnMut() -> usize) -> f64 {
    rate_over(SPAN, work)
}

fn rate_over(span: Duration, mut work: impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < span {
        done += work();
    }
    done as f64 / start.elapsed().as_secs_f64()
}
