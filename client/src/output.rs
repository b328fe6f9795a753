//! What people and scripts read: the JSON envelope, texts, exit codes.
