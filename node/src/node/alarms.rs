//! Alarms that follow from how the node stands now: they come and go with their cause.

use crate::network::PeerStatus;
use crate::store::disk::{DiskState, Limits, Space};

/// Says whose keys two processes use at the same time.
pub fn twins(peers: &[PeerStatus]) -> Option<String> {
    let names: Vec<&str> = peers.iter().filter(|peer| peer.twins).map(|peer| peer.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!("MZ-5028: two processes run with the keys of {}: one of them must be stopped", names.join(", "))
    })
}

/// Says that turns pass without a final block: each agency had its turn twice. A quorum that skips is there, and does not
/// agree; an idle network passes no turns.
pub fn failing(turn: u64, final_turn: u64, members: usize) -> Option<String> {
    let failed = turn.saturating_sub(final_turn.saturating_add(1));
    let twice_around = u64::try_from(members).unwrap_or(u64::MAX).saturating_mul(2);
    (failed >= twice_around.max(1)).then(|| {
        format!("{failed} turns have passed since the last final block: look at the other agencies' logs and clocks")
    })
}

/// Says that the system's clock was set back by more than a seal's time may be wrong. Within the process time never goes
/// back, so it takes as long again as the difference until the two agree.
pub fn set_back(ahead_ms: u64, precision_ms: u64) -> Option<String> {
    (ahead_ms > precision_ms).then(|| {
        format!(
            "this node's time is {ahead_ms} ms ahead of the system's clock, which was set back: if the clock is right \
             now, restart the node"
        )
    })
}

/// Says that the disk fills up, from three times the share on at which records are refused.
pub fn disk(space: Option<&Space>, limits: &Limits) -> Option<String> {
    let space = space?;
    let share = |per_mille: u64| format!("{}.{} %", per_mille / 10, per_mille % 10);
    let free = format!("{} ({} MiB) of the disk are free", share(space.free_per_mille()), space.free_bytes >> 20);
    let [refuse, stop] = [limits.refuse_per_mille, limits.stop_per_mille].map(share);
    match space.state(limits) {
        DiskState::Enough => None,
        DiskState::Low => {
            Some(format!("{free}: below {refuse} new records are refused here, below {stop} the node stops"))
        }
        DiskState::Scarce | DiskState::Full => {
            Some(format!("MZ-1014: {free}: new records are refused here; below {stop} the node stops: make room now"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_told_beyond_the_agreed_precision() {
        assert_eq!(set_back(500, 500), None);
        assert!(set_back(3_600_000, 500).is_some_and(|text| text.contains("3600000 ms") && text.contains("restart")));
    }

    #[test]
    fn a_disk_that_fills_up_is_told_before_records_are_refused() {
        let told = |free_bytes: u64| {
            disk(Some(&Space { free_bytes: free_bytes << 20, total_bytes: 1_000 << 20 }), &Limits::default())
        };
        assert_eq!((told(150), disk(None, &Limits::default())), (None, None));
        assert!(told(149).is_some_and(|text| text.starts_with("14.9 % (149 MiB) of the disk are free: below 5.0 %")));
        assert!(told(50).is_some_and(|text| !text.contains("MZ-1014")));
        assert!(told(49).is_some_and(|text| text.starts_with("MZ-1014: 4.9 %") && text.contains("below 2.0 %")));
    }

    #[test]
    fn turns_that_fail_are_told_once_each_agency_had_two() {
        assert_eq!(failing(1, 0, 4), None, "idle from the start");
        assert_eq!(failing(12, 4, 4), None);
        assert!(failing(13, 4, 4).is_some_and(|text| text.starts_with("8 turns have passed")));
        assert_eq!(failing(3, 4, 4), None, "a block became final beside the question");
    }
}
