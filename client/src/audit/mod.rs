//! Follow a trail, fold the money, judge completeness: with ledger rules and proofs only. `fetch` gathers what one
//! sealed checkpoint proves, `judge` believes nothing of it before it is verified, `standing` reckons what only time
//! creates, `blocks` says when, `nodes` asks the others.

pub mod blocks;
pub mod fetch;
pub mod judge;
pub mod nodes;
pub mod standing;
pub mod text;
