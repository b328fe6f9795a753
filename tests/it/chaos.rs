//! The short form of `make chaos`: four real nodes, the kinds of faults that need neither time-outs of the network nor a disk
//! of their own, each once.

use mingzhang_tests::chaos::kind::Kind;
use mingzhang_tests::chaos::{Plan, run, zeros};
use mingzhang_tests::load::setting;

#[test]
fn four_nodes_under_fire() {
    let seed = setting("MINGZHANG_SEED").unwrap_or_else(|| u64::from(getrandom::u32().expect("randomness")));
    println!("MINGZHANG_SEED={seed}");
    let outcome = run(&Plan { seed, nodes: 4, kinds: &Kind::SHORT, rounds: 1 });
    assert_eq!(zeros(&Kind::SHORT, &outcome), Vec::<&str>::new(), "kinds about which nothing was shown");
    println!("{} records answered in {} s: {:?}", outcome.answered, outcome.seconds, outcome.found);
}
