//! Random plans, a few minutes of them; `make simulate` runs more. In four parts, for the test runner's threads.

use super::plan::Plan;
use super::run::{Sums, run};

fn part(first: u64) -> Sums {
    let mut sums = Sums::default();
    for seed in first..first + 520 {
        // The oracles' own words do not name the seed.
        println!("seed {seed}: scripts/simulate seed {seed}");
        sums.add(&run(&Plan::of(seed)));
    }
    assert_eq!(sums.zeros(), Vec::<&str>::new(), "nothing was shown about these");
    sums
}

#[test]
fn first_quarter_of_the_seeds() {
    part(0);
}

#[test]
fn second_quarter_of_the_seeds() {
    part(520);
}

#[test]
fn third_quarter_of_the_seeds() {
    part(1_040);
}

#[test]
fn last_quarter_of_the_seeds() {
    part(1_560);
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_another() {
    let history = |seed| run(&Plan::of(seed)).history;
    for seed in 0..20 {
        assert_eq!(history(seed), history(seed), "seed {seed}");
        assert_ne!(history(seed), history(seed + 1), "seed {seed}");
    }
}

/// The second of two pauses ended first, and what the first held back was overtaken: a disk that writes out of order.
#[test]
fn a_pause_within_a_pause_lets_nothing_overtake() {
    run(&Plan::of(6_107_387));
}

#[test]
fn a_failing_plan_shrinks_to_what_makes_it_fail() {
    use super::plan::{Act, Step};
    let heal = Step { after_ms: 5, act: Act::Heal };
    let crash = Step { after_ms: 7, act: Act::Crash { node: 2 } };
    let mut plan = Plan::of(1);
    plan.steps = vec![heal; 20];
    plan.steps[13] = crash;
    let fails = |plan: &Plan| plan.steps.contains(&crash);
    let small = plan.shrunk(fails, 500);
    assert_eq!((small.steps, small.behaviours.len(), small.foul), (vec![crash], 0, false));
}
