//! Choosing what stands: the highest certified block that a survivor holds, and the seats of the set that goes on from it.

use mingzhang_consensus::Epoch;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::authority::Member;
use mingzhang_ledger::certificate::{KeyRole, possess_bytes};
use mingzhang_ledger::crypto::{PublicKey, Signature};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::records::registry::Agency;
use mingzhang_ledger::seal::possession_holds;
use mingzhang_ledger::state::{Overlay, key};
use serde::{Deserialize, Serialize};

use super::dump::Spoken;
use super::{Dump, Fault};
use crate::store::Store;

/// The base that dumps lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub header: Header,
    /// Turn of its certificate; 0 where it opened the epoch.
    pub turn: u64,
    /// Whose dump holds it.
    pub agencies: Vec<String>,
    /// Turns of certificates above it whose blocks no dump holds: nobody who dumped confirmed them.
    pub given_up: Vec<u64>,
    /// Agencies whose dumps are of earlier epochs.
    pub behind: Vec<String>,
}

/// What one dump says: its highest block that is held, and every turn that is certified.
struct Candidate {
    agency: String,
    best: Option<(Spoken, Header)>,
    certified: Vec<Spoken>,
}

/// The highest certified block, by turn, that one of the dumps holds with all blocks below it.
pub fn choose_base(dumps: &[Dump], epoch: &Epoch) -> Result<Chosen, Fault> {
    let (mut candidates, mut behind) = (Vec::new(), Vec::new());
    for dump in dumps {
        if dump.epoch > epoch.number() {
            let (theirs, ours) = (dump.epoch, epoch.number());
            return Err(Fault::Unfit(format!(
                "dump of {} is of epoch {theirs}, this node is in epoch {ours}: draft at a node of the newest epoch",
                dump.agency
            )));
        }
        if dump.epoch < epoch.number() {
            behind.push(dump.agency.clone());
            continue;
        }
        candidates.push(candidate(dump, epoch)?);
    }
    let best = candidates.iter().filter_map(|candidate| candidate.best.as_ref()).max_by_key(|(spoken, _)| spoken.turn);
    let Some((spoken, header)) = best.copied() else {
        return Err(Fault::Unfit("no dump of this epoch holds a certified block".into()));
    };
    let is_it = |(known, _): &(Spoken, Header)| known.block == spoken.block;
    let holds = |candidate: &&Candidate| candidate.best.as_ref().is_some_and(is_it);
    let certified = candidates.iter().flat_map(|candidate| &candidate.certified);
    let mut given_up: Vec<u64> =
        certified.filter(|known| known.turn > spoken.turn && known.block != spoken.block).map(|k| k.turn).collect();
    given_up.sort_unstable();
    given_up.dedup();
    Ok(Chosen {
        header,
        turn: spoken.turn,
        agencies: candidates.iter().filter(holds).map(|candidate| candidate.agency.clone()).collect(),
        given_up,
        behind,
    })
}

fn candidate(dump: &Dump, epoch: &Epoch) -> Result<Candidate, Fault> {
    let checked = dump.check(epoch)?;
    let last = checked.blocks.last().map(|block| block.header);
    // The blocks lead to a certified one; without blocks the last final one is the highest.
    let above = last.and_then(|header| {
        let spoken = checked.certified.iter().filter(|spoken| spoken.block == header.id());
        spoken.max_by_key(|spoken| spoken.turn).map(|spoken| (*spoken, header))
    });
    Ok(Candidate { agency: dump.agency.clone(), best: above.or(checked.tip), certified: checked.certified })
}

/// A member's keys for the next epoch, each with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeatFile {
    pub agency_id: String,
    pub url: String,
    /// The epoch that the sealing key is for.
    pub epoch: u64,
    pub consensus_key: String,
    pub consensus_proof: String,
    pub peer_key: String,
    pub peer_proof: String,
    pub sealing_key: String,
    pub sealing_proof: String,
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::decode(text).ok()?.try_into().ok()
}

/// The member that a seat file makes, if every proof in it holds for this network.
pub fn member_of(seat: &SeatFile, genesis: &Genesis) -> Result<Member, Fault> {
    let agency = &seat.agency_id;
    let unfit = |what: &str| Fault::Unfit(format!("seat of {agency}: {what}"));
    let key = |text: &str| bytes(text).map(PublicKey).ok_or_else(|| unfit("a key is not 64 hexadecimal digits"));
    let proven = |(key_text, proof): (&str, &str), role| -> Result<PublicKey, Fault> {
        let key = key(key_text)?;
        let message = possess_bytes(&genesis.hash, agency, role, &key);
        let holds = bytes(proof).map(Signature).is_some_and(|proof| key.verify_strict(&message, &proof));
        let holds = holds && key.check_registrable().is_ok();
        if holds { Ok(key) } else { Err(unfit("it does not prove that it holds its keys")) }
    };
    let consensus_key = proven((&seat.consensus_key, &seat.consensus_proof), KeyRole::Consensus)?;
    let peer_key = proven((&seat.peer_key, &seat.peer_proof), KeyRole::Peer)?;
    let sealing_key = key(&seat.sealing_key)?;
    let proof = hex::decode(&seat.sealing_proof).unwrap_or_default();
    if !possession_holds(&genesis.origin, &sealing_key, &proof) || sealing_key.check_registrable().is_err() {
        return Err(unfit("it does not prove that it holds its sealing key"));
    }
    Ok(Member { agency: agency.clone(), consensus_key, sealing_key, peer_key, url: seat.url.clone() })
}

/// Agencies of the set exist, and no key comes back that a node had before, unless its owner keeps it.
pub fn require_new_seats(members: &[Member], store: &Store) -> Result<(), Fault> {
    let (view, current) = (store.view()?, store.set());
    let state = Overlay::new(&view);
    for member in members {
        let agency: Option<Agency> = state.get(&key::agency(&member.agency))?;
        if agency.is_none_or(|agency| agency.retired_from.is_some()) {
            return Err(Fault::Unfit(format!("agency {} does not exist", member.agency)));
        }
        let keeps = |public: &PublicKey| {
            let mut own = current.members.iter().filter(|known| known.agency == member.agency);
            own.any(|known| [known.consensus_key, known.peer_key].contains(public))
        };
        for public in [member.consensus_key, member.peer_key, member.sealing_key] {
            let used = state.exists(&key::node_key(&public))? || state.exists(&key::officer_key(&public.key_id()))?;
            if used && !keeps(&public) {
                return Err(Fault::Unfit(format!("key {public:?} of {} was registered before", member.agency)));
            }
        }
    }
    Ok(())
}
