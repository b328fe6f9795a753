//! Record types, their schema and rules: one file per mechanism.
