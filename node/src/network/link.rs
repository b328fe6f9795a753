//! The direct streams to one connected peer: a task per class writes what is queued, a task per accepted stream reads
//! and hands on. A broken stream is opened again while the peer stays connected; what was lost the protocol repeats.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use mingzhang_ledger::crypto::Hash;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;

use super::directory::{BULK_QUEUE_FRAMES, Directory, LARGE_QUEUE_FRAMES, Queues, VOTE_QUEUE_FRAMES};
use super::frame::{self, Channel, Class, Frame};
use super::request::{Pending, Request};
use super::{Inbound, SwarmCommand};

/// Small frames are gathered up to this size before one write.
const GATHER_BYTES: usize = 64 * 1024;
/// Streams of one class that are read from one peer: one, another while its end is not noticed, and those of a second
/// process with the same keys, which is to be seen.
const STREAMS_PER_PEER: usize = 4;
/// How long a stream that could not be opened waits before the next try.
const REOPEN_DELAY: Duration = Duration::from_millis(100);

/// The protocol name of a class: it holds the genesis hash, so nodes of two networks cannot talk.
pub fn protocol(chain: &Hash, class: Class) -> StreamProtocol {
    let name = match class {
        Class::Votes => "votes",
        Class::Bulk => "bulk",
        Class::Large => "large",
    };
    StreamProtocol::try_from_owned(format!("/mingzhang/{}/{name}/1", hex::encode(chain)))
        .expect("a protocol name that starts with a slash")
}

/// Whether a peer speaks the protocols of networks, and none of this one.
pub fn is_of_another_network(protocols: &[StreamProtocol], chain: &Hash) -> bool {
    let own = format!("/mingzhang/{}/", hex::encode(chain));
    let mut of_networks = protocols.iter().filter(|protocol| protocol.as_ref().starts_with("/mingzhang/")).peekable();
    of_networks.peek().is_some() && !of_networks.any(|protocol| protocol.as_ref().starts_with(&own))
}

/// Starts the writers of a peer that has just connected.
pub fn open(control: &Control, peer: PeerId, chain: &Hash) -> Queues {
    let start = |class: Class, capacity: usize| {
        let (sender, receiver) = mpsc::channel(capacity);
        tokio::spawn(write_all(control.clone(), peer, protocol(chain, class), receiver));
        sender
    };
    Queues {
        votes: start(Class::Votes, VOTE_QUEUE_FRAMES),
        bulk: start(Class::Bulk, BULK_QUEUE_FRAMES),
        large: start(Class::Large, LARGE_QUEUE_FRAMES),
    }
}

/// Ends when the queue's senders are gone, which is when the peer is disconnected.
async fn write_all(mut control: Control, peer: PeerId, protocol: StreamProtocol, mut queue: mpsc::Receiver<Frame>) {
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        match control.open_stream(peer, protocol.clone()).await {
            Ok(mut stream) => {
                if let Err(error) = write_frames(&mut stream, &mut next, &mut queue).await {
                    tracing::debug!(%peer, %error, "direct stream broke");
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "direct stream cannot be opened"),
        }
        if queue.is_closed() {
            return;
        }
        tokio::time::sleep(REOPEN_DELAY).await;
    }
}

async fn write_frames(
    stream: &mut Stream,
    next: &mut Option<Frame>,
    queue: &mut mpsc::Receiver<Frame>,
) -> io::Result<()> {
    let mut gathered = Vec::new();
    loop {
        let frame = match next.take() {
            Some(frame) => frame,
            None => match queue.recv().await {
                Some(frame) => frame,
                None => return stream.close().await,
            },
        };
        gathered.extend_from_slice(frame.bytes());
        while gathered.len() < GATHER_BYTES {
            let Ok(frame) = queue.try_recv() else { break };
            gathered.extend_from_slice(frame.bytes());
        }
        stream.write_all(&gathered).await?;
        stream.flush().await?;
        gathered.clear();
        gathered.shrink_to(GATHER_BYTES);
    }
}

/// Where readers hand what they read.
#[derive(Debug, Clone)]
pub struct Sinks {
    pub directory: Arc<Directory>,
    pub inbound: mpsc::Sender<Inbound>,
    pub requests: mpsc::Sender<Request>,
    pub pending: Arc<Pending>,
    pub commands: mpsc::WeakSender<SwarmCommand>,
}

/// Accepts the streams of one class for as long as the network runs. A peer has one at a time, and opens another when it
/// breaks: of more than a few the oldest ends.
pub async fn accept(mut incoming: IncomingStreams, class: Class, sinks: Sinks) {
    let mut readers: BTreeMap<PeerId, VecDeque<AbortHandle>> = BTreeMap::new();
    while let Some((peer, stream)) = incoming.next().await {
        readers.retain(|_, readers| {
            readers.retain(|reader| !reader.is_finished());
            !readers.is_empty()
        });
        let readers = readers.entry(peer).or_default();
        readers.push_back(tokio::spawn(read_all(peer, stream, class, sinks.clone())).abort_handle());
        if readers.len() > STREAMS_PER_PEER
            && let Some(oldest) = readers.pop_front()
        {
            oldest.abort();
        }
    }
}

async fn read_all(peer: PeerId, mut stream: Stream, class: Class, sinks: Sinks) {
    loop {
        match read_one(&peer, &mut stream, class, &sinks).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let code = frame::peer_code(&error);
                tracing::warn!(%peer, %code, %error, "peer is disconnected for a malformed frame");
                if let Some(commands) = sinks.commands.upgrade()
                    && commands.send(SwarmCommand::Disconnect(peer)).await.is_err()
                {
                    tracing::debug!("network has stopped");
                }
                return;
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "direct stream ended");
                return;
            }
        }
    }
}

/// Waits until the peer has room for what it announces, takes it in, and waits for a place in the queue, first come first
/// served: who floods or dawdles slows down itself only, whatever number of streams it opens. False at the end.
async fn read_one(peer: &PeerId, stream: &mut Stream, class: Class, sinks: &Sinks) -> io::Result<bool> {
    let Some(head) = frame::read_head(stream, class).await? else { return Ok(false) };
    let Some(room) = sinks.directory.room(peer, class, head.bytes).await else { return Ok(false) };
    let body = frame::read_body(stream, head).await?;
    Ok(hand_on(peer, head.channel, body, room, sinks).await)
}

async fn hand_on(peer: &PeerId, channel: Channel, body: Vec<u8>, room: OwnedSemaphorePermit, sinks: &Sinks) -> bool {
    let Some(from) = sinks.directory.remote(peer) else { return false };
    match channel {
        Channel::Consensus | Channel::Seal => {
            sinks.inbound.send(Inbound { from, channel, body, room: Some(room) }).await.is_ok()
        }
        Channel::Request => match Request::received(*peer, from, body, &sinks.directory).await {
            Some(request) => sinks.requests.send(request).await.is_ok(),
            None => false,
        },
        Channel::Answer => {
            sinks.pending.answer(peer, &body);
            true
        }
    }
}
