//! The only file that reads time.
