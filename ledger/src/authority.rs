//! The authority set: who decides blocks, under which consensus parameters, and the only quorum arithmetic of the
//! project. How they decide is the consensus crate's matter.

use thiserror::Error;

use crate::codec::{CodecFault, Value};
use crate::crypto::{Hash, PublicKey, sha256};
use crate::mutants;

/// Most members that an authority set may have.
pub const MAX_MEMBERS: usize = 1_024;

/// quorum(n) = ceil(2n/3), the smallest k with 3k ≥ 2n.
pub fn quorum(members: usize) -> usize {
    if mutants::QUORUM_TWO_F_PLUS_ONE.on() {
        return tolerated_faults(members).saturating_mul(2).saturating_add(1);
    }
    members.saturating_mul(2).div_ceil(3)
}

/// f = ceil(n/3) − 1: how many faulty members a set of n tolerates.
pub fn tolerated_faults(members: usize) -> usize {
    let spared = usize::from(!mutants::TWO_FAULTY_OF_FOUR.on());
    members.div_ceil(3).saturating_sub(spared)
}

/// Consensus parameters, bound by the set hash. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    pub min_block_interval_ms: u64,
    pub max_block_records: u64,
    pub max_block_bytes: u64,
    pub max_batch_records: u64,
    pub max_batch_bytes: u64,
    pub turn_timeout_ms: u64,
    pub turn_timeout_min_ms: u64,
    pub turn_timeout_max_ms: u64,
    pub merge_delay_ms: u64,
    pub time_precision_ms: u64,
    pub time_delay_ms: u64,
    pub confirm_wait_ms: u64,
    pub min_empty_interval_ms: u64,
    pub heartbeat_ms: u64,
    pub max_unfinal: u64,
    pub seal_interval_ms: u64,
}

/// Least and most of each parameter, in the order of [`Parameters::named`]. A batch must hold the largest transaction and,
/// signed, travel as one message of 1 MiB; a block must find room behind others in an answer of 8 MiB.
const RANGES: [(u64, u64); 16] = [
    (10, 60_000),
    (1, 100_000),
    (64 * 1024, 5 * 1024 * 1024),
    (1, 16_384),
    (20 * 1024, 1024 * 1024 - 128),
    (50, 300_000),
    (50, 300_000),
    (50, 300_000),
    (1_000, 3_600_000),
    (10, 10_000),
    (100, 60_000),
    (10, 60_000),
    (100, 60_000),
    (10_000, 86_400_000),
    (1, 1_024),
    (100, 60_000),
];

/// Why a set of parameters cannot govern a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParameterFault {
    #[error("consensus parameter {name} is {value}, allowed are {least} to {most}")]
    Range { name: &'static str, value: u64, least: u64, most: u64 },
    #[error("consensus parameter {smaller} is greater than {larger}")]
    Order { smaller: &'static str, larger: &'static str },
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            min_block_interval_ms: 100,
            max_block_records: 5_000,
            max_block_bytes: 2 * 1024 * 1024,
            max_batch_records: 1_024,
            max_batch_bytes: 256 * 1024,
            turn_timeout_ms: 1_700,
            turn_timeout_min_ms: 300,
            turn_timeout_max_ms: 30_000,
            merge_delay_ms: 60_000,
            time_precision_ms: 500,
            time_delay_ms: 2_000,
            confirm_wait_ms: 1_000,
            min_empty_interval_ms: 1_000,
            heartbeat_ms: 3_600_000,
            max_unfinal: 16,
            seal_interval_ms: 500,
        }
    }
}

impl Parameters {
    /// Names and values in the order of the document; the names are those of genesis files and of the protocol page.
    pub fn named(&self) -> [(&'static str, u64); 16] {
        [
            ("min_block_interval", self.min_block_interval_ms),
            ("max_block_records", self.max_block_records),
            ("max_block_bytes", self.max_block_bytes),
            ("max_batch_records", self.max_batch_records),
            ("max_batch_bytes", self.max_batch_bytes),
            ("turn_timeout", self.turn_timeout_ms),
            ("turn_timeout_min", self.turn_timeout_min_ms),
            ("turn_timeout_max", self.turn_timeout_max_ms),
            ("merge_delay", self.merge_delay_ms),
            ("time_precision", self.time_precision_ms),
            ("time_delay", self.time_delay_ms),
            ("confirm_wait", self.confirm_wait_ms),
            ("min_empty_interval", self.min_empty_interval_ms),
            ("heartbeat", self.heartbeat_ms),
            ("max_unfinal", self.max_unfinal),
            ("seal_interval", self.seal_interval_ms),
        ]
    }

    /// Whether every value lies in its range and fits the others.
    pub fn check(&self) -> Result<(), ParameterFault> {
        for ((name, value), (least, most)) in self.named().into_iter().zip(RANGES) {
            if value < least || value > most {
                return Err(ParameterFault::Range { name, value, least, most });
            }
        }
        for (smaller, larger, fits) in [
            ("turn_timeout_min", "turn_timeout", self.turn_timeout_min_ms <= self.turn_timeout_ms),
            ("turn_timeout", "turn_timeout_max", self.turn_timeout_ms <= self.turn_timeout_max_ms),
            ("max_batch_records", "max_block_records", self.max_batch_records <= self.max_block_records),
            ("max_batch_bytes", "max_block_bytes", self.max_batch_bytes <= self.max_block_bytes),
        ] {
            if !fits {
                return Err(ParameterFault::Order { smaller, larger });
            }
        }
        Ok(())
    }

    /// Changes the parameter of that name; false if there is none.
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let field = match name {
            "min_block_interval" => &mut self.min_block_interval_ms,
            "max_block_records" => &mut self.max_block_records,
            "max_block_bytes" => &mut self.max_block_bytes,
            "max_batch_records" => &mut self.max_batch_records,
            "max_batch_bytes" => &mut self.max_batch_bytes,
            "turn_timeout" => &mut self.turn_timeout_ms,
            "turn_timeout_min" => &mut self.turn_timeout_min_ms,
            "turn_timeout_max" => &mut self.turn_timeout_max_ms,
            "merge_delay" => &mut self.merge_delay_ms,
            "time_precision" => &mut self.time_precision_ms,
            "time_delay" => &mut self.time_delay_ms,
            "confirm_wait" => &mut self.confirm_wait_ms,
            "min_empty_interval" => &mut self.min_empty_interval_ms,
            "heartbeat" => &mut self.heartbeat_ms,
            "max_unfinal" => &mut self.max_unfinal,
            "seal_interval" => &mut self.seal_interval_ms,
            _ => return false,
        };
        *field = value;
        true
    }
}

/// One agency's seat: turn order is list order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub agency: String,
    pub consensus_key: PublicKey,
    pub sealing_key: PublicKey,
    /// Ed25519 public key of the libp2p identity.
    pub peer_key: PublicKey,
    pub url: String,
}

/// The set document of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySet {
    pub epoch: u64,
    pub parameters: Parameters,
    pub members: Vec<Member>,
}

impl AuthoritySet {
    pub fn encode(&self) -> Vec<u8> {
        let parameters = Value::text_map(self.parameters.named().map(|(name, value)| (name, Value::Uint(value))));
        let members = self
            .members
            .iter()
            .map(|member| {
                Value::Array(vec![
                    Value::text(&member.agency),
                    Value::bytes(&member.consensus_key.0),
                    Value::bytes(&member.sealing_key.0),
                    Value::bytes(&member.peer_key.0),
                    Value::text(&member.url),
                ])
            })
            .collect();
        Value::map(vec![
            (Value::Uint(1), Value::Uint(self.epoch)),
            (Value::Uint(2), parameters),
            (Value::Uint(3), Value::Array(members)),
        ])
        .encode()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let document = Value::decode(bytes)?;
        let invalid = CodecFault::Invalid;
        let epoch = document.at(1).and_then(Value::as_uint).ok_or(invalid("epoch"))?;
        let mut parameters = Parameters::default();
        let Some(Value::Map(named)) = document.at(2) else { return Err(invalid("parameters")) };
        for (name, value) in named {
            let name = name.as_text().ok_or(invalid("parameter name"))?;
            let value = value.as_uint().ok_or(invalid("parameter value"))?;
            if !parameters.set(name, value) {
                return Err(invalid("unknown parameter"));
            }
        }
        let members = document.at(3).and_then(Value::as_array).ok_or(invalid("members"))?;
        if members.is_empty() || members.len() > MAX_MEMBERS {
            return Err(invalid("number of members"));
        }
        let members = members.iter().map(decode_member).collect::<Result<_, _>>()?;
        let set = Self { epoch, parameters, members };
        if set.encode() == bytes { Ok(set) } else { Err(CodecFault::NotCanonical) }
    }

    pub fn hash(&self) -> Hash {
        sha256(&[&self.encode()])
    }

    pub fn quorum(&self) -> usize {
        quorum(self.members.len())
    }

    pub fn tolerated_faults(&self) -> usize {
        tolerated_faults(self.members.len())
    }

    pub fn member(&self, index: u16) -> Option<&Member> {
        self.members.get(usize::from(index))
    }

    pub fn index_of(&self, agency: &str) -> Option<u16> {
        self.members.iter().position(|member| member.agency == agency).and_then(|index| u16::try_from(index).ok())
    }

    /// The proposer of a turn: (turn − 1 + height of the block that opened the epoch) mod n.
    pub fn proposer(&self, turn: u64, opening_height: u64) -> u16 {
        let members = u128::try_from(self.members.len().max(1)).unwrap_or(1);
        let step = u128::from(turn.saturating_sub(1)).saturating_add(u128::from(opening_height));
        u16::try_from(step.checked_rem(members).unwrap_or(0)).unwrap_or(0)
    }
}

fn decode_member(value: &Value) -> Result<Member, CodecFault> {
    let Some([agency, consensus, sealing, peer, url]) = value.as_array() else {
        return Err(CodecFault::Invalid("member"));
    };
    let key = |value: &Value| {
        let bytes = value.as_bytes().and_then(|bytes| bytes.try_into().ok());
        bytes.map(PublicKey).ok_or(CodecFault::Invalid("member key"))
    };
    let text = |value: &Value| value.as_text().map(str::to_owned).ok_or(CodecFault::Invalid("member text"));
    Ok(Member {
        agency: text(agency)?,
        consensus_key: key(consensus)?,
        sealing_key: key(sealing)?,
        peer_key: key(peer)?,
        url: text(url)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums_are_the_published_ones() {
        for (members, expected) in
            [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (13, 9), (31, 21), (100, 67)]
        {
            assert_eq!(quorum(members), expected, "n = {members}");
        }
        for members in 4..200 {
            assert!(members - tolerated_faults(members) >= quorum(members));
            assert!(2 * quorum(members) - members > tolerated_faults(members));
        }
    }

    #[test]
    fn parameters_stay_in_range_and_in_order() {
        assert_eq!(Parameters::default().check(), Ok(()));
        for ((name, _), (least, most)) in Parameters::default().named().into_iter().zip(RANGES) {
            for outside in [least - 1, most + 1] {
                let mut parameters = Parameters::default();
                assert!(parameters.set(name, outside));
                assert_eq!(parameters.check(), Err(ParameterFault::Range { name, value: outside, least, most }));
            }
        }
        let parameters = Parameters { turn_timeout_ms: 299, ..Parameters::default() };
        assert!(matches!(parameters.check(), Err(ParameterFault::Order { smaller: "turn_timeout_min", .. })));
    }

    #[test]
    fn document_round_trips_and_every_byte_counts() {
        let member = |name: &str, byte| Member {
            agency: name.into(),
            consensus_key: PublicKey([byte; 32]),
            sealing_key: PublicKey([byte + 1; 32]),
            peer_key: PublicKey([byte + 2; 32]),
            url: "https://example.gov/".into(),
        };
        let set = AuthoritySet {
            epoch: 3,
            parameters: Parameters::default(),
            members: vec![member("finance", 1), member("civil", 9)],
        };
        let bytes = set.encode();
        assert_eq!(AuthoritySet::decode(&bytes), Ok(set));
        assert!(AuthoritySet::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
