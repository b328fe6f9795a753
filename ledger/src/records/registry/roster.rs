//! The list of all agencies, kept beside their registry trail because votes must count them.

use minicbor::{Decode, Encode};

use super::object::Agency;
use crate::state::{Overlay, StateFault, key};

/// The value of `registry/agencies`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Roster {
    /// Ids in order of registration, retired ones included.
    #[n(0)]
    pub agencies: Vec<String>,
}

impl Roster {
    pub fn load(state: &Overlay<'_>) -> Result<Self, StateFault> {
        Ok(state.get(&key::registry("agencies"))?.unwrap_or_default())
    }

    /// The agencies that are registered and not retired, those whose time has not come included.
    pub fn remaining(&self, state: &Overlay<'_>) -> Result<Vec<(String, Agency)>, StateFault> {
        let mut remaining = Vec::new();
        for id in &self.agencies {
            if let Some(agency) = state.get::<Agency>(&key::agency(id))?
                && agency.retired_from.is_none()
            {
                remaining.push((id.clone(), agency));
            }
        }
        Ok(remaining)
    }
}
