//! The state machine of a case: which step is possible where, and where it leads. Nothing else of a case.

use super::object::CaseState::{
    self, Accepted, Closed, Correcting, Granted, Issued, Paused, Refused, Reviewing, Submitted, Withdrawn,
};

/// What happens to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Return,
    Supply,
    Accept,
    /// Declined, or the correction notice was not answered in time.
    Decline,
    Review,
    Pause,
    Resume,
    Extend,
    Grant,
    Refuse,
    Issue,
    Withdraw,
}

/// Whether a step is possible in a state. Not judged in imports.
pub fn is_possible(state: CaseState, step: Step) -> bool {
    match step {
        Step::Return | Step::Accept => state == Submitted,
        Step::Supply => state == Correcting,
        Step::Decline => matches!(state, Submitted | Correcting),
        Step::Review | Step::Extend | Step::Grant | Step::Refuse => matches!(state, Accepted | Reviewing),
        Step::Pause => state == Reviewing,
        Step::Resume => state == Paused,
        Step::Issue => state == Granted,
        Step::Withdraw => matches!(state, Submitted | Correcting | Accepted | Reviewing | Paused),
    }
}

/// The state to which a step leads.
pub fn after(state: CaseState, step: Step) -> CaseState {
    match step {
        Step::Return => Correcting,
        Step::Supply => Submitted,
        Step::Accept => Accepted,
        Step::Decline => Closed,
        Step::Review | Step::Resume => Reviewing,
        Step::Pause => Paused,
        Step::Extend => state,
        Step::Grant => Granted,
        Step::Refuse => Refused,
        Step::Issue => Issued,
        Step::Withdraw => Withdrawn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [CaseState; 10] =
        [Submitted, Correcting, Accepted, Reviewing, Paused, Granted, Refused, Issued, Closed, Withdrawn];

    fn possible_in(step: Step, expected: &[CaseState]) {
        let found: Vec<_> = STATES.into_iter().filter(|state| is_possible(*state, step)).collect();
        assert_eq!(found, expected, "{step:?}");
    }

    #[test]
    fn each_step_is_possible_only_where_the_table_says() {
        possible_in(Step::Return, &[Submitted]);
        possible_in(Step::Supply, &[Correcting]);
        possible_in(Step::Accept, &[Submitted]);
        possible_in(Step::Decline, &[Submitted, Correcting]);
        possible_in(Step::Review, &[Accepted, Reviewing]);
        possible_in(Step::Pause, &[Reviewing]);
        possible_in(Step::Resume, &[Paused]);
        possible_in(Step::Extend, &[Accepted, Reviewing]);
        possible_in(Step::Grant, &[Accepted, Reviewing]);
        possible_in(Step::Refuse, &[Accepted, Reviewing]);
        possible_in(Step::Issue, &[Granted]);
        possible_in(Step::Withdraw, &[Submitted, Correcting, Accepted, Reviewing, Paused]);
    }
}
