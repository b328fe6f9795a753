//! Under a steady load a random node is killed again and again. Afterwards every answer that was given still holds, on
//! every node and for an auditor who trusts none of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::channel;

use mingzhang_tests::load::{
    BETWEEN_BLOWS, Dice, EndOfLoad, Load, SUBMITTERS, auditor_agrees, one_place_everywhere, setting, wait_for,
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
    let load = Load {
        world: &world,
        officer: world.officer("civil-window-1"),
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        answered: Mutex::new(Vec::new()),
    };
    let mut dice = Dice { seed, throws: 0 };
    std::thread::scope(|scope| {
        // Whatever happens here, the submitters are told to end.
        let end = EndOfLoad(&load.stop);
        let (sender, progress) = channel();
        for submitter in 0..SUBMITTERS {
            let dice = Dice { seed: seed.wrapping_add(submitter as u64 + 1), throws: 0 };
            let (load, sender) = (&load, sender.clone());
            scope.spawn(move || load.submit(dice, &sender));
        }
        drop(sender);
        wait_for(&progress, BETWEEN_BLOWS);
        for blow in 1..=kills {
            let victim = &world.seats[dice.below(world.seats.len())].agency;
            println!("kill {blow} of {kills}: {victim}");
            world.kill(victim);
            wait_for(&progress, BETWEEN_BLOWS);
            world.resume(victim);
            wait_for(&progress, BETWEEN_BLOWS);
        }
        drop(end);
    });
    let answered = load.answered.lock().expect("no submitter panicked").clone();
    println!("{kills} kills, {} records answered", answered.len());
    assert!(answered.len() >= BETWEEN_BLOWS);
    one_place_everywhere(&world, &answered);
    auditor_agrees(&world, &load.officer, &answered);
}
