//! Build, sign, send, wait; the definite answer.
