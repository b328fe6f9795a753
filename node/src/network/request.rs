//! Questions to a peer and their answers, on the bulk stream. What is asked and answered is `sync`'s matter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use libp2p::PeerId;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::directory::{Directory, Remote};
use super::frame::{Channel, Frame};

/// How long an answer is waited for.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions that may be open at once, over all peers.
pub const MAX_OPEN_REQUESTS: usize = 1_024;

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestFault {
    #[error("peer is not connected or its queue is full")]
    Unreachable,
    #[error("request is larger than a frame")]
    TooLarge,
    #[error("{MAX_OPEN_REQUESTS} requests are open already")]
    TooMany,
    #[error("no answer within {} seconds", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
}

/// A question from a peer. Dropped without an answer, the peer's waiting times out.
#[derive(Debug)]
pub struct Request {
    pub from: Remote,
    pub body: Vec<u8>,
    peer: PeerId,
    number: [u8; 8],
    directory: Arc<Directory>,
    /// Its place among those of this peer, until it is answered.
    _place: OwnedSemaphorePermit,
}

impl Request {
    /// Waits for a place of this peer, however many are free for others. None where it is no request, or the peer is gone.
    pub(super) async fn received(
        peer: PeerId,
        from: Remote,
        mut body: Vec<u8>,
        directory: &Arc<Directory>,
    ) -> Option<Self> {
        let number = *body.first_chunk::<8>()?;
        body.drain(..8);
        let place = directory.question(&peer).await?;
        Some(Self { from, body, peer, number, directory: Arc::clone(directory), _place: place })
    }

    /// Queues the answer. False if it is too large or the peer is gone or slow; it then asks again or elsewhere.
    pub fn answer(self, body: &[u8]) -> bool {
        Frame::new(Channel::Answer, &[&self.number, body]).is_some_and(|frame| self.directory.send(&self.peer, &frame))
    }
}

type Open = BTreeMap<u64, (PeerId, oneshot::Sender<Vec<u8>>)>;

/// Our questions that are not answered yet.
#[derive(Debug, Default)]
pub struct Pending {
    next: AtomicU64,
    open: Mutex<Open>,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Asks a peer and waits for its answer.
    pub async fn ask(&self, directory: &Directory, peer: PeerId, body: &[u8]) -> Result<Vec<u8>, RequestFault> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = Frame::new(Channel::Request, &[&number.to_be_bytes(), body]).ok_or(RequestFault::TooLarge)?;
        let (sender, receiver) = oneshot::channel();
        let ticket = self.register(number, peer, sender)?;
        if !directory.send(&peer, &frame) {
            return Err(RequestFault::Unreachable);
        }
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, receiver).await;
        drop(ticket);
        match answer {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => Err(RequestFault::Unreachable),
            Err(_) => Err(RequestFault::TimedOut),
        }
    }

    fn register(
        &self,
        number: u64,
        peer: PeerId,
        sender: oneshot::Sender<Vec<u8>>,
    ) -> Result<Ticket<'_>, RequestFault> {
        let mut open = self.lock();
        if open.len() >= MAX_OPEN_REQUESTS {
            return Err(RequestFault::TooMany);
        }
        open.insert(number, (peer, sender));
        Ok(Ticket { pending: self, number })
    }

    /// An answer counts only if it comes from the peer that was asked.
    pub(super) fn answer(&self, peer: &PeerId, body: &[u8]) {
        let Some((number, body)) = body.split_first_chunk::<8>() else { return };
        let number = u64::from_be_bytes(*number);
        let mut open = self.lock();
        if open.get(&number).is_none_or(|(asked, _)| asked != peer) {
            return;
        }
        if let Some((_, sender)) = open.remove(&number)
            && sender.send(body.to_vec()).is_err()
        {
            tracing::trace!(%peer, "answer came too late");
        }
    }

    /// A peer that is gone answers nothing more.
    pub(super) fn forget(&self, peer: &PeerId) {
        self.lock().retain(|_, (asked, _)| asked != peer);
    }
}

/// Takes the question off the list when its asker stops waiting, for whatever reason.
struct Ticket<'a> {
    pending: &'a Pending,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.number);
    }
}
