//! How much a block may hold so that the others execute it well within its turn, learnt from the last blocks. A block
//! that is too large for the machines of the network fails its turn, and its work is done again: without this, load
//! above what the network can bear would bear it down. Only this node's own proposals follow it, so it can be wrong
//! without harm.

use crate::{Millis, Turn};

/// Smaller blocks teach nothing: their time is not spent on records.
const WEIGHTY_RECORDS: u64 = 64;
/// Cost is counted in these parts of a millisecond.
const PARTS: u64 = 1_024;
/// Weight of what was known against what is new.
const MEMORY: u64 = 3;
/// Failures after which blocks shrink no more.
const MOST_HALVINGS: u32 = 6;

#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    /// The newest turn whose proposal is under way here, and since when.
    begun: Option<(Turn, Millis)>,
    /// Time from proposal to certificate, by record; 0 while nothing is known.
    cost: u64,
    /// Each failed turn halves what a block may hold, each success takes one halving back, whatever its size: what
    /// failed need not have been the records.
    halvings: u32,
}

impl Flow {
    /// A block of this turn is being built or executed here.
    pub fn begin(&mut self, turn: Turn, now_ms: Millis) {
        if self.begun.is_none_or(|(known, _)| known < turn) {
            self.begun = Some((turn, now_ms));
        }
    }

    /// A quorum executed the block of this turn.
    pub fn endorsed(&mut self, turn: Turn, records: u64, now_ms: Millis) {
        let Some((_, since_ms)) = self.begun.take_if(|(begun, _)| *begun == turn) else { return };
        self.halvings = self.halvings.saturating_sub(1);
        if records < WEIGHTY_RECORDS {
            return;
        }
        let parts = now_ms.saturating_sub(since_ms).saturating_mul(PARTS);
        let cost = parts.checked_div(records).unwrap_or(0).max(1);
        let known = if self.cost == 0 { cost } else { self.cost };
        let sum = known.saturating_mul(MEMORY).saturating_add(cost);
        self.cost = sum.checked_div(MEMORY.saturating_add(1)).unwrap_or(cost);
    }

    /// The turn of a block that was under way here failed.
    pub fn failed(&mut self, turn: Turn) {
        if self.begun.take_if(|(begun, _)| *begun == turn).is_some() {
            self.halvings = self.halvings.saturating_add(1).min(MOST_HALVINGS);
        }
    }

    /// Most records of a block that shall be certified within `target_ms`.
    pub fn limit(&self, most: u64, target_ms: Millis) -> u64 {
        let records = target_ms.saturating_mul(PARTS).checked_div(self.cost).map_or(most, |records| records.min(most));
        (records >> self.halvings).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_shrink_to_what_was_executed_in_time_and_grow_again() {
        let mut flow = Flow::default();
        assert_eq!(flow.limit(5_000, 250), 5_000);
        flow.begin(1, 1_000);
        flow.endorsed(1, 2_000, 2_000);
        let slow = flow.limit(5_000, 250);
        assert!((450..=550).contains(&slow), "{slow}");
        for turn in 2..40 {
            flow.begin(turn, 0);
            flow.endorsed(turn, 500, 10);
        }
        assert_eq!(flow.limit(5_000, 250), 5_000);
    }

    #[test]
    fn failed_turns_halve_and_unseen_turns_teach_nothing() {
        let mut flow = Flow::default();
        flow.failed(1);
        assert_eq!(flow.limit(5_000, 250), 5_000);
        for (turn, expected) in [(2, 2_500), (3, 1_250), (4, 625)] {
            flow.begin(turn, 0);
            flow.failed(turn);
            assert_eq!(flow.limit(5_000, 250), expected);
        }
        for turn in 5..40 {
            flow.begin(turn, 0);
            flow.failed(turn);
        }
        assert_eq!(flow.limit(5_000, 250), 78, "never to nothing");
    }

    #[test]
    fn small_blocks_end_what_failed_turns_began() {
        let mut flow = Flow::default();
        flow.begin(1, 0);
        flow.endorsed(1, 1_000, 100);
        for turn in 2..40 {
            flow.begin(turn, 0);
            flow.failed(turn);
        }
        for turn in 40..60 {
            flow.begin(turn, 0);
            flow.endorsed(turn, 10, 50);
        }
        assert!((2_400..=2_600).contains(&flow.limit(5_000, 250)), "what was learnt is not forgotten");
    }
}
