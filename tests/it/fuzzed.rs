//! What `make fuzz` feeds without end, fed here with its good bytes and some thousand spoilt ones: nothing panics, and every
//! function compiles and runs.

use mingzhang_tests::fuzz::{TARGETS, spoil};
use mingzhang_tests::load::{Dice, setting};

/// Spoilt forms of each good input.
const SPOILT: usize = 60;

#[test]
fn whatever_is_fuzzed_takes_good_and_spoilt_bytes() {
    let seed = setting("MINGZHANG_SEED").unwrap_or_else(|| u64::from(getrandom::u32().expect("randomness")));
    println!("MINGZHANG_SEED={seed}");
    let mut dice = Dice { seed, throws: 0 };
    for target in &TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has nothing to begin with", target.name);
        let mut runs = 0;
        for good in &seeds {
            (target.run)(good);
            let mut spoilt = good.clone();
            for _ in 0..SPOILT {
                spoilt = spoil(if dice.below(3) == 0 { &spoilt } else { good }, &mut dice);
                (target.run)(&spoilt);
                runs += 1;
            }
        }
        (target.run)(&[]);
        println!("{}: {} good, {runs} spoilt", target.name, seeds.len());
    }
}
