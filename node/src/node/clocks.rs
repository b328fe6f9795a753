//! Compares clocks without asking anybody: a proposal whose time lies in this node's future was made by a clock that is ahead
//! of this one by at least as much. One agency of which that is so has a clock that is ahead. Where it is so of more agencies
//! than may be faulty, it is this node's clock that is behind: then its own turns are passed, for it would propose late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// Clocks that differ by more than this are an operator's matter.
const ALARM_MS: u64 = 250;
/// Proposals after which a difference that did not show again is forgotten.
const REMEMBERED_PROPOSALS: usize = 64;
/// Fewer agencies never show that it is this node's clock: of two, nobody knows whose it is.
const LEAST_AGENCIES: usize = 2;

/// What the last proposals tell about clocks.
#[derive(Debug, Default)]
pub struct Clocks {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Whose proposal, and how far its time lay in this node's future when it came, in milliseconds.
    recent: VecDeque<(String, u64)>,
    /// Agencies whose newest proposal lay too far in the future: so many show that this node is behind.
    behind: Option<String>,
}

impl Seen {
    fn worst(&self) -> Option<&(String, u64)> {
        self.recent.iter().max_by_key(|(_, ahead_ms)| *ahead_ms)
    }

    /// The agencies whose newest proposal lay too far in the future, as a sentence, if they are more than may be faulty.
    fn judge(&self, faults: usize) -> Option<String> {
        let newest: BTreeMap<&str, u64> =
            self.recent.iter().map(|(agency, ahead_ms)| (agency.as_str(), *ahead_ms)).collect();
        let ahead: Vec<&str> =
            newest.iter().filter(|(_, ahead_ms)| **ahead_ms > ALARM_MS).map(|(agency, _)| *agency).collect();
        let least_ms = newest.values().copied().filter(|ahead_ms| *ahead_ms > ALARM_MS).min()?;
        (ahead.len() >= LEAST_AGENCIES.max(faults.saturating_add(1))).then(|| {
            format!(
                "MZ-5013: this node's clock is behind: the last proposals of {} lay {least_ms} ms and more in its future; its own \
                 turns are passed until its time source is set right",
                ahead.join(", ")
            )
        })
    }
}

impl Clocks {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How far another clock was ahead of this node's at least, over the last proposals.
    pub fn ahead_ms(&self) -> u64 {
        self.lock().worst().map_or(0, |(_, ahead_ms)| *ahead_ms)
    }

    /// The sentence for the operator, while there is a reason for it.
    pub fn alarm(&self) -> Option<String> {
        let seen = self.lock();
        let of_one = |(agency, ahead_ms): &(String, u64)| {
            format!(
                "a proposal of {agency} lay {ahead_ms} ms in this node's future: check the time source of both machines"
            )
        };
        seen.behind.clone().or_else(|| seen.worst().filter(|(_, ahead_ms)| *ahead_ms > ALARM_MS).map(of_one))
    }

    /// Takes note of how far the time of a proposal lay in this node's future when it came. Says whether this node's clock is
    /// fit to propose, where that has changed.
    pub fn see(&self, agency: &str, ahead_ms: u64, faults: usize) -> Option<bool> {
        let mut seen = self.lock();
        let before = seen.worst().map_or(0, |(_, ahead_ms)| *ahead_ms);
        if seen.recent.len() == REMEMBERED_PROPOSALS {
            seen.recent.pop_front();
        }
        seen.recent.push_back((agency.to_owned(), ahead_ms));
        if ahead_ms > ALARM_MS && before <= ALARM_MS {
            tracing::error!(agency, ahead_ms, "clocks differ: the time of a proposal lies in this node's future");
        }
        let behind = seen.judge(faults);
        let was_fit = seen.behind.is_none();
        seen.behind = behind;
        match &seen.behind {
            Some(sentence) if was_fit => tracing::error!("{sentence}"),
            None if !was_fit => tracing::info!("this node's clock agrees with the others again"),
            Some(_) | None => return None,
        }
        Some(!was_fit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proposal_from_the_future_alarms() {
        let clocks = Clocks::default();
        assert_eq!(clocks.see("civil", 0, 1), None);
        assert_eq!(clocks.see("finance", 250, 1), None);
        assert_eq!((clocks.ahead_ms(), clocks.alarm()), (250, None), "250 ms are allowed");
        assert_eq!(clocks.see("data", 251, 1), None, "one clock that is ahead makes nobody pass");
        assert_eq!(clocks.ahead_ms(), 251);
        assert!(clocks.alarm().is_some_and(|text| text.contains("a proposal of data") && text.contains("251 ms")));
        assert_eq!((0..REMEMBERED_PROPOSALS).filter_map(|_| clocks.see("civil", 0, 1)).count(), 0);
        assert_eq!((clocks.ahead_ms(), clocks.alarm()), (0, None), "an old difference is forgotten");
    }

    #[test]
    fn a_clock_behind_more_agencies_than_may_be_faulty_is_not_fit() {
        let clocks = Clocks::default();
        assert_eq!(clocks.see("civil", 3_000, 2), None);
        assert_eq!(clocks.see("data", 2_900, 2), None, "two may be faulty");
        assert_eq!(clocks.see("finance", 3_100, 2), Some(false));
        let sentence = clocks.alarm().expect("an alarm");
        assert!(sentence.contains("civil, data, finance lay 2900 ms and more"), "{sentence}");
        assert!(sentence.starts_with("MZ-5013: "), "{sentence}");
        assert_eq!(clocks.see("finance", 3_200, 2), None, "said once");
        assert_eq!(clocks.see("data", 10, 2), Some(true), "the clock was set");
        assert!(clocks.alarm().is_some_and(|text| text.contains("a proposal of finance")));
    }

    #[test]
    fn of_two_nobody_knows_whose_clock_it_is() {
        let clocks = Clocks::default();
        assert_eq!(clocks.see("civil", 3_000, 0), None);
        assert!(clocks.alarm().is_some_and(|text| text.contains("both machines")));
    }
}
