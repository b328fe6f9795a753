//! A block's header from its parent, its turn and what execution produced.
