//! Where bytes become messages in the pretended world: real encoding, real decoding, the real check of form, and
//! pretended signatures that bind key and words as real ones do, at a hundredth of their cost.

use std::rc::Rc;

use mingzhang_ledger::crypto::{PublicKey, Signature};

use super::World;
use crate::evidence::Evidence;
use crate::known::Known;
use crate::message::Message;
use crate::statement::{Statement, Vote};
use crate::verify::{Check, Refusal, SignedItem, Verified};
use crate::{Epoch, Peer};

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Frame {
    pub epoch: u64,
    pub bytes: Rc<Vec<u8>>,
}

/// What the door says about a frame.
pub enum Opened {
    Message(Box<Verified<Message>>),
    Convicted(Box<Evidence>),
    Refused,
}

impl Frame {
    pub fn new(message: &Message, epoch: &Epoch) -> Self {
        Self { epoch: epoch.number(), bytes: Rc::new(message.encode(epoch)) }
    }

    /// Oracle: what decodes, encodes to the same bytes.
    pub fn open(&self, epoch: &Epoch) -> Opened {
        let Ok(message) = Message::decode(&self.bytes, epoch) else { return Opened::Refused };
        assert!(message.encode(epoch) == *self.bytes, "oracle canonical: one message has two encodings");
        let Ok(check) = Check::new(message, epoch, &Known::default()) else { return Opened::Refused };
        let verdicts: Vec<bool> = check.items().iter().map(holds).collect();
        match check.conclude(&verdicts, epoch) {
            Ok(verified) => Opened::Message(Box::new(verified)),
            Err(Refusal::Convicted(evidence)) => Opened::Convicted(evidence),
            Err(_) => Opened::Refused,
        }
    }
}

/// A mixture of all bytes; nobody in the pretended world tries to find collisions.
fn mix(key: &[u8], message: &[u8]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for part in [key, message] {
        for chunk in part.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(29);
        }
        state ^= part.len() as u64;
    }
    state ^ (state >> 31)
}

pub fn sign(key: &PublicKey, message: &[u8]) -> Signature {
    let mixed = mix(&key.0, message).to_le_bytes();
    let mut signature = [0; 64];
    for part in signature.chunks_mut(8) {
        part.copy_from_slice(&mixed);
    }
    Signature(signature)
}

pub fn holds(item: &SignedItem) -> bool {
    sign(&item.key, &item.message) == item.signature
}

impl World {
    pub fn sign(&self, signer: Peer, statement: &Statement, epoch: &Epoch) -> Signature {
        let key = epoch.set.member(signer).expect("signers are members").consensus_key;
        sign(&key, &statement.signed_bytes(&epoch.chain))
    }

    pub fn signed_vote(&self, signer: Peer, statement: Statement, epoch: &Epoch) -> Vote {
        Vote { statement, signer, signature: self.sign(signer, &statement, epoch) }
    }
}
