//! What tests counted, for docs/ASSURANCE.md: `make assurance` reads it.

use std::path::Path;
use std::sync::Mutex;

use serde_json::{Map, Value};

/// Tests of one program run side by side; programs run one after the other.
static WRITING: Mutex<()> = Mutex::new(());

/// Notes a count under its name in a file of `target/assurance`.
pub fn count(file: &str, what: &str, number: usize) {
    assert!(number > 0, "{what}: nothing was tried");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/assurance");
    let path = folder.join(format!("{file}.json"));
    let _one_at_a_time = WRITING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    std::fs::create_dir_all(&folder).expect("the folder for counts can be made");
    let known = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
    let mut counts = known.unwrap_or_default();
    counts.insert(what.to_owned(), number.into());
    std::fs::write(&path, serde_json::to_vec_pretty(&counts).expect("counts are JSON")).expect("counts can be written");
}
