//! Follow a trail, fold the money, judge completeness: with ledger rules only.
