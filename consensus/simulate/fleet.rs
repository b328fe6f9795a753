//! Runs seeds on all processors and turns a violated oracle into a line of text.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
// This program is no part of the pure crate: it measures its own speed.
#[allow(clippy::disallowed_types)]
use std::time::Instant;

use mingzhang_consensus::simulation::run::Sums;

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are results here, so the hook keeps their text instead of printing it.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        let text = text.lines().skip(1).collect::<Vec<_>>().join(" ");
        LAST_PANIC.with(|last| *last.borrow_mut() = text);
    }));
}

/// The value, or the text of the panic.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| LAST_PANIC.with(|last| last.borrow().clone()))
}

/// Every seed of the range until one fails; sums are added in the order of seeds, so that their history is stable.
#[allow(clippy::disallowed_types)]
pub fn run_all(seeds: Range<u64>, work: impl Fn(u64) -> Sums + Sync) -> (Sums, Vec<(u64, String)>, f64) {
    let started = Instant::now();
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (done, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match attempt(|| work(seed)) {
                        Ok(sums) => done.lock().expect("no worker panics while it holds it").push((seed, sums)),
                        Err(fault) => {
                            failures.lock().expect("no worker panics while it holds it").push((seed, fault));
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panicked while it held it");
    done.sort_by_key(|(seed, _)| *seed);
    let mut sums = Sums::default();
    for (_, one) in &done {
        sums.add(one);
    }
    let mut failures: Vec<(u64, String)> = failures.into_inner().expect("no worker panicked while it held it");
    failures.sort();
    (sums, failures, started.elapsed().as_secs_f64())
}
