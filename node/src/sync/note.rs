//! The newest sealed note, asked for by whoever has none of its last block: members hand a note on once, when it is made or
//! when somebody connects, and what was lost on the way, or came before its epoch was reached, nobody says again by itself.

use std::sync::Arc;
use std::time::Duration;

use mingzhang_ledger::authority::MAX_MEMBERS;
use mingzhang_ledger::codec::{CodecFault, Reader, put_counted};
use tokio::sync::mpsc;

use super::wire::Question;
use super::{Lie, Parts, SyncFault};
use crate::engine::inbound::OtherFrame;
use crate::network::{PeerStatus, Remote};
use crate::store::{Store, StoreFault};

/// How often it is looked whether a note came.
const LOOK: Duration = Duration::from_secs(10);
/// More than a seal has.
const MAX_SEAL_BYTES: usize = 256;

/// Asks one peer after the other, as long as no newer note comes and the last block has none.
pub async fn ask_again(parts: Arc<Parts>, seals: mpsc::Sender<OtherFrame>) {
    let (mut before, mut turn) = (None, 0usize);
    while !seals.is_closed() {
        let sealed = parts.store.sealed_size();
        let is_behind = sealed < parts.store.tip().tree_size();
        if is_behind && before == Some(sealed) {
            let peers: Vec<PeerStatus> = parts.network.peers().into_iter().filter(|peer| peer.connected).collect();
            let peer = turn.checked_rem(peers.len()).and_then(|place| peers.get(place));
            turn = turn.wrapping_add(1);
            if let Some(peer) = peer
                && let Err(error) = ask(&parts, peer, sealed, &seals).await
            {
                tracing::debug!(peer = %peer.name, %error, "peer gave no sealed note");
            }
        }
        before = Some(sealed);
        tokio::time::sleep(LOOK).await;
    }
}

/// What comes is judged like seals that come by themselves.
async fn ask(parts: &Parts, peer: &PeerStatus, above: u64, seals: &mpsc::Sender<OtherFrame>) -> Result<(), SyncFault> {
    let answer = parts.network.ask(&peer.key, &Question::Note { above }.encode()).await?;
    let lines = match decode(&answer) {
        Ok(lines) => lines,
        Err(error) => {
            let lie = Lie::from(error);
            tracing::warn!(peer = %peer.name, code = %lie.code, lie.reason, "peer is disconnected for a false answer");
            parts.network.disconnect(&peer.key);
            return Err(SyncFault::Lie(lie));
        }
    };
    for line in lines {
        let from = Remote { key: peer.key, seat: peer.seat };
        seals.send(OtherFrame::answered(from, line)).await.map_err(|_| SyncFault::Stopping)?;
    }
    Ok(())
}

/// The seals of the newest note, if it is of more than so many entries.
pub fn newest(store: &Store, above: u64) -> Result<Vec<u8>, StoreFault> {
    let (size, mut bytes) = (store.sealed_size(), Vec::new());
    if size > above {
        for seal in store.seals(size)? {
            put_counted(&mut bytes, &seal.line);
        }
    }
    Ok(bytes)
}

pub fn decode(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CodecFault> {
    let mut reader = Reader::new(bytes);
    let mut lines = Vec::new();
    while reader.remaining() > 0 && lines.len() < MAX_MEMBERS {
        lines.push(reader.counted(MAX_SEAL_BYTES)?.to_vec());
    }
    reader.finish()?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_more_seals_than_there_can_be_or_of_longer_ones_is_none() {
        let of = |count: usize, length: usize| {
            let mut bytes = Vec::new();
            (0..count).for_each(|_| put_counted(&mut bytes, &vec![7; length]));
            decode(&bytes).map(|lines| lines.len())
        };
        assert_eq!((of(0, 0), of(MAX_MEMBERS, MAX_SEAL_BYTES)), (Ok(0), Ok(MAX_MEMBERS)));
        assert!(of(MAX_MEMBERS + 1, 1).is_err() && of(1, MAX_SEAL_BYTES + 1).is_err());
        assert!(decode(&[0, 0, 0, 2, 7]).is_err());
    }
}
