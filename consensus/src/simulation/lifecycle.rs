//! Starting, stopping and cutting off: processes, links, and the change from one epoch to the next.

use super::disk::Entry;
use super::engine::Job;
use super::ledger::{Executed, Executor, batch_key};
use super::{Place, START_MS, World};
use crate::message::Message;
use crate::safety::VoteBook;
use crate::{Input, Setup, Turns};

impl World {
    /// Starts a process on what its disk holds.
    pub fn start(&mut self, node: Place, unclean: bool) {
        self.boot(node, unclean);
        for other in self.places() {
            if self.can_reach(node, other) && self.can_reach(other, node) {
                let (mine, theirs) = (self.node(node).key, self.node(other).key);
                self.step(node, Input::Connected { peer: theirs });
                self.step(other, Input::Connected { peer: mine });
            }
        }
        self.rebatch(node);
        if self.is_up(node) {
            self.tell_work(node);
        }
    }

    fn boot(&mut self, node: Place, unclean: bool) {
        let (local, now, genesis) = (self.local_ms(node), self.now, self.genesis.clone());
        let honest = self.is_honest(node);
        let place = self.node_mut(node);
        let store = place.disk.view();
        let mut restored = store.restored(&genesis, START_MS);
        let epoch = store.epoch(&genesis);
        restored.unclean = unclean;
        restored.may_sign = !place.doubted;
        let base = store.chain.last().cloned().unwrap_or_else(|| Executed::genesis(&genesis, START_MS));
        place.signer = VoteBook::new(&epoch, restored.tip.turn);
        let ours = |record: &&crate::safety::SafetyRecord| {
            record.epoch() == epoch.number() && record.turn() > restored.tip.turn
        };
        for record in restored.records.iter().filter(ours) {
            let admitted = place.signer.admit(record);
            assert!(admitted.is_ok() || !honest, "oracle disk: a contradiction is stored: {admitted:?}");
        }
        place.executor = Executor::new(base, epoch.number());
        let batches = store.batches.iter().filter(|(of, _)| *of == epoch.number());
        place.executor.held = batches.map(|(_, r)| (batch_key(r), *r)).collect();
        place.life += 1;
        place.tick_at = None;
        place.catching_up = false;
        place.run = (store.run + 1).max(now);
        place.next_seq = 0;
        place.disk.journal.push(Entry::Run(place.run));
        place.disk.sync(place.disk.end());
        place.epoch = epoch.clone();
        let setup = Setup { epoch, me: Some(place.key), relay_delay_ms: 100, retransmit_ms: 1_000 };
        let (core, effects) = Turns::restore(local, setup, restored);
        place.core = Some(core);
        self.after_step(node, effects);
    }

    /// What was admitted and is not yet on the log goes into the new run.
    fn rebatch(&mut self, node: Place) {
        let place = self.node(node);
        let spent = place.executor.tip().spent.clone();
        let numbers: Vec<u64> =
            place.disk.view().admitted.into_iter().filter(|number| !spent.contains(number)).collect();
        if !numbers.is_empty() {
            self.batch(node, numbers);
        }
    }

    pub fn crash(&mut self, node: Place) {
        let unsynced = self.node(node).disk.unsynced() as u64;
        let kept = self.random.between(0, unsynced) as usize;
        if (kept as u64) < unsynced {
            self.oracle.fault("unsynced writes lost");
        }
        let key = self.node(node).key;
        let place = self.node_mut(node);
        place.core = None;
        place.effects_left = None;
        place.sync_fails = false;
        place.disk.crash(kept);
        for other in self.places().filter(|other| *other != node) {
            self.step(other, Input::Disconnected { peer: key });
        }
    }

    /// A final boundary block is applied: everything starts anew on the set that it names.
    pub fn open_next_epoch(&mut self, node: Place) {
        let place = self.node_mut(node);
        let tip = place.executor.tip();
        let closed = tip.is_boundary() && tip.header.is_some_and(|header| header.epoch == place.epoch.number());
        if !closed {
            return;
        }
        // Nothing of the next epoch is signed before the certificate is durable.
        place.disk.sync(place.disk.end());
        self.oracle.epochs = self.oracle.epochs.max(self.node(node).epoch.number() + 1);
        self.start(node, false);
    }

    /// Whoever speaks of an epoch that is over is shown what closed it.
    pub fn answer_with_closing(&mut self, node: Place, to: Place, epoch: u64) {
        let place = self.node(node);
        let closing = place
            .disk
            .chain()
            .find(|block| block.is_boundary() && block.header.is_some_and(|header| header.epoch == epoch));
        let certificate = place.disk.certificate_in(epoch).cloned();
        if let (Some(block), Some(certificate)) = (closing, certificate)
            && self.node(to).epoch.number() == epoch
        {
            let header = block.header.expect("a boundary block is not genesis");
            let message = Message::Final { header, certificate };
            let frame = super::door::Frame::new(&message, &self.node(to).epoch);
            self.post(node, to, &frame);
        }
    }

    /// A peer stands in a later epoch: everything up to there is fetched from it.
    pub fn start_catching_up(&mut self, node: Place, from: Place) {
        if !self.node(node).catching_up {
            self.node_mut(node).catching_up = true;
            let delay = self.random.between(self.weather.delay_min_ms, self.weather.delay_max_ms);
            self.schedule_job(node, 2 * delay, Job::CatchUp { from });
        }
    }

    /// Cuts every link between the two sides.
    pub fn cut(&mut self, one: &[Place], other: &[Place]) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Nothing more arrives from the first at the second; both notice that the link is gone.
    pub fn cut_one_way(&mut self, one: &[Place], other: &[Place]) {
        for from in one {
            for to in other {
                if self.blocked.insert((*from, *to)) {
                    let (sender, receiver) = (self.node(*from).key, self.node(*to).key);
                    self.step(*to, Input::Disconnected { peer: sender });
                    self.step(*from, Input::Disconnected { peer: receiver });
                }
            }
        }
    }

    pub fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.blocked) {
            if self.is_up(from) && self.is_up(to) {
                let (sender, receiver) = (self.node(from).key, self.node(to).key);
                self.step(from, Input::Connected { peer: receiver });
                self.step(to, Input::Connected { peer: sender });
            }
        }
    }
}
