//! Real processes under fire: networks of nodes under a steady load that are killed, stopped, slowed, cut off and given wrong
//! clocks and full disks, one fault after the other, drawn from one printed seed. Afterwards every answered record is at one
//! place on every node, money is where it should be, and an auditor accepts everything. In reading order: `kind` what is
//! done, `rounds` how, `fire` the load, `fleet` the processes, `wires` the network between them, `slow` what slows them,
//! `takeover` how long the network needs when the agency on turn dies.

pub mod fire;
pub mod fleet;
pub mod kind;
pub mod rounds;
pub mod slow;
pub mod takeover;
pub mod wires;

use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::load::{Dice, EndOfLoad, auditor_agrees, one_place_everywhere};
use crate::world::World;
use fire::{Fire, SCALE};
use fleet::Fleet;
use kind::Kind;
use rounds::{Found, Rounds};

/// Submitters of documents, and of payments.
const CLERKS: usize = 3;
const PAYERS: usize = 2;

/// One network and what it goes through.
pub struct Plan<'a> {
    pub seed: u64,
    pub nodes: usize,
    pub kinds: &'a [Kind],
    /// How often each kind is met.
    pub rounds: usize,
}

/// What one network went through, and what was checked.
#[derive(Debug)]
pub struct Outcome {
    pub found: Found,
    pub answered: usize,
    pub payments: usize,
    pub rejected: usize,
    pub height: u64,
    pub nodes: usize,
    pub seconds: u64,
    pub pieces: [(&'static str, u64); 4],
}

/// Runs a plan to its end; panics with what was violated.
pub fn run(plan: &Plan<'_>) -> Outcome {
    let began = Instant::now();
    println!("{} nodes, seed {}", plan.nodes, plan.seed);
    let world = World::start(plan.nodes);
    let fleet = Fleet::take_over(&world, plan.seed);
    let fire = Fire::prepare(&world);
    let mut dice = Dice { seed: plan.seed, throws: 0 };
    let deck = Kind::deck(plan.kinds, plan.rounds, &mut dice);
    let (fleet, found) = std::thread::scope(|scope| {
        // Whatever happens here, the submitters are told to end.
        let end = EndOfLoad(&fire.stop);
        let (sender, progress) = channel();
        for submitter in 0..CLERKS + PAYERS {
            let dice = Dice { seed: plan.seed.wrapping_add(submitter as u64 + 1), throws: 0 };
            let (fire, sender) = (&fire, sender.clone());
            scope.spawn(
                move || if submitter < CLERKS { fire.documents(dice, &sender) } else { fire.pay(dice, &sender) },
            );
        }
        drop(sender);
        let mut rounds = Rounds { fleet, fire: &fire, progress, dice, found: Found::default() };
        rounds.go_on("before any fault");
        deck.into_iter().for_each(|kind| rounds.meet(kind));
        drop(end);
        (rounds.fleet, rounds.found)
    });
    let answered = fire.answered.lock().expect("no submitter panicked").clone();
    one_place_everywhere(&world, &answered);
    auditor_agrees(&world, &fire.officer, &documents(&answered));
    money_is_right(&world, &fire);
    let count = |what: &std::sync::atomic::AtomicU64| what.load(Ordering::Relaxed);
    let met = &fleet.wires.met;
    Outcome {
        answered: answered.len(),
        payments: fire.payments.load(Ordering::Relaxed),
        rejected: fire.rejected.load(Ordering::Relaxed),
        height: fleet.tip(&[]),
        nodes: plan.nodes,
        seconds: began.elapsed().as_secs(),
        pieces: [
            ("pieces delayed", count(&met.delayed)),
            ("pieces lost and sent again", count(&met.lost)),
            ("pieces held at a cut", count(&met.held)),
            ("connections torn", count(&met.torn)),
        ],
        found,
    }
}

/// The trail of the clerks' key does not hold what others signed.
fn documents(answered: &[crate::load::Acknowledged]) -> Vec<crate::load::Acknowledged> {
    answered.iter().filter(|record| record.record_id.starts_with("FIRE-")).cloned().collect()
}

/// The complete trail of every programme folds to what was paid, in balance, and the nodes agree about it.
fn money_is_right(world: &World, fire: &Fire<'_>) {
    let settled = fire.settled.lock().expect("no submitter panicked").clone();
    assert!(settled.iter().sum::<u64>() > 0, "no payment was made, so nothing was shown about money");
    for (programme, paid) in settled.iter().enumerate() {
        let told = world.client(&["audit", "programme", &format!("civil/P{programme}")]);
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
        let data = told.data();
        assert_eq!((data["proof"]["verdict"].as_str(), &data["balanced"]), (Some("verified"), &json!(true)), "{data}");
        assert_eq!(data["settled"]["minor"], json!(paid.to_string()), "programme {programme}: {data}");
        assert_eq!(data["in_flight"]["minor"], json!("0"), "programme {programme}: {data}");
        let accounts = data["accounts"].as_array().expect("the accounts");
        let sum = |side: &str| {
            let amounts = accounts.iter().filter_map(|account| account[side].as_str()?.parse::<u64>().ok());
            amounts.sum::<u64>()
        };
        assert_eq!(sum("debits_posted"), sum("credits_posted"), "programme {programme}: {data}");
        let agreeing = data["proof"]["nodes_agreeing"].as_u64();
        assert_eq!(agreeing, Some(world.seats.len() as u64), "programme {programme}: {data}");
    }
    assert_eq!(settled.len() as u64, SCALE.programmes);
}

/// The outcomes of several networks as one page of numbers.
pub fn report(seed: u64, outcomes: &[Outcome]) -> Value {
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let networks: Vec<String> = outcomes.iter().map(|outcome| format!("{} nodes", outcome.nodes)).collect();
    let (mut faults, mut pieces, mut said) = (Map::new(), Map::new(), Map::new());
    let (mut catch_up, mut behind, mut not_possible) = (Map::new(), Map::new(), Map::new());
    let add = |into: &mut Map<String, Value>, name: &str, more: u64| {
        let before = into.get(name).and_then(Value::as_u64).unwrap_or(0);
        into.insert(name.to_owned(), json!(before + more));
    };
    let most = |into: &mut Map<String, Value>, name: &str, value: u64| {
        let before = into.get(name).and_then(Value::as_u64).unwrap_or(0);
        into.insert(name.to_owned(), json!(before.max(value)));
    };
    for Outcome { found, pieces: met, .. } in outcomes {
        found.faults.iter().for_each(|(kind, count)| add(&mut faults, kind, *count));
        met.iter().for_each(|(kind, count)| add(&mut pieces, kind, *count));
        found.catch_up_ms.iter().for_each(|(kind, ms)| most(&mut catch_up, kind, *ms));
        found.behind.iter().for_each(|(kind, blocks)| most(&mut behind, kind, *blocks));
        found.said.iter().for_each(|(who, words)| drop(said.insert((*who).to_owned(), json!(words))));
        found.not_possible.iter().for_each(|(kind, why)| drop(not_possible.insert((*kind).to_owned(), json!(why))));
    }
    json!({
        "seed": seed, "networks": networks.join(", "), "seconds": sum(|outcome| outcome.seconds),
        "records_answered_each_at_one_place_on_every_node": sum(|outcome| outcome.answered as u64),
        "payments_settled_and_found_by_the_auditor": sum(|outcome| outcome.payments as u64),
        "payments_rejected_by_a_rule": sum(|outcome| outcome.rejected as u64),
        "blocks": sum(|outcome| outcome.height),
        "faults": faults, "network": pieces, "longest_catch_up_ms": catch_up, "most_blocks_behind": behind,
        "what_nodes_said": said, "not_possible_on_this_machine": not_possible,
    })
}

/// Kinds of a plan that were neither met nor found impossible: nothing was shown about them.
pub fn zeros(kinds: &[Kind], outcome: &Outcome) -> Vec<&'static str> {
    let found = &outcome.found;
    let kinds = kinds.iter().map(|kind| kind.name());
    let missing = kinds.filter(|name| !found.faults.contains_key(name) && !found.not_possible.contains_key(name));
    missing.collect()
}
