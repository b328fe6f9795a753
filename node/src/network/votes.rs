//! The only door for a vote: it takes what is durable and nothing else. What others signed goes through `relay`.

use mingzhang_consensus::message::Message;
use mingzhang_consensus::{Audience, Epoch};
use mingzhang_ledger::batch::Batch;

use super::{Channel, Frame, Handle};
use crate::signer::SignedVote;
use crate::store::Durable;

impl Handle {
    /// Sends an own vote, or the own proposal that it is, with the batches that ride on it.
    pub fn vote(&self, vote: &Durable<SignedVote>, attached: Vec<Batch>, to: &Audience, epoch: &Epoch) {
        self.transmit(&vote.message(attached, epoch), to, epoch);
    }

    /// Sends certificates, justifications, requests and status: never an own vote.
    pub fn relay(&self, message: &Message, to: &Audience, epoch: &Epoch) {
        self.transmit(message, to, epoch);
    }

    fn transmit(&self, message: &Message, to: &Audience, epoch: &Epoch) {
        let Some(frame) = Frame::new(Channel::Consensus, &[&message.encode(epoch)]) else {
            tracing::warn!("message is larger than a frame and was not sent");
            return;
        };
        match to {
            Audience::Everybody => self.send_to_seats(&frame),
            Audience::Peers(seats) => {
                for seat in seats {
                    if !self.send_to_seat(*seat, &frame) {
                        tracing::trace!(seat, "peer misses a message: not connected or slow");
                    }
                }
            }
        }
    }
}
