//! Starting from what the store holds. A turn lower than before the stop is harmless: safety never uses the order of
//! turns, and own votes are in the book.

use std::collections::BTreeSet;
use std::sync::Arc;

use mingzhang_ledger::certificate::FinalCert;

use crate::chain::Blocks;
use crate::effect::{Alarm, Effect};
use crate::epoch::Epoch;
use crate::finalise::LastFinal;
use crate::justification::{EndorseCert, Just, Parent};
use crate::mutants;
use crate::peers::PeerState;
use crate::safety::{SafetyRecord, VoteBook};
use crate::{LOST_MARGIN_MS, Millis, Restored, Setup, Signing, Turns, Work};

impl Turns {
    /// Starts from what the store holds. The effects are performed like those of a step: they send own stored votes
    /// again, execute stored blocks that are not final yet, and so on. Then `Connected` is stepped for every peer
    /// that is connected already.
    pub fn restore(now: Millis, setup: Setup, restored: Restored) -> (Self, Vec<Effect>) {
        let last_final = last_final(&restored);
        let (unclean, may_sign, lost_at_ms) = (restored.unclean, restored.may_sign, restored.lost_at_ms);
        let used_ms = restored.used_ms;
        let mut turns = Self::at(now, setup, &restored, last_final);
        turns.restore_records(restored);
        turns.signing = if let (false, Some(lost_at_ms)) = (may_sign, lost_at_ms) {
            Signing::Lost { until_ms: lost_at_ms.saturating_add(LOST_MARGIN_MS) }
        } else if !may_sign || turns.signing == Signing::Halted {
            Signing::Halted
        } else if unclean && turns.setup.me.is_some() && turns.setup.epoch.set.quorum() > 1 {
            Signing::Unproven { heard: BTreeSet::new() }
        } else {
            Signing::Allowed
        };
        used_ms.into_iter().for_each(|used_ms| turns.check_loss(used_ms));
        turns.send_votes_again();
        turns.settle();
        let effects = std::mem::take(&mut turns.effects);
        (turns, effects)
    }

    fn at(now: Millis, setup: Setup, restored: &Restored, last_final: LastFinal) -> Self {
        let just = match &last_final.certificate {
            Some(certificate) => Just::after_final(certificate.clone()),
            None => Just::opening(&setup.epoch),
        };
        let others = setup.epoch.peers().filter(|peer| Some(*peer) != setup.me);
        let peers = others.map(|peer| (peer, PeerState::new())).collect();
        Self {
            set_hash: setup.epoch.set.hash(),
            wall_ms: now,
            steady_ms: 0,
            signing: Signing::Allowed,
            book: VoteBook::new(&setup.epoch, last_final.turn),
            tip: restored.tip,
            committing: None,
            last_final,
            proposed: BTreeSet::new(),
            cur: just.turn,
            just,
            entered_ms: 0,
            entered_wall_ms: now,
            armed_ms: None,
            relayed: 0,
            building: None,
            kept: 0,
            propose_not_before_ms: 0,
            turns: std::collections::BTreeMap::new(),
            blocks: Blocks::default(),
            fetches: std::collections::BTreeMap::new(),
            peers,
            work: Work::default(),
            flow: crate::flow::Flow::default(),
            healthy: true,
            progress_ms: 0,
            retransmitted_ms: 0,
            status_ms: None,
            asked_ms: 0,
            effects: Vec::new(),
            setup,
        }
    }

    /// Records into the book, their blocks and certificates into memory, and the highest turn that they justify.
    fn restore_records(&mut self, restored: Restored) {
        let entered = restored.entered.filter(|_| !mutants::CONFIRMED_WITHOUT_CERTIFICATE.on());
        let mut justs: Vec<Just> = entered.map(|entered| entered.just).into_iter().collect();
        // An endorsement comes before the confirmation that leans on it.
        let mut records = if mutants::RESTART_WITHOUT_RECORDS.on() { Vec::new() } else { restored.records };
        records.sort_by_key(|record| (record.turn(), matches!(record, SafetyRecord::Confirmed { .. })));
        for record in records {
            if record.epoch() != self.setup.epoch.number() || record.turn() <= self.last_final.turn {
                continue;
            }
            self.note_proposal(&record);
            if let Err(fault) = self.book.admit(&record) {
                self.halt(Alarm::Invariant { rule: format!("stored record: {fault}") });
                continue;
            }
            let endorsed = match record {
                SafetyRecord::Endorsed(endorsed) => Some(endorsed),
                SafetyRecord::Skipped { .. } => None,
                SafetyRecord::Confirmed { certificate, late } => {
                    if !mutants::CONFIRMED_WITHOUT_CERTIFICATE.on() {
                        justs.push(Just::after_endorsed(certificate.clone()));
                        self.restore_certificate(certificate);
                    }
                    late
                }
            };
            if let Some(endorsed) = endorsed {
                self.blocks.insert(endorsed.header, endorsed.references);
                let state = self.turns.entry(endorsed.turn).or_default();
                state.justs.insert(endorsed.just_hash, endorsed.just.clone());
                justs.push(endorsed.just);
            }
        }
        for just in &justs {
            self.restore_just(just);
        }
        let finals: Vec<FinalCert> = justs.iter().filter_map(|just| final_parent(just, &self.setup.epoch)).collect();
        let ours = |just: &Just| just.epoch == self.setup.epoch.number() && just.check_complete().is_ok();
        let highest = justs.into_iter().filter(ours).max_by_key(|just| (just.turn, just.parent.turn()));
        if let Some(just) = highest.filter(|just| just.turn > self.cur) {
            self.cur = just.turn;
            self.just = just;
        }
        // A certificate that was durable before the commit that follows from it.
        for certificate in finals {
            self.on_final_cert(certificate);
        }
    }

    fn restore_just(&mut self, just: &Just) {
        for skip in just.skips.iter().filter(|skip| skip.turn > self.last_final.turn) {
            self.turns.entry(skip.turn).or_default().skip_cert.get_or_insert_with(|| Arc::clone(skip));
        }
        match &just.parent {
            Parent::Endorsed(certificate) => self.restore_certificate(certificate.clone()),
            Parent::Start(_) | Parent::Final(_) => {}
        }
    }

    fn restore_certificate(&mut self, certificate: EndorseCert) {
        if certificate.turn > self.last_final.turn {
            self.turns.entry(certificate.turn).or_default().endorse_cert.get_or_insert(certificate);
        }
    }
}

fn final_parent(just: &Just, epoch: &Epoch) -> Option<FinalCert> {
    match &just.parent {
        Parent::Final(certificate) if certificate.epoch == epoch.number() => Some(certificate.clone()),
        Parent::Final(_) | Parent::Endorsed(_) | Parent::Start(_) => None,
    }
}

fn last_final(restored: &Restored) -> LastFinal {
    let (header, certificate): (_, Option<FinalCert>) = match &restored.certificate {
        Some((header, certificate)) => (Some(*header), Some(certificate.clone())),
        None => (None, None),
    };
    LastFinal {
        // A block below the base of a recovery manifest may stand without a certificate of its own.
        turn: certificate.as_ref().map_or(restored.tip.turn, |certificate| certificate.turn),
        height: restored.tip.height,
        block: restored.tip.block,
        certificate,
        header,
    }
}
