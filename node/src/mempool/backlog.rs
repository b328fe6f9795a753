//! How many own transactions may wait: what the network takes from this node in a second and a half, by what it took
//! lately. More would only wait longer, so its submitter is told to come again. Pure.

use std::collections::VecDeque;

/// Over how long the pace is measured.
const WINDOW_MS: u64 = 2_000;
/// How long what waits may take at that pace.
const WAIT_MS: u64 = 1_500;
/// So many may always wait: a node that was idle has no pace yet.
const LEAST: usize = 1_000;

/// When own transactions became final lately, and how many.
#[derive(Debug, Default)]
pub struct Backlog {
    finals: VecDeque<(u64, usize)>,
    count: usize,
}

impl Backlog {
    /// So many own transactions became final.
    pub fn note(&mut self, now_ms: u64, count: usize) {
        while self.finals.front().is_some_and(|(at, _)| at.saturating_add(WINDOW_MS) < now_ms) {
            self.count -= self.finals.pop_front().map_or(0, |(_, count)| count);
        }
        self.finals.push_back((now_ms, count));
        self.count += count;
    }

    /// How many may wait now.
    pub fn allowed(&self) -> usize {
        let share = usize::try_from(WAIT_MS).unwrap_or(0) * self.count / usize::try_from(WINDOW_MS).unwrap_or(1);
        share.max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_wait_follows_the_pace_and_never_falls_below_the_least() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.allowed(), LEAST);
        for beat in 0..40 {
            backlog.note(beat * 50, 400);
        }
        assert_eq!(backlog.allowed(), 40 * 400 * 3 / 4);
        backlog.note(10_000, 1);
        assert_eq!(backlog.allowed(), LEAST);
    }
}
