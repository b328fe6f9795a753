//! Messages and bytes of a block among n authorities that are all well, against what was calculated on paper.

use super::{Weather, World};

/// What one network size costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    pub members: u16,
    pub blocks: u64,
    /// Per block, all authorities together.
    pub messages: u64,
    pub vote_bytes: u64,
    /// One proposal with some 25 references, as sent to one authority.
    pub proposal_bytes: u64,
}

/// The same on paper: members, messages, bytes of votes, bytes of a proposal.
pub const PAPER: [(u16, u64, u64, u64); 5] = [
    (4, 24, 4_800, 2_100),
    (7, 84, 17_000, 2_300),
    (13, 312, 62_000, 2_500),
    (31, 1_860, 370_000, 3_300),
    (100, 19_800, 3_900_000, 6_200),
];

/// What transport adds to a message, as on paper.
const FRAMING_BYTES: u64 = 60;
const REFERENCES: u16 = 25;
const PROPOSAL: u8 = 1;
const VOTE: u8 = 2;

/// Some blocks with work in each.
pub fn measure(members: u16, rounds: u64) -> Traffic {
    let weather = Weather { delay_min_ms: 10, delay_max_ms: 10, sync_max_ms: 2, ..Weather::FAIR };
    let mut world = World::new(members, 1, weather);
    world.run_for(1_000);
    let before = world.oracle.sent.clone();
    for _ in 0..rounds {
        for batch in 0..REFERENCES {
            world.submit(batch % members, 1);
        }
        // A block at least this long after its parent: all that came meanwhile is in it.
        world.run_for(100);
    }
    world.run_for(500);
    world.check_complete();
    let of = |kind: u8| {
        let (now, then) = (world.oracle.sent.get(&kind), before.get(&kind));
        let ((messages, bytes), (old_messages, old_bytes)) =
            (now.copied().unwrap_or_default(), then.copied().unwrap_or_default());
        (messages - old_messages, bytes - old_bytes)
    };
    let all: u64 = world.oracle.sent.keys().map(|kind| of(*kind).0).sum();
    let ((votes, vote_bytes), (proposals, proposal_bytes)) = (of(VOTE), of(PROPOSAL));
    let blocks = proposals / u64::from(members - 1);
    Traffic {
        members,
        blocks,
        messages: all / blocks,
        vote_bytes: (vote_bytes + votes * FRAMING_BYTES) / blocks,
        proposal_bytes: proposal_bytes / proposals + FRAMING_BYTES,
    }
}

impl Traffic {
    /// Differences from the paper in percent: messages, bytes of votes, bytes of a proposal.
    pub fn differences(&self) -> Option<[i64; 3]> {
        let paper = PAPER.iter().find(|(members, ..)| *members == self.members)?;
        let percent = |have: u64, paper: u64| (have as i64 - paper as i64) * 100 / paper as i64;
        Some([
            percent(self.messages, paper.1),
            percent(self.vote_bytes, paper.2),
            percent(self.proposal_bytes, paper.3),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn small_networks_send_what_was_calculated() {
        for members in [4, 7, 13] {
            let traffic = measure(members, 12);
            let differences = traffic.differences().expect("a size that stands on paper");
            assert!(differences.iter().all(|percent| percent.abs() <= 20), "{traffic:?}: {differences:?} %");
            // Whoever was seen in a turn is not sent what started it: that alone would be a fifth.
            assert!(differences[0] <= 10, "{traffic:?}: {} % more messages than on paper", differences[0]);
        }
    }
}
