//! Imports of public data sets: one file per source format.
