//! Verifiers that others wrote, on our bytes: their roots, their proofs, their notes. None of them knows this project;
//! `verify.py` is ours, written from the protocol page alone.

mod messages;
mod notes;
mod offline;
mod trees;
mod vectors;
