//! To whom the own seal was sent again lately. An answer looks like the repetition that it answers: without this memory
//! two members would answer each other for ever.

use std::collections::BTreeMap;

/// A member repeats its seal after a second at the earliest; what comes sooner is an answer to an answer.
const PAUSE_MS: u64 = 500;
/// Answers that are remembered. Beyond, nobody is answered until some are old.
const MAX_ANSWERS: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<(u16, u64), u64>);

impl Answers {
    /// Whether the member of this seat may be answered about the checkpoint of this size now; if so, it is.
    pub fn give(&mut self, (seat, size): (u16, u64), now_ms: u64) -> bool {
        let is_recent = |at_ms: u64| now_ms < at_ms.saturating_add(PAUSE_MS);
        if self.0.get(&(seat, size)).is_some_and(|at_ms| is_recent(*at_ms)) {
            return false;
        }
        if self.0.len() >= MAX_ANSWERS {
            self.0.retain(|_, at_ms| is_recent(*at_ms));
        }
        if self.0.len() >= MAX_ANSWERS {
            return false;
        }
        self.0.insert((seat, size), now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_members_do_not_answer_each_other_for_ever() {
        let (mut one, mut other) = (Answers::default(), Answers::default());
        // Seat 1 repeats its seal; from then on each takes what the other sends for a repetition, a millisecond later.
        let mut sent = 0;
        for now_ms in (0..100).step_by(2) {
            if !one.give((1, 9), now_ms) {
                break;
            }
            sent += 1;
            if !other.give((0, 9), now_ms + 1) {
                break;
            }
            sent += 1;
        }
        assert!(sent <= 2, "{sent}");
        assert!(one.give((1, 9), 1_000), "the next repetition is answered");
        assert!(one.give((1, 10), 1_000) && one.give((2, 9), 1_000), "others are no repetition");
    }

    #[test]
    fn a_member_that_seals_everything_again_fills_no_memory() {
        let mut answers = Answers::default();
        let most = u64::try_from(MAX_ANSWERS).expect("small");
        assert!((0..most).all(|size| answers.give((1, size), 0)));
        assert!(!answers.give((1, most), PAUSE_MS - 1));
        assert!(answers.give((1, most), PAUSE_MS));
        assert_eq!(answers.0.len(), 1);
    }
}
