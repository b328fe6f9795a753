//! Compares clocks without asking anybody: a block whose time lies in this node's future was made by a clock that is ahead
//! of this one by at least as much. A clock that is behind shows at its own node, one that is ahead at all the others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::store::{Store, StoreFault};

/// Clocks that differ by more than this are an operator's matter.
const ALARM_MS: u64 = 250;
/// Blocks after which a difference that did not show again is forgotten.
const REMEMBERED_BLOCKS: usize = 64;

/// What the last blocks tell about clocks.
#[derive(Debug, Default)]
pub struct Clocks {
    /// How far the times of the last blocks lay in this node's future, in milliseconds.
    recent: Mutex<VecDeque<u64>>,
    /// Whose block lay farthest, and how far.
    worst_ms: AtomicU64,
    agency: Mutex<String>,
}

impl Clocks {
    /// How far another clock was ahead of this node's at least, over the last blocks.
    pub fn ahead_ms(&self) -> u64 {
        self.worst_ms.load(Ordering::Relaxed)
    }

    /// The sentence for the operator, while there is a reason for it.
    pub fn alarm(&self) -> Option<String> {
        let ahead_ms = self.ahead_ms();
        let agency = self.agency.lock().expect("no holder of this lock panics");
        (ahead_ms > ALARM_MS).then(|| {
            format!(
                "a block of {agency} lay {ahead_ms} ms in this node's future: check the time source of both machines"
            )
        })
    }

    /// Takes note of a final block's time.
    fn see(&self, agency: &str, time_ms: u64, now_ms: u64) {
        let ahead_ms = time_ms.saturating_sub(now_ms);
        let mut recent = self.recent.lock().expect("no holder of this lock panics");
        let before = recent.iter().copied().max().unwrap_or(0);
        if recent.len() == REMEMBERED_BLOCKS {
            recent.pop_front();
        }
        recent.push_back(ahead_ms);
        self.worst_ms.store(recent.iter().copied().max().unwrap_or(0), Ordering::Relaxed);
        if ahead_ms > before {
            agency.clone_into(&mut self.agency.lock().expect("no holder of this lock panics"));
        }
        if ahead_ms > ALARM_MS && before <= ALARM_MS {
            tracing::error!(agency, ahead_ms, "clocks differ: the time of a block lies in this node's future");
        }
    }

    /// Looks at each new tip until the store is gone.
    pub async fn watch(self: Arc<Self>, store: Arc<Store>, clock: Arc<Clock>) -> Result<(), StoreFault> {
        let mut heights = store.watch_height();
        while heights.changed().await.is_ok() {
            let height = *heights.borrow_and_update();
            let now_ms = clock.now_ms();
            let Some(header) = store.view()?.header(height)? else { continue };
            let set = store.set();
            let agency = set.member(header.proposer).map_or("", |member| member.agency.as_str());
            self.see(agency, header.time_ms, now_ms);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_block_from_the_future_alarms() {
        let clocks = Clocks::default();
        clocks.see("civil", 1_000, 1_400);
        clocks.see("finance", 2_000, 1_750);
        assert_eq!((clocks.ahead_ms(), clocks.alarm()), (250, None), "250 ms are allowed");
        clocks.see("data", 3_000, 2_749);
        assert_eq!(clocks.ahead_ms(), 251);
        assert!(clocks.alarm().is_some_and(|text| text.contains("data") && text.contains("251 ms")));
        (0..REMEMBERED_BLOCKS).for_each(|_| clocks.see("civil", 4_000, 4_100));
        assert_eq!((clocks.ahead_ms(), clocks.alarm()), (0, None), "an old difference is forgotten");
    }
}
