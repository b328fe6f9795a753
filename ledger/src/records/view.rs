//! The JSON view of records and state, for people. Never hashed, never signed.
