//! Deliberate faults of the node by which the simulation shows that it can fail; see the ledger's list. No build of a node
//! turns any of these features on.

use mingzhang_ledger::mutants::Fault;

/// Whether a transaction is still in time is judged by this node's clock, not by the block's time.
pub(crate) const LOCAL_CLOCK: Fault = Fault::new(cfg!(feature = "mutant-18-local-clock"), "mutant-18-local-clock");
/// Lane positions stand in the state, where replay of the log does not find them.
pub(crate) const LANES_IN_STATE: Fault =
    Fault::new(cfg!(feature = "mutant-22-lanes-in-state"), "mutant-22-lanes-in-state");
/// After an unclean stop RocksDB's recovery mode decides, not the numbers of the writes; votes behind damage are dropped.
pub(crate) const RECOVERY_BY_MODE: Fault =
    Fault::new(cfg!(feature = "mutant-25-recovery-by-mode"), "mutant-25-recovery-by-mode");
