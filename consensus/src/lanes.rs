//! Which batches a block may name, and in which order: pure arithmetic over lane positions. What the batches hold is
//! the executor's matter.

use mingzhang_ledger::authority::Parameters;
use mingzhang_ledger::batch::{LanePosition, Reference};
use thiserror::Error;

use crate::Height;
use crate::message::MAX_REFERENCES;

/// Why a list of references makes a block invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LaneFault {
    #[error("{have} references, at most {limit} are allowed")]
    TooMany { have: usize, limit: usize },
    #[error("author {author} is not one of {members} authorities")]
    UnknownAuthor { author: u16, members: usize },
    #[error("author {author} stands before author {next}, against the order of height {height}")]
    Order { author: u16, next: u16, height: Height },
    #[error(
        "lane of author {author} stands at run {run}, seq {seq}; run {found_run}, seq {found_seq} does not continue it"
    )]
    Gap { author: u16, run: u64, seq: u64, found_run: u64, found_seq: u64 },
    #[error("batch of {have} {unit}, at most {limit} are allowed")]
    BatchSize { have: u64, limit: u64, unit: &'static str },
    #[error("block of {have} {unit}, at most {limit} are allowed")]
    BlockSize { have: u64, limit: u64, unit: &'static str },
}

/// Position of an author in the order of a block: (author − height) mod n.
pub fn order(author: u16, height: Height, members: usize) -> u64 {
    let members = u64::try_from(members).unwrap_or(u64::MAX).max(1);
    let height = height.checked_rem(members).unwrap_or(0);
    let author = u64::from(author).checked_rem(members).unwrap_or(0);
    author.saturating_add(members).saturating_sub(height).checked_rem(members).unwrap_or(0)
}

/// Whether a reference continues a lane: same run and next seq, or a larger run from seq 0.
pub fn continues(position: LanePosition, reference: &Reference) -> bool {
    (reference.run == position.run && reference.seq == position.next_seq)
        || (reference.run > position.run && reference.seq == 0)
}

/// The position after a reference.
pub fn after(reference: &Reference) -> LanePosition {
    LanePosition { run: reference.run, next_seq: reference.seq.saturating_add(1) }
}

/// Checks continuity, order and sums, and returns the lane positions after the block. `positions` has one entry per
/// authority, in set order; at an epoch's start all are (0, 0).
pub fn check_references(
    positions: &[LanePosition],
    references: &[Reference],
    height: Height,
    parameters: &Parameters,
) -> Result<Vec<LanePosition>, LaneFault> {
    if references.len() > MAX_REFERENCES {
        return Err(LaneFault::TooMany { have: references.len(), limit: MAX_REFERENCES });
    }
    let members = positions.len();
    let mut next = positions.to_vec();
    let (mut records, mut bytes) = (0u64, 0u64);
    let mut previous: Option<u16> = None;
    for reference in references {
        let author = reference.author;
        let position = next.get_mut(usize::from(author)).ok_or(LaneFault::UnknownAuthor { author, members })?;
        if let Some(before) = previous
            && order(before, height, members) > order(author, height, members)
        {
            return Err(LaneFault::Order { author: before, next: author, height });
        }
        previous = Some(author);
        if !continues(*position, reference) {
            let (run, seq) = (position.run, position.next_seq);
            return Err(LaneFault::Gap { author, run, seq, found_run: reference.run, found_seq: reference.seq });
        }
        *position = after(reference);
        let sizes = [
            (u64::from(reference.records), parameters.max_batch_records, "records"),
            (u64::from(reference.bytes), parameters.max_batch_bytes, "bytes"),
        ];
        for (have, limit, unit) in sizes {
            if have > limit {
                return Err(LaneFault::BatchSize { have, limit, unit });
            }
        }
        records = records.saturating_add(u64::from(reference.records));
        bytes = bytes.saturating_add(u64::from(reference.bytes));
    }
    let sums = [(records, parameters.max_block_records, "records"), (bytes, parameters.max_block_bytes, "bytes")];
    for (have, limit, unit) in sums {
        if have > limit {
            return Err(LaneFault::BlockSize { have, limit, unit });
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(author: u16, run: u64, seq: u64) -> Reference {
        Reference { author, run, seq, records: 1, bytes: 10, hash: [0; 32] }
    }

    fn check(references: &[Reference], height: Height) -> Result<Vec<LanePosition>, LaneFault> {
        let mut positions = vec![LanePosition::default(); 4];
        positions[1] = LanePosition { run: 5, next_seq: 2 };
        check_references(&positions, references, height, &Parameters::default())
    }

    #[test]
    fn lanes_continue_without_a_gap() {
        let after = check(&[reference(1, 5, 2), reference(1, 5, 3), reference(1, 9, 0)], 0);
        assert_eq!(after.map(|positions| positions[1]), Ok(LanePosition { run: 9, next_seq: 1 }));
        for (run, seq) in [(5, 1), (5, 3), (4, 0), (9, 1), (5, 0)] {
            assert!(matches!(check(&[reference(1, run, seq)], 0), Err(LaneFault::Gap { .. })), "{run} {seq}");
        }
        assert!(check(&[reference(0, 0, 0)], 0).is_ok());
    }

    #[test]
    fn authors_are_ordered_from_the_height_on() {
        let (two, three, zero) = (reference(2, 1, 0), reference(3, 1, 0), reference(0, 1, 0));
        assert!(check(&[two, three, zero], 6).is_ok());
        assert!(matches!(check(&[zero, two], 6), Err(LaneFault::Order { author: 0, next: 2, height: 6 })));
        assert!(matches!(check(&[two, zero, reference(2, 1, 1)], 6), Err(LaneFault::Order { .. })));
    }

    #[test]
    fn limits_hold_at_the_limit_and_not_beyond() {
        let parameters = Parameters { max_block_records: 3, max_batch_records: 2, ..Parameters::default() };
        let sized = |seq, records| Reference { records, ..reference(0, 1, seq) };
        let run = |references: &[Reference]| {
            check_references(&[LanePosition::default(); 4], references, 0, &parameters).map(drop)
        };
        assert_eq!(run(&[sized(0, 2), sized(1, 1)]), Ok(()));
        assert!(matches!(run(&[sized(0, 2), sized(1, 2)]), Err(LaneFault::BlockSize { have: 4, .. })));
        assert!(matches!(run(&[sized(0, 3)]), Err(LaneFault::BatchSize { have: 3, .. })));
        assert!(matches!(run(&[reference(4, 1, 0)]), Err(LaneFault::UnknownAuthor { author: 4, .. })));
        let many: Vec<_> = (0..5_000).map(|seq| sized(seq, 0)).collect();
        assert!(matches!(run(&many), Err(LaneFault::TooMany { .. })));
    }
}
