//! Runs plans on all processors, each in one thread, and turns a violated oracle into a line of text.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::founding::Network;
use crate::plan::Plan;
use crate::run::run;
use crate::sums::Sums;

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

/// What all runs share.
pub struct Fleet {
    pool: Arc<ThreadPool>,
}

impl Fleet {
    pub fn new() -> Self {
        let pool = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread for the pool");
        Self { pool: Arc::new(pool) }
    }

    pub fn run_here(&self, plan: &Plan) -> Sums {
        run(&Rc::new(Network::found()), &self.pool, plan)
    }

    /// Every seed of the range until one fails; sums are added in the order of seeds, so that their history is stable.
    pub fn run_all(&self, seeds: Range<u64>) -> (Sums, Vec<(u64, String)>, f64) {
        let started = Instant::now();
        let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
        let (done, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let network = Rc::new(Network::found());
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds.end || stop.load(Ordering::Relaxed) {
                            break;
                        }
                        match attempt(|| run(&network, &self.pool, &Plan::of(seed))) {
                            Ok(sums) => done.lock().expect("no worker panics while it holds it").push((seed, sums)),
                            Err(fault) => {
                                println!("seed {seed}: {fault}");
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
}
