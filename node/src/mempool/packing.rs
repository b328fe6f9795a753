//! Own transactions into signed batches: full ones and the first after a pause at once, others after a short linger. A batch is stored and held
//! before it is gossiped.

use std::sync::Arc;
use std::time::Duration;

use mingzhang_ledger::batch::Batch;
use mingzhang_ledger::codec::put_counted;
use mingzhang_ledger::state::execute::Candidate;

use super::Mempool;
use super::lane::Held;
use crate::signer::Seat;
use crate::store::StoreFault;

impl Mempool {
    /// Packs whenever a batch is due and hands each to `publish`. Runs until the future is dropped.
    pub async fn pack_all(&self, mut publish: impl FnMut(&Batch)) -> Result<(), StoreFault> {
        loop {
            let due_ms = {
                let state = self.lock();
                state.seat.as_ref().and_then(|_| state.own.due_ms(&state.parameters, self.parts.limits.linger_ms))
            };
            let now_ms = self.parts.clock.now_ms();
            match due_ms {
                None => self.packing.notified().await,
                Some(due_ms) if due_ms > now_ms => {
                    let wait = Duration::from_millis(due_ms - now_ms);
                    // Woken early, it looks again: the batch may have become full.
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.packing.notified() => {}
                    }
                }
                Some(_) => self.pack(&mut publish)?,
            }
        }
    }

    fn pack(&self, publish: &mut impl FnMut(&Batch)) -> Result<(), StoreFault> {
        let Some((seat, run, seq, candidates, max_records)) = self.take() else { return Ok(()) };
        let mut payload = Vec::new();
        for candidate in &candidates {
            put_counted(&mut payload, candidate.transaction.bytes());
        }
        let batch = Arc::new(seat.sign_batch(run, seq, payload));
        let reference = batch.reference(max_records);
        self.parts.store.put_batches(&[(reference, Arc::clone(&batch))])?;
        let mut held = Held::new(Arc::clone(&batch), reference, candidates.into());
        // Dropped it would leave a gap that nobody else can fill.
        held.needed_until = u64::MAX;
        self.lock().lanes.hold(held, true);
        publish(&batch);
        self.changed.notify_one();
        Ok(())
    }

    fn take(&self) -> Option<(Seat, u64, u64, Vec<Candidate>, usize)> {
        let mut state = self.lock();
        let seat = state.seat.clone()?;
        let (run, seq, parameters) = (state.run, state.next_seq, state.parameters.clone());
        let candidates = state.own.take(&parameters, (run, seq), self.parts.clock.now_ms());
        if candidates.is_empty() {
            return None;
        }
        state.next_seq += 1;
        let max_records = usize::try_from(parameters.max_batch_records).unwrap_or(usize::MAX);
        Some((seat, run, seq, candidates, max_records))
    }
}
