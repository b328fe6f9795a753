//! The command line of mingzhang-node: one file per top-level command.
