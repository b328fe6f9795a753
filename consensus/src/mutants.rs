//! Deliberate faults of this crate by which the simulation shows that it can fail. Each is compiled in under its own
//! feature only, or all by `mutants-by-name`. No build of a node turns any of these features on.

use mingzhang_ledger::mutants::Fault;
#[cfg(feature = "mutants-by-name")]
pub use mingzhang_ledger::mutants::choose;

/// CONFIRM is counted without its turn: votes of different turns for one block add up.
pub(crate) const CONFIRM_WITHOUT_TURN: Fault =
    Fault::new(cfg!(feature = "mutant-01-confirm-without-turn"), "mutant-01-confirm-without-turn");
/// A turn that was skipped is confirmed all the same.
pub(crate) const CONFIRM_AFTER_SKIP: Fault =
    Fault::new(cfg!(feature = "mutant-02-confirm-after-skip"), "mutant-02-confirm-after-skip");
/// A turn that was confirmed is skipped all the same.
pub(crate) const SKIP_AFTER_CONFIRM: Fault =
    Fault::new(cfg!(feature = "mutant-03-skip-after-confirm"), "mutant-03-skip-after-confirm");
/// A justification may leave out a turn.
pub(crate) const SKIP_WITHOUT_CERTIFICATE: Fault =
    Fault::new(cfg!(feature = "mutant-05-skip-without-certificate"), "mutant-05-skip-without-certificate");
/// Own votes are forgotten by a restart.
pub(crate) const RESTART_WITHOUT_RECORDS: Fault =
    Fault::new(cfg!(feature = "mutant-06-restart-without-records"), "mutant-06-restart-without-records");
/// The certificate that a confirmation leans on is in no record: neither behind the vote nor behind the turn.
pub(crate) const CONFIRMED_WITHOUT_CERTIFICATE: Fault =
    Fault::new(cfg!(feature = "mutant-08-confirmed-without-certificate"), "mutant-08-confirmed-without-certificate");
/// Nobody is sent the certificates that started a turn.
pub(crate) const CERTIFICATES_NOT_RELAYED: Fault =
    Fault::new(cfg!(feature = "mutant-09-certificates-not-relayed"), "mutant-09-certificates-not-relayed");
/// After a restart, own SKIPs are neither sent nor counted again.
pub(crate) const SKIP_NOT_RECOUNTED: Fault =
    Fault::new(cfg!(feature = "mutant-10-skip-not-recounted"), "mutant-10-skip-not-recounted");
/// A block that was validated late is not confirmed.
pub(crate) const NO_LATE_PATH: Fault = Fault::new(cfg!(feature = "mutant-10b-no-late-path"), "mutant-10b-no-late-path");
/// The justification of a certificate replaces that of the own endorsement.
pub(crate) const ENDORSED_OVERWRITTEN: Fault =
    Fault::new(cfg!(feature = "mutant-10c-endorsed-overwritten"), "mutant-10c-endorsed-overwritten");
/// What only one node knows to be waiting is never shown to the others.
pub(crate) const DEMAND_NOT_SHOWN: Fault =
    Fault::new(cfg!(feature = "mutant-10d-demand-not-shown"), "mutant-10d-demand-not-shown");
/// A proposal is taken from whoever makes it.
pub(crate) const NO_PROPOSER_CHECK: Fault =
    Fault::new(cfg!(feature = "mutant-11-no-proposer-check"), "mutant-11-no-proposer-check");
/// Every copy of a vote counts.
pub(crate) const DUPLICATE_SIGNER: Fault =
    Fault::new(cfg!(feature = "mutant-13-duplicate-signer"), "mutant-13-duplicate-signer");
/// The backoff falls on endorsement already.
pub(crate) const BACKOFF_RESET_EARLY: Fault =
    Fault::new(cfg!(feature = "mutant-14-backoff-reset-early"), "mutant-14-backoff-reset-early");
/// A block that was built for a turn is proposed whatever happened to the turn meanwhile.
pub(crate) const RESULT_NOT_RECHECKED: Fault =
    Fault::new(cfg!(feature = "mutant-15-result-not-rechecked"), "mutant-15-result-not-rechecked");
/// Votes of an earlier epoch count.
pub(crate) const OLD_EPOCH_VOTES: Fault =
    Fault::new(cfg!(feature = "mutant-16-old-epoch-votes"), "mutant-16-old-epoch-votes");
/// A vote leaves before its record is durable.
#[cfg(any(test, feature = "simulation"))]
pub(crate) const SEND_BEFORE_SYNC: Fault =
    Fault::new(cfg!(feature = "mutant-17-send-before-sync"), "mutant-17-send-before-sync");
/// A boundary block may have children in its own epoch.
pub(crate) const CHILD_OF_BOUNDARY: Fault =
    Fault::new(cfg!(feature = "mutant-21-child-of-boundary"), "mutant-21-child-of-boundary");
/// What others wait for is passed on as one's own, and so never forgotten.
pub(crate) const WAITS_PASSED_ON: Fault =
    Fault::new(cfg!(feature = "mutant-25b-waits-passed-on"), "mutant-25b-waits-passed-on");

#[cfg(test)]
mod tests {
    /// Every feature is a fault somewhere, and every fault a feature.
    #[test]
    fn the_list_of_faults_is_complete() {
        let features = include_str!("../Cargo.toml").lines().filter(|line| line.starts_with("mutant-"));
        let names: Vec<&str> = features.filter_map(|line| line.split(" =").next()).collect();
        assert!(names.len() >= 22, "only {} faults", names.len());
        let sources = [include_str!("mutants.rs"), include_str!("../../ledger/src/mutants.rs")];
        for name in names {
            let quoted = format!("\"{name}\"");
            assert!(sources.iter().any(|source| source.contains(&quoted)), "{name} changes nothing");
        }
        let own = include_str!("mutants.rs").matches("feature = \"mutant-").count();
        let manifest = include_str!("../Cargo.toml").matches("\nmutant-").count();
        assert!(own <= manifest, "a fault without a feature");
    }
}
