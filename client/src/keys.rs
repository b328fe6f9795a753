//! Officer keys, encrypted at rest.
