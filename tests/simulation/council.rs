//! Changes of the authority set as administrators make them: a proposal, the votes of the members, and every node's word
//! that it is ready. One change after the other; what was lost on the way is said again.

use mingzhang_ledger::certificate::{KeyRole, possess_bytes};
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::records::body::ref_value;
use mingzhang_ledger::records::object::Ref;
use mingzhang_ledger::seal::prove_possession;
use mingzhang_ledger::state::key::parse_id;

use crate::clerk::{Clerk, Record};
use crate::founding::{AGENCIES, NOTICE_MS, Network, consensus_key, peer_key, sealing_key};

/// How long its records stay valid.
const LIFE_MS: u64 = 3_600_000;

/// Who joins and who leaves, by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub join: Vec<usize>,
    pub leave: Vec<usize>,
}

/// The change under way.
#[derive(Debug, Clone)]
pub struct Motion {
    pub change: Change,
    /// Epoch that it opens.
    pub epoch: u64,
    /// Its proposal and votes were handed in so often.
    pub tries: u64,
}

/// Generations of the keys of whoever joins.
pub type Generations = [u64; AGENCIES.len()];

fn seat(network: &Network, place: usize, generation: u64) -> Value {
    let agency = AGENCIES[place];
    let mut fields =
        vec![("agency_id", Value::text(agency)), ("url", Value::text(&format!("https://{agency}.example.gov/")))];
    let keys = [
        (KeyRole::Consensus, "consensus_key", "consensus_proof", consensus_key(agency, generation)),
        (KeyRole::Peer, "peer_key", "peer_proof", peer_key(agency, generation)),
    ];
    for (role, key_field, proof_field, key) in keys {
        let proof = key.sign(&possess_bytes(&network.genesis.hash, agency, role, &key.public()));
        fields.push((key_field, Value::bytes(&key.public().0)));
        fields.push((proof_field, Value::bytes(&proof.0)));
    }
    Value::text_map(fields)
}

impl Motion {
    /// Proposal and votes, to be executed in this order.
    pub fn records(
        &self,
        clerk: &Clerk,
        network: &Network,
        (members, generations): (&[usize], &Generations),
        now_ms: u64,
    ) -> Vec<Record> {
        let (end, label) = (now_ms + LIFE_MS, format!("{}-{}", self.epoch, self.tries));
        let seats = self.change.join.iter().map(|place| seat(network, *place, generations[*place])).collect();
        let remove = self.change.leave.iter().map(|place| Value::text(AGENCIES[*place])).collect();
        let action = Value::text_map([("seats", Value::Array(seats)), ("remove", Value::Array(remove))]);
        let body = vec![
            ("action", Value::text("authority_set")),
            ("action_body", Value::bytes(&action.encode())),
            ("from_time", Value::Uint(now_ms + 3 * NOTICE_MS)),
        ];
        let first = AGENCIES[members[0]];
        let id = format!("CHANGE-{label}");
        let mut records = vec![clerk.sign(&format!("{first}/admin1"), ("proposal", &id), body, end)];
        let proposal = Ref::new(first, &parse_id(&id).expect("a short id"));
        for member in members {
            let ballot = vec![("proposal", ref_value(&proposal)), ("yes", Value::Bool(true))];
            let signer = format!("{}/admin1", AGENCIES[*member]);
            records.push(clerk.sign(&signer, ("vote", &format!("VOTE-{label}")), ballot, end));
        }
        records
    }
}

/// An agency's word that its node follows and is ready for the next epoch.
pub fn ready(
    clerk: &Clerk,
    network: &Network,
    place: usize,
    (epoch, height, tries): (u64, u64, u64),
    now_ms: u64,
) -> Record {
    let (agency, origin) = (AGENCIES[place], &network.genesis.origin);
    let key = sealing_key(agency, epoch);
    let body = vec![
        ("epoch", Value::Uint(epoch)),
        ("height", Value::Uint(height)),
        ("sealing_key", Value::bytes(&key.public().0)),
        ("sealing_proof", Value::bytes(&prove_possession(origin, 5, &key))),
    ];
    clerk.sign(&format!("{agency}/admin1"), ("node_ready", &format!("READY-{epoch}-{tries}")), body, now_ms + LIFE_MS)
}
