//! Tests of the whole: the repository's rules, and the real binaries as processes on this machine.

mod tidy;
