//! Tests of the whole: the repository's rules, and the real binaries as processes on this machine.

mod bad_bytes;
mod bad_input;
mod epochs;
mod faults;
mod import;
mod operator;
mod processes;
mod returning;
mod tidy;
