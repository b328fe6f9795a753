//! Deliberate faults, each compiled in only under its own feature, by which the simulation and the model show that
//! they can fail. No build of a node turns one on. The list is checked against the manifest by `make mutants`.

/// CONFIRM is counted without its turn: votes of different turns for one block add up.
pub(crate) const CONFIRM_WITHOUT_TURN: bool = cfg!(feature = "mutant-01-confirm-without-turn");
/// A turn that was skipped is confirmed all the same.
pub(crate) const CONFIRM_AFTER_SKIP: bool = cfg!(feature = "mutant-02-confirm-after-skip");
/// A turn that was confirmed is skipped all the same.
pub(crate) const SKIP_AFTER_CONFIRM: bool = cfg!(feature = "mutant-03-skip-after-confirm");
/// A justification may leave out a turn.
pub(crate) const SKIP_WITHOUT_CERTIFICATE: bool = cfg!(feature = "mutant-05-skip-without-certificate");
/// Own votes are forgotten by a restart.
pub(crate) const RESTART_WITHOUT_RECORDS: bool = cfg!(feature = "mutant-06-restart-without-records");
/// A confirmation is stored without the certificate that it leans on.
pub(crate) const CONFIRMED_WITHOUT_CERTIFICATE: bool = cfg!(feature = "mutant-08-confirmed-without-certificate");
/// Nobody is sent the certificates that started a turn.
pub(crate) const CERTIFICATES_NOT_RELAYED: bool = cfg!(feature = "mutant-09-certificates-not-relayed");
/// After a restart, own SKIPs are neither sent nor counted again.
pub(crate) const SKIP_NOT_RECOUNTED: bool = cfg!(feature = "mutant-10-skip-not-recounted");
/// A block that was validated late is not confirmed.
pub(crate) const NO_LATE_PATH: bool = cfg!(feature = "mutant-10b-no-late-path");
/// The justification of a certificate replaces that of the own endorsement.
pub(crate) const ENDORSED_OVERWRITTEN: bool = cfg!(feature = "mutant-10c-endorsed-overwritten");
/// What only one node knows to be waiting is never shown to the others.
pub(crate) const DEMAND_NOT_SHOWN: bool = cfg!(feature = "mutant-10d-demand-not-shown");
/// A proposal is taken from whoever makes it.
pub(crate) const NO_PROPOSER_CHECK: bool = cfg!(feature = "mutant-11-no-proposer-check");
/// Every copy of a vote counts.
pub(crate) const DUPLICATE_SIGNER: bool = cfg!(feature = "mutant-13-duplicate-signer");
/// The backoff falls on endorsement already.
pub(crate) const BACKOFF_RESET_EARLY: bool = cfg!(feature = "mutant-14-backoff-reset-early");
/// A block that was built for a turn is proposed whatever happened to the turn meanwhile.
pub(crate) const RESULT_NOT_RECHECKED: bool = cfg!(feature = "mutant-15-result-not-rechecked");
/// Votes of an earlier epoch count.
pub(crate) const OLD_EPOCH_VOTES: bool = cfg!(feature = "mutant-16-old-epoch-votes");
/// A vote leaves before its record is durable.
#[cfg(any(test, feature = "simulation"))]
pub(crate) const SEND_BEFORE_SYNC: bool = cfg!(feature = "mutant-17-send-before-sync");
/// A boundary block may have children in its own epoch.
pub(crate) const CHILD_OF_BOUNDARY: bool = cfg!(feature = "mutant-21-child-of-boundary");
/// What others wait for is passed on as one's own.
pub(crate) const WAITS_PASSED_ON: bool = cfg!(feature = "mutant-25b-waits-passed-on");
