//! Deliberate faults by which tests show that they can fail. Each is compiled in under its own feature only;
//! `mutants-by-name` compiles all of them in and lets one be chosen at the start, so that hunting them takes one build.
//! No build of a node turns any of these features on. The crates above keep theirs in lists of their own.

/// One deliberate fault.
pub struct Fault {
    built: bool,
    /// As `mutants-by-name` knows it.
    #[cfg(feature = "mutants-by-name")]
    name: &'static str,
}

impl Fault {
    #[cfg(feature = "mutants-by-name")]
    pub const fn new(built: bool, name: &'static str) -> Self {
        Self { built, name }
    }

    #[cfg(not(feature = "mutants-by-name"))]
    pub const fn new(built: bool, _: &'static str) -> Self {
        Self { built }
    }

    #[cfg(feature = "mutants-by-name")]
    pub fn on(&self) -> bool {
        self.built || CHOSEN.get().is_some_and(|chosen| chosen == self.name)
    }

    #[cfg(not(feature = "mutants-by-name"))]
    pub const fn on(&self) -> bool {
        self.built
    }
}

#[cfg(feature = "mutants-by-name")]
static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Turns on the fault of that name, for this process; once only.
#[cfg(feature = "mutants-by-name")]
pub fn choose(name: &str) -> bool {
    CHOSEN.set(name.to_owned()).is_ok()
}

/// A quorum is twice the tolerated faults and one.
pub(crate) const QUORUM_TWO_F_PLUS_ONE: Fault =
    Fault::new(cfg!(feature = "mutant-04-quorum-two-f-plus-one"), "mutant-04-quorum-two-f-plus-one");
/// Two faulty members of four are thought to be tolerated.
pub(crate) const TWO_FAULTY_OF_FOUR: Fault =
    Fault::new(cfg!(feature = "mutant-07-two-faulty-of-four"), "mutant-07-two-faulty-of-four");
/// Unused bits of a bitmap may be set.
pub(crate) const PADDED_BITMAP: Fault =
    Fault::new(cfg!(feature = "mutant-12-padded-bitmap"), "mutant-12-padded-bitmap");
/// The log's root leaves out the header of the block before.
pub(crate) const LOG_ROOT_SHIFTED: Fault =
    Fault::new(cfg!(feature = "mutant-19-log-root-shifted"), "mutant-19-log-root-shifted");
/// A record is taken again under an id that is spent.
pub(crate) const DUPLICATE_RECORD: Fault =
    Fault::new(cfg!(feature = "mutant-20-duplicate-record"), "mutant-20-duplicate-record");
/// A header from before a transaction's expiry proves that it will never be recorded.
pub(crate) const EXPIRY_TOO_EARLY: Fault =
    Fault::new(cfg!(feature = "mutant-23-expiry-too-early"), "mutant-23-expiry-too-early");
/// An id is spent for its type of record only.
pub(crate) const ID_PER_KIND: Fault = Fault::new(cfg!(feature = "mutant-24-id-per-kind"), "mutant-24-id-per-kind");
/// A subject that a record has through a reference does not get it into its trail.
pub(crate) const TRAIL_WITHOUT_REFERENCES: Fault =
    Fault::new(cfg!(feature = "mutant-26-trail-without-references"), "mutant-26-trail-without-references");

#[cfg(test)]
mod tests {
    /// Every feature is a fault, and every fault a feature.
    #[test]
    fn the_list_of_faults_is_complete() {
        let manifest = include_str!("../Cargo.toml").lines().filter(|line| line.starts_with("mutant-"));
        let features: Vec<&str> = manifest.filter_map(|line| line.split(" =").next()).collect();
        assert!(features.len() >= 8, "only {} faults", features.len());
        for feature in &features {
            assert!(include_str!("mutants.rs").contains(&format!("\"{feature}\"")), "{feature} changes nothing");
        }
        let faults = include_str!("mutants.rs").lines().filter(|line| line.starts_with("pub(crate) const")).count();
        assert_eq!(faults, features.len());
    }
}
