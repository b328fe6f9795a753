//! The HTTP side of a node; believes nothing that it says.
