//! Explains codes, offline.
