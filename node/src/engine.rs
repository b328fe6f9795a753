//! The one loop: an input in, its effects out, in order.
