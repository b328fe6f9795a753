//! Rule parameters: names, defaults and ranges, and the value in force at a block's time. Changing them is a vote, in
//! `records::governance`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minicbor::{Decode, Encode};

use crate::records::calendar::Day;
use crate::state::key::{self, Key};
use crate::state::{Overlay, StateFault};

/// One parameter of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    pub name: &'static str,
    pub default: u64,
    pub min: u64,
    pub max: u64,
    pub unit: &'static str,
}

/// The unit of a parameter that is a day of the year.
const MONTH_DAY: &str = "mmdd";
/// A year that has every day.
const LEAP_YEAR: u64 = 2_000;

impl Parameter {
    /// Whether a value is in its range and, for a day of the year, on the calendar.
    pub fn allows(&self, value: u64) -> bool {
        let dated = self.unit != MONTH_DAY || Day::of_year(LEAP_YEAR, value).is_some();
        dated && (self.min..=self.max).contains(&value)
    }
}

const fn parameter_row(name: &'static str, range: [u64; 3], unit: &'static str) -> Parameter {
    let [min, default, max] = range;
    Parameter { name, default, min, max, unit }
}

const DAY_MS: u64 = 86_400_000;

/// All parameters. Statutory day counts and rates: check the official text.
pub const PARAMETERS: &[Parameter] = &[
    parameter_row("hold_expiry", [60_000, 30 * DAY_MS, 366 * DAY_MS], "ms"),
    parameter_row("parameter_notice", [0, DAY_MS, 366 * DAY_MS], "ms"),
    parameter_row("backdating_days", [0, 30, 3_660], "days"),
    // Working days in which an applicant answers the one correction notice.
    parameter_row("correction_days", [1, 30, 3_660], "working days"),
    parameter_row("publicity_days", [0, 7, 366], "days"),
    parameter_row("quiet_days", [0, 15, 366], "days"),
    parameter_row("idle_days", [1, 365, 3_660], "days"),
    parameter_row("second_approval_minor", [0, 100_000_000, u64::MAX], "minor"),
    parameter_row("advance_rate", [0, 3_000, 10_000], "basis points"),
    parameter_row("amendment_rate", [0, 1_000, 10_000], "basis points"),
    parameter_row("min_bids", [1, 3, 100], "bids"),
    parameter_row("deposit_days", [1, 30, 366], "days"),
    parameter_row("reveal_window", [60_000, DAY_MS, 366 * DAY_MS], "ms"),
    // Month and day of a year after which nothing is committed: 1231 is the last day.
    parameter_row("commit_cutoff", [101, 1_231, 1_231], MONTH_DAY),
    parameter_row("rounding_tolerance", [0, 0, 100], "minor"),
    parameter_row("near_threshold", [0, 9_500, 10_000], "basis points"),
    parameter_row("repeated_winner", [1, 3, 1_000], "awards"),
    parameter_row("short_notice_days", [0, 10, 366], "days"),
    parameter_row("soon_amended_days", [0, 30, 366], "days"),
];

/// The parameter of that name.
pub fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name == name)
}

/// One value of a parameter and the block time from which it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Setting {
    #[n(0)]
    pub from_time: u64,
    #[n(1)]
    pub value: u64,
}

/// The value of `rule/<name>`: every setting ever agreed, in the order of the votes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct History {
    #[n(0)]
    pub settings: Vec<Setting>,
}

impl History {
    /// The setting in force at a time: the one with the latest beginning, of equal ones the last agreed.
    pub fn at(&self, time_ms: u64) -> Option<u64> {
        let begun = self.settings.iter().filter(|setting| setting.from_time <= time_ms);
        begun.max_by_key(|setting| setting.from_time).map(|setting| setting.value)
    }
}

/// Where the histories of all parameters stand: most records ask for one.
static KEYS: LazyLock<BTreeMap<&str, Key>> =
    LazyLock::new(|| PARAMETERS.iter().map(|parameter| (parameter.name, key::rule(parameter.name))).collect());

/// The value of a parameter in force at a time: as agreed, else its default.
pub fn parameter(state: &Overlay<'_>, name: &'static str, time_ms: u64) -> Result<u64, StateFault> {
    let parameter = find(name).ok_or(StateFault::Invariant("a rule asks for a parameter that does not exist"))?;
    let place = KEYS.get(name).ok_or(StateFault::Invariant("a parameter has no key"))?;
    let history = state.shared::<History>(place)?;
    Ok(history.and_then(|history| history.at(time_ms)).unwrap_or(parameter.default))
}
