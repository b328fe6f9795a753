//! Follow a trail, fold the money, judge completeness: with ledger rules and proofs only. `fetch` gathers what one
//! sealed checkpoint proves, `judge` believes nothing of it before it is verified, `nodes` asks the others.

pub mod fetch;
pub mod judge;
pub mod nodes;
