//! The digest that makes a second claim visible without naming anybody. Where it is kept and when it is free again is
//! decided by the payment's rules.

use crate::codec::put_counted;
use crate::crypto::{Hash, sha256};

const DOMAIN: &[u8] = b"mingzhang/nullifier/v1";

/// SHA-256(domain ‖ rule ‖ period ‖ recipient), each part length-prefixed (u32); an asset follows as a part of its own
/// where the rule counts it.
pub fn digest(rule: &str, period: &str, recipient: &[u8], asset: Option<&str>) -> Hash {
    let mut bytes = DOMAIN.to_vec();
    put_counted(&mut bytes, rule.as_bytes());
    put_counted(&mut bytes, period.as_bytes());
    put_counted(&mut bytes, recipient);
    if let Some(asset) = asset {
        put_counted(&mut bytes, asset.as_bytes());
    }
    sha256(&[&bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_parts_cannot_flow_into_each_other() {
        let base = digest("claim/civil/P-1", "2026H1", &[7; 16], None);
        for other in [
            digest("claim/civil/P-2", "2026H1", &[7; 16], None),
            digest("claim/civil/P-1", "2026H2", &[7; 16], None),
            digest("claim/civil/P-1", "2026H1", &[8; 16], None),
            digest("claim/civil/P-1", "2026H1", &[7; 16], Some("")),
            digest("claim/civil/P-12", "026H1", &[7; 16], None),
        ] {
            assert_ne!(base, other);
        }
    }

    /// A change of this value is a change of the protocol.
    #[test]
    fn known_digest() {
        assert_eq!(
            hex::encode(digest("claim/civil/P-1", "2026H1", &[7; 16], None)),
            "012ec9cd09d1dce27f91c70962344632a8a845f44ae2fdef20040a6853f5c4a2"
        );
    }
}
