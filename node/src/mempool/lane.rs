//! Batches that are held and not final yet, lane by lane, and which of them a block on a given parent may name. Pure:
//! checked batches come in, references go out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mingzhang_consensus::lanes::{after, order};
use mingzhang_consensus::message::{MAX_ATTACHED_BYTES, MAX_REFERENCES, MAX_WAITING};
use mingzhang_consensus::window;
use mingzhang_ledger::authority::Parameters;
use mingzhang_ledger::batch::{Batch, LanePosition, Reference};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::state::execute::Candidate;

/// How far beyond a lane's position a batch may stand to be kept.
const MAX_SEQ_AHEAD: u64 = 65_536;
/// What each batch counts beside its payload: its row on disk and its place in memory. So a quota bounds the number of
/// batches, and of runs, as well as their bytes.
pub const BATCH_COST_BYTES: usize = 512;

/// A batch whose author's signature holds, stored, with its transactions decoded and their signatures checked.
#[derive(Debug, Clone)]
pub struct Held {
    pub batch: Arc<Batch>,
    pub reference: Reference,
    /// In the order of the payload; what could not be decoded is not among them.
    pub candidates: Arc<[Candidate]>,
    /// Candidates before this one are known not to pass the door at the tip that was last looked at.
    pub viable_from: usize,
    /// The first of them whose key nobody had registered by then: looked at again when the tip has moved on.
    pub later_from: Option<usize>,
    /// Height of the tip at which the next one was found to pass; looked at again only when the tip moved on.
    pub passed_at: Option<u64>,
    /// A block of a turn up to this one may need it; later it is kept within its author's quota only.
    pub needed_until: u64,
}

impl Held {
    pub fn new(batch: Arc<Batch>, reference: Reference, candidates: Arc<[Candidate]>) -> Self {
        let (viable_from, later_from, passed_at, needed_until) = (0, None, None, 0);
        Self { batch, reference, candidates, viable_from, later_from, passed_at, needed_until }
    }

    fn cost(&self) -> usize {
        self.batch.payload.len().saturating_add(BATCH_COST_BYTES)
    }

    fn is_viable(&self) -> bool {
        self.viable_from < self.candidates.len()
    }
}

/// What became of a batch that was to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    Held,
    Known,
    /// Before the lane's position, too far beyond it, or of another epoch.
    Useless,
    /// Its author has too much that is not final.
    LaneFull,
    /// The author signed another batch under the same run and sequence number. Both are kept.
    Second {
        first: Reference,
    },
}

/// A place in a lane: run, sequence number, hash of the payload.
type Place = (u64, u64, Hash);

fn place(reference: &Reference) -> Place {
    (reference.run, reference.seq, reference.hash)
}

#[derive(Debug, Default)]
struct Lane {
    position: LanePosition,
    held: BTreeMap<Place, Held>,
    bytes: usize,
}

impl Lane {
    /// The next batch at a position: the lane goes on, or starts again with a later run.
    fn next(&self, position: LanePosition) -> Option<&Held> {
        let at = (position.run, position.next_seq);
        let same = self.held.range((at.0, at.1, [0; 32])..=(at.0, at.1, [0xff; 32])).next();
        let later = || {
            let from = (position.run.checked_add(1)?, 0, [0; 32]);
            self.held.range(from..).find(|((_, seq, _), _)| *seq == 0)
        };
        same.or_else(later).map(|(_, held)| held)
    }

    /// Drops from the far end what no block can need any more, until the lane is within its quota.
    fn trim(&mut self, quota: usize, final_turn: u64) -> Vec<Held> {
        let mut places = Vec::new();
        let mut bytes = self.bytes;
        for (place, held) in self.held.iter().rev() {
            if bytes <= quota {
                break;
            }
            if held.needed_until <= final_turn {
                bytes = bytes.saturating_sub(held.cost());
                places.push(*place);
            }
        }
        self.bytes = bytes;
        places.iter().filter_map(|place| self.held.remove(place)).collect()
    }

    fn follow(&self, position: LanePosition) -> impl Iterator<Item = &Held> {
        let mut position = position;
        std::iter::from_fn(move || {
            let held = self.next(position)?;
            position = after(&held.reference);
            Some(held)
        })
    }
}

/// All lanes of one epoch.
#[derive(Debug)]
pub struct Lanes {
    epoch: u64,
    lanes: Vec<Lane>,
    bytes: usize,
    max_lane_bytes: usize,
    /// The highest turn that has begun here.
    turn: u64,
    /// Turns from it on whose proposal brought batches.
    carried: BTreeSet<u64>,
}

/// A batch at the front of its lane, whose transactions are to be looked at again.
#[derive(Debug, Clone)]
pub struct Front {
    pub reference: Reference,
    pub candidates: Arc<[Candidate]>,
    pub viable_from: usize,
    pub later_from: Option<usize>,
    /// Whether it was looked at at the present tip.
    pub passes: bool,
}

impl Lanes {
    /// `positions` are those of the tip, one per authority; `max_lane_bytes` is what one author may have unfinal.
    pub fn new(epoch: u64, positions: &[LanePosition], max_lane_bytes: usize) -> Self {
        let lane = |position: &LanePosition| Lane { position: *position, ..Lane::default() };
        let lanes = positions.iter().map(lane).collect();
        Self { epoch, lanes, bytes: 0, max_lane_bytes, turn: 0, carried: BTreeSet::new() }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// This turn has begun here.
    pub fn reach(&mut self, turn: u64) {
        self.turn = self.turn.max(turn);
        self.carried.retain(|carried| *carried >= self.turn);
    }

    /// Whether the batches of a proposal of this turn are taken whatever their authors' quotas: once, and only in turns
    /// in which a proposal counts.
    pub fn expects(&mut self, turn: u64) -> bool {
        (self.turn..=self.horizon()).contains(&turn) && self.carried.insert(turn)
    }

    /// No block that is on its way stands at a later turn.
    fn horizon(&self) -> u64 {
        self.turn.saturating_add(window(self.lanes.len()))
    }

    /// A block that is on its way names this batch.
    pub fn need(&mut self, reference: &Reference) {
        let horizon = self.horizon();
        let lane = self.lanes.get_mut(usize::from(reference.author));
        if let Some(held) = lane.and_then(|lane| lane.held.get_mut(&place(reference))) {
            held.needed_until = held.needed_until.max(horizon);
        }
    }

    /// Bytes of all batches held, with what each costs beside its payload.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn lane_bytes(&self, author: u16) -> usize {
        self.lanes.get(usize::from(author)).map_or(0, |lane| lane.bytes)
    }

    pub fn position(&self, author: u16) -> LanePosition {
        self.lanes.get(usize::from(author)).map_or_else(LanePosition::default, |lane| lane.position)
    }

    /// The batch at the place that a reference names, whatever sizes it claims.
    pub fn get(&self, reference: &Reference) -> Option<&Held> {
        self.lanes.get(usize::from(reference.author))?.held.get(&place(reference))
    }

    #[cfg(test)]
    pub fn get_mut(&mut self, reference: &Reference) -> Option<&mut Held> {
        self.lanes.get_mut(usize::from(reference.author))?.held.get_mut(&place(reference))
    }

    /// Those held of the batches that a proposal names, if they may travel with it: small together, as they are encoded.
    pub fn attached(&self, references: &[Reference]) -> Vec<Batch> {
        let held = || references.iter().filter_map(|reference| self.get(reference));
        let payloads: usize = held().map(|held| held.batch.payload.len()).sum();
        if payloads > MAX_ATTACHED_BYTES {
            return Vec::new();
        }
        let size: usize = held().map(|held| held.batch.encode().len()).sum();
        if size > MAX_ATTACHED_BYTES { Vec::new() } else { held().map(|held| Batch::clone(&held.batch)).collect() }
    }

    /// Whether a batch at this place is of use at all, before its content is looked at. `needed`: a block names it, so
    /// quotas do not count.
    pub fn judge(&self, epoch: u64, reference: &Reference, needed: bool) -> Holding {
        let Some(lane) = self.lanes.get(usize::from(reference.author)).filter(|_| epoch == self.epoch) else {
            return Holding::Useless;
        };
        if lane.held.contains_key(&place(reference)) {
            return Holding::Known;
        }
        let position = lane.position;
        let behind = (reference.run, reference.seq) < (position.run, position.next_seq);
        let base = if reference.run == position.run { position.next_seq } else { 0 };
        if behind || reference.seq.saturating_sub(base) > MAX_SEQ_AHEAD {
            return Holding::Useless;
        }
        let size = usize::try_from(reference.bytes).unwrap_or(usize::MAX).saturating_add(BATCH_COST_BYTES);
        if !needed && lane.bytes.saturating_add(size) > self.max_lane_bytes {
            return Holding::LaneFull;
        }
        let twin =
            lane.held.range((reference.run, reference.seq, [0; 32])..=(reference.run, reference.seq, [0xff; 32]));
        match twin.map(|(_, held)| held.reference).next() {
            Some(first) => Holding::Second { first },
            None => Holding::Held,
        }
    }

    /// Takes a checked batch in.
    pub fn hold(&mut self, mut held: Held, needed: bool) -> Holding {
        let (reference, horizon) = (held.reference, self.horizon());
        let holding = self.judge(held.batch.epoch, &reference, needed);
        if matches!(holding, Holding::Held | Holding::Second { .. })
            && let Some(lane) = self.lanes.get_mut(usize::from(reference.author))
        {
            if needed {
                held.needed_until = held.needed_until.max(horizon);
            }
            lane.bytes += held.cost();
            self.bytes += held.cost();
            lane.held.insert(place(&reference), held);
        }
        holding
    }

    /// References for a block of `height` on a parent with these lane positions. Lanes get equal shares of bytes; the
    /// order is that of the height. One batch fits always, unless nothing is to be named.
    pub fn select(&self, positions: &[LanePosition], height: u64, max_records: u64, max_bytes: u64) -> Vec<Reference> {
        let members = self.lanes.len();
        let mut queues: Vec<(u64, u64, std::iter::Peekable<_>, Vec<Reference>)> = Vec::with_capacity(members);
        for (author, (lane, position)) in self.lanes.iter().zip(positions).enumerate() {
            let author = u16::try_from(author).unwrap_or(u16::MAX);
            queues.push((order(author, height, members), 0, lane.follow(*position).peekable(), Vec::new()));
        }
        queues.sort_by_key(|(order, ..)| *order);
        let (mut records, mut bytes, mut count) = (0u64, 0u64, 0usize);
        while count < MAX_REFERENCES {
            let open = queues.iter_mut().filter_map(|(_, taken, queue, chosen)| {
                let next = queue.peek()?.reference;
                let fits = records.saturating_add(u64::from(next.records)) <= max_records
                    && bytes.saturating_add(u64::from(next.bytes)) <= max_bytes;
                (fits || (count == 0 && max_records > 0 && max_bytes > 0)).then_some((taken, queue, chosen))
            });
            let Some((taken, queue, chosen)) = open.min_by_key(|(taken, ..)| **taken) else { break };
            let Some(held) = queue.next() else { break };
            *taken += u64::from(held.reference.bytes).max(1);
            records += u64::from(held.reference.records);
            bytes += u64::from(held.reference.bytes);
            count += 1;
            chosen.push(held.reference);
        }
        queues.into_iter().flat_map(|(.., chosen)| chosen).collect()
    }

    /// Whether what is held beyond these positions fills a block.
    pub fn fills_block(&self, positions: &[LanePosition], parameters: &Parameters) -> bool {
        let (mut records, mut bytes) = (0u64, 0u64);
        for (lane, position) in self.lanes.iter().zip(positions) {
            for held in lane.follow(*position) {
                records += u64::from(held.reference.records);
                bytes += u64::from(held.reference.bytes);
                // A block is full when no further batch of ordinary size fits.
                if records >= parameters.max_block_records
                    || bytes.saturating_add(parameters.max_batch_bytes) >= parameters.max_block_bytes
                {
                    return true;
                }
            }
        }
        false
    }

    /// Batches that continue their lane from the tip, own ones first, at most as many as are told to others, for the
    /// look whether a transaction in them still passes the door at `height`.
    pub fn fronts(&self, own: Option<u16>, height: u64) -> Vec<Front> {
        let mut authors: Vec<usize> = (0..self.lanes.len()).collect();
        authors.sort_by_key(|author| own.map(usize::from) != Some(*author));
        let lanes = authors.into_iter().filter_map(|author| self.lanes.get(author));
        // What is known to be dead does not count: something may stand behind it.
        let mut viable = 0;
        let counts = |held: &&Held| {
            viable += usize::from(held.is_viable());
            viable <= MAX_WAITING
        };
        let held = lanes.flat_map(|lane| lane.follow(lane.position)).take_while(counts);
        let front = |held: &Held| {
            let passes = held.passed_at == Some(height);
            let again = held.later_from.filter(|_| !passes);
            Front {
                reference: held.reference,
                candidates: Arc::clone(&held.candidates),
                viable_from: again.unwrap_or(held.viable_from),
                later_from: held.later_from,
                passes,
            }
        };
        held.map(front).collect()
    }

    /// Notes how far a batch was found not viable, and says which references wait: in each lane up to the last viable
    /// batch.
    pub fn waiting(&mut self, looked_at: &[Front], height: u64) -> Vec<Reference> {
        let mut waiting: Vec<Reference> = Vec::new();
        // Batches of the current lane after its last viable one; they wait only if a viable one follows.
        let mut behind: Vec<Reference> = Vec::new();
        for front in looked_at {
            let reference = front.reference;
            if behind.first().is_some_and(|first| first.author != reference.author) {
                behind.clear();
            }
            let lane = self.lanes.get_mut(usize::from(reference.author));
            let Some(held) = lane.and_then(|lane| lane.held.get_mut(&place(&reference))) else { continue };
            (held.viable_from, held.later_from) = (front.viable_from, front.later_from);
            held.passed_at = Some(height);
            behind.push(reference);
            if held.is_viable() {
                waiting.append(&mut behind);
            }
        }
        waiting.truncate(MAX_WAITING);
        waiting
    }

    /// A block became final at this turn: everything before its lane positions is dropped, and of a lane over its quota,
    /// from its far end, what only blocks needed that cannot become final any more. Returns the dropped batches.
    pub fn advance(&mut self, positions: &[LanePosition], turn: u64) -> Vec<Held> {
        self.reach(turn);
        let mut dropped = Vec::new();
        for (lane, position) in self.lanes.iter_mut().zip(positions) {
            lane.position = *position;
            let kept = lane.held.split_off(&(position.run, position.next_seq, [0; 32]));
            let mut gone: Vec<Held> = std::mem::replace(&mut lane.held, kept).into_values().collect();
            let before: usize = gone.iter().map(Held::cost).sum();
            lane.bytes = lane.bytes.saturating_sub(before);
            gone.extend(lane.trim(self.max_lane_bytes, turn));
            let all: usize = gone.iter().map(Held::cost).sum();
            self.bytes = self.bytes.saturating_sub(all);
            dropped.append(&mut gone);
        }
        dropped
    }
}
