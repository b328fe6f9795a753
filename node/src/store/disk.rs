//! How full the disk is, and what follows: warn, take no new transactions, stop in good order. A full disk must never
//! corrupt, so the node stops while there is still room to flush.

use std::path::Path;

use super::fault::StoreFault;

/// Parts of 1000 that must be free, per step. Tests set their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub warn_per_mille: u64,
    pub refuse_per_mille: u64,
    pub stop_per_mille: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_per_mille: 150, refuse_per_mille: 50, stop_per_mille: 20 }
    }
}

/// What the node does about the free space, least severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskState {
    Enough,
    /// Below 15 %: the operator is told.
    Low,
    /// Below 5 %: consensus goes on, new transactions are refused.
    Scarce,
    /// Below 2 %: the node stops in good order.
    Full,
}

/// Free space of the file system that holds `path`, for callers without privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

impl Space {
    pub fn of(path: &Path) -> Result<Self, StoreFault> {
        let stat = rustix::fs::statvfs(path);
        let stat = stat.map_err(|error| StoreFault::NotOpened { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    pub fn free_per_mille(&self) -> u64 {
        let free = u128::from(self.free_bytes) * 1_000;
        free.checked_div(u128::from(self.total_bytes)).map_or(1_000, |share| u64::try_from(share).unwrap_or(1_000))
    }

    pub fn state(&self, limits: &Limits) -> DiskState {
        match self.free_per_mille() {
            free if free < limits.stop_per_mille => DiskState::Full,
            free if free < limits.refuse_per_mille => DiskState::Scarce,
            free if free < limits.warn_per_mille => DiskState::Low,
            _ => DiskState::Enough,
        }
    }
}

/// The state of the file system that holds `path`.
pub fn disk_state(path: &Path, limits: &Limits) -> Result<DiskState, StoreFault> {
    Ok(Space::of(path)?.state(limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_begins_below_its_limit() {
        let state = |free_bytes| Space { free_bytes, total_bytes: 1_000 }.state(&Limits::default());
        assert_eq!(state(150), DiskState::Enough);
        assert_eq!(state(149), DiskState::Low);
        assert_eq!(state(50), DiskState::Low);
        assert_eq!(state(49), DiskState::Scarce);
        assert_eq!(state(20), DiskState::Scarce);
        assert_eq!(state(19), DiskState::Full);
        assert_eq!(Space { free_bytes: 0, total_bytes: 0 }.state(&Limits::default()), DiskState::Enough);
    }

    #[test]
    fn a_real_directory_has_space_and_limits_can_be_set() {
        let here = std::env::temp_dir();
        assert!(Space::of(&here).expect("temp dir").total_bytes > 0);
        let always = Limits { warn_per_mille: 1_001, refuse_per_mille: 1_001, stop_per_mille: 1_001 };
        assert_eq!(disk_state(&here, &always), Ok(DiskState::Full));
        assert!(disk_state(Path::new("/no such directory"), &always).is_err());
    }
}
