//! Tests of the whole: the repository's rules, and the real binaries as processes on this machine.

mod api;
mod bad_bytes;
mod bad_input;
mod chaos;
mod chinese;
mod clerk;
mod client;
mod ends;
mod epochs;
mod faults;
mod founding;
mod full_disk;
mod fuzzed;
mod import;
mod kept;
mod observer;
mod operator;
mod processes;
mod real_data;
mod recovery;
mod returning;
mod setup;
mod tidy;
mod trust;
mod watching;
mod words;
