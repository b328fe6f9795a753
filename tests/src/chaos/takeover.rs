//! How long a network needs for its next block after the agency on turn is killed: from the kill to the first final block of a
//! later turn, seen at a survivor.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::fleet::Fleet;
use crate::load::Dice;
use crate::world::until;

/// Blocks before each kill, so that the network is back to its pace.
const BLOCKS_BETWEEN: u64 = 12;
/// Longest wait for the next block.
const LIMIT: Duration = Duration::from_secs(60);

/// Times of all kills, in milliseconds.
#[derive(Debug, Default)]
pub struct Takeovers {
    /// The agency died without its block: the others had to skip it.
    pub skipped_ms: Vec<u64>,
    /// Its block was already on its way and became final.
    pub proposed_ms: Vec<u64>,
}

impl Takeovers {
    /// Kills the agency on turn so often, under load.
    pub fn measure(fleet: &mut Fleet<'_>, kills: usize, dice: &mut Dice) -> Self {
        let mut found = Self::default();
        for kill in 1..=kills {
            let start = fleet.tip(&[]);
            until("the network's pace", || (fleet.tip(&[]) >= start + BLOCKS_BETWEEN).then_some(()));
            let (took_ms, was_skipped, victim) = one(fleet, dice.below(fleet.len()));
            println!(
                "  kill {kill} of {kills}: {}, next block after {took_ms} ms{}",
                fleet.seat(victim).agency,
                if was_skipped { "" } else { " (its own was on its way)" }
            );
            if was_skipped { &mut found.skipped_ms } else { &mut found.proposed_ms }.push(took_ms);
            fleet.start(victim, &[]);
            fleet.wait_ready(victim);
        }
        found
    }

    /// Number, median, 95th percentile and maximum.
    pub fn json(&self) -> Value {
        let all: Vec<u64> = self.skipped_ms.iter().chain(&self.proposed_ms).copied().collect();
        json!({
            "kills": all.len(), "median_ms": share(&all, 50), "p95_ms": share(&all, 95), "max_ms": share(&all, 100),
            "kills_that_cost_a_turn": self.skipped_ms.len(), "of_these_median_ms": share(&self.skipped_ms, 50),
            "of_these_p95_ms": share(&self.skipped_ms, 95), "of_these_max_ms": share(&self.skipped_ms, 100),
        })
    }
}

/// The smallest value that so many percent do not exceed; none of nothing.
fn share(values: &[u64], percent: usize) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Kills whoever is on turn as a witness sees it; how long it took, whether the turn was lost, and who it was.
fn one(fleet: &mut Fleet<'_>, witness: usize) -> (u64, bool, usize) {
    let members = fleet.len() as u64;
    let (turn, victim) = until("somebody else's turn", || {
        let turn = fleet.status(witness)?["turn"].as_u64()?;
        let victim = usize::try_from((turn - 1) % members).ok()?;
        (victim != witness).then_some((turn, victim))
    });
    let killed = Instant::now();
    fleet.signal(victim, Signal::KILL);
    let mut height = fleet.height(witness).expect("the witness answers");
    let (took, parent_turn) = loop {
        assert!(killed.elapsed() < LIMIT, "no block for {LIMIT:?} after a kill");
        let path = format!("/blocks/{height}");
        let block = fleet.world.get(fleet.seat(witness), &path).filter(|(status, _)| *status == 200);
        let Some((_, block)) = block else { continue };
        if block["turn"].as_u64().is_some_and(|theirs| theirs > turn) {
            break (killed.elapsed(), block["parent_turn"].as_u64().expect("a turn"));
        }
        height += 1;
    };
    // Only now is there time to wait for the end of the process.
    fleet.kill(victim);
    (u64::try_from(took.as_millis()).unwrap_or(u64::MAX), parent_turn < turn, victim)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_of_what_was_measured() {
        let values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!((share(&values, 50), share(&values, 95), share(&values, 100)), (Some(50), Some(95), Some(100)));
        assert_eq!((share(&[7], 50), share(&[], 50)), (Some(7), None));
    }
}
