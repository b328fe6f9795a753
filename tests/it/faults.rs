//! Under a steady load a random node is killed again and again. Afterwards every answer that was given still holds, on
//! every node and for an auditor who trusts none of them.

use mingzhang_tests::load::{
    BETWEEN_BLOWS, Dice, auditor_agrees, officer, one_place_everywhere, setting, under_load, wait_for,
};
use mingzhang_tests::world::World;

/// How often a node is killed, unless MINGZHANG_KILLS says otherwise.
const KILLS: u64 = 5;

#[test]
fn killed_nodes_lose_and_double_nothing() {
    let seed = setting("MINGZHANG_SEED").unwrap_or_else(|| getrandom::u64().expect("randomness"));
    let kills = setting("MINGZHANG_KILLS").unwrap_or(KILLS);
    println!("MINGZHANG_SEED={seed} MINGZHANG_KILLS={kills}");
    let world = World::start(4);
    let mut dice = Dice { seed, throws: 0 };
    let answered = under_load(&world, seed, |progress| {
        wait_for(progress, BETWEEN_BLOWS);
        for blow in 1..=kills {
            let victim = &world.seats[dice.below(world.seats.len())].agency;
            println!("kill {blow} of {kills}: {victim}");
            world.kill(victim);
            wait_for(progress, BETWEEN_BLOWS);
            world.resume(victim);
            wait_for(progress, BETWEEN_BLOWS);
        }
    });
    println!("{kills} kills, {} records answered", answered.len());
    assert!(answered.len() >= BETWEEN_BLOWS);
    one_place_everywhere(&world, &answered);
    auditor_agrees(&world, &officer(&world), &answered);
}
